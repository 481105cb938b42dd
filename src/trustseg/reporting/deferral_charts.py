"""Deferral as figures: what an attack does to it, and the policy's operating point on the risk-coverage curve."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

from trustseg.reporting.cell_tables import at
from trustseg.reporting.charts import head_curve, mean_risk_coverage, risk_panels
from trustseg.reporting.deferral import Deferrals, aim, headline_conditions
from trustseg.reporting.image_scores import read_scores
from trustseg.reporting.labels import (
    ConditionKey,
    attack_entries,
    budget,
    describe_attack,
    describe_condition,
    describe_head,
    is_l2,
)
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.series import Chart, Line, Look, Panel, chart
from trustseg.reporting.shifted import severities_of

__all__ = ["deferral_charts"]

_TARGET: Final = Look("#1f2933", "dot", "circle")
_MOST_SHIFTS: Final = 8
_MOST_ATTACKS: Final = 3  # in a row of a page; the others are in the table

_BOUNDED: Final = {"review_rate": "review_rate", "risk": "undetected_failures", "missed_lesions": "missed_lesions"}
_AXES: Final = {
    "review_rate": "share sent to a human",
    "undetected_failures": "share kept and failed",
    "missed_lesions": "share with {target}, kept, missed",
    "residual_risk": "mean 1 - Dice of the kept",
}


def deferral_charts(data: ReportData, deferrals: Deferrals) -> tuple[Chart, ...]:
    """Return the figure of deferral under attack, and the operating points under attacks and under shifts."""
    target = data.results.target
    attacks = operating_points(data, deferrals, headline_conditions(data))
    shifts = operating_points(data, deferrals, _worst_shifts(data, deferrals))
    return (
        under_attack(data, deferrals),
        chart("deferral_attacks", attacks, 3, target=target),
        chart("deferral_shifts", shifts, 4, target=target, most=_MOST_SHIFTS),
    )


def under_attack(data: ReportData, deferrals: Deferrals) -> Chart:
    """Return reviews, undetected failures and the risk of the kept against the budget, for each head and attack."""
    targets, name = deferrals.targets, data.results.target
    failures = "missed_lesions" if [bounded for bounded, _ in targets] == ["missed_lesions"] else "undetected_failures"
    attacks = _attacks_shown(data)
    heads = list(dict.fromkeys(map(data.results.head_of, deferrals.policies)))
    panels = []
    for score in ("review_rate", failures, "residual_risk"):
        drawn = {(head, attack): _ladders(data, deferrals, attack, score, head) for head in heads for attack in attacks}
        ends = [e for lines in drawn.values() for line in lines for e in (*line.y, *line.high) if np.isfinite(e)]
        if len(targets) == 1 and _BOUNDED[targets[0][0]] == score:
            bound = targets[0][1]
            for lines in drawn.values():
                if longest := max((line.x for line in lines), key=len, default=()):
                    ends.append(bound)
                    lines.append(Line("target", [longest[0], longest[-1]], [bound] * 2, _TARGET))
        limits = (0.0, min(1.03, 1.1 * max([0.1, *ends])))
        for (head, attack), lines in drawn.items():
            label = "L2 norm" if is_l2(attack) else "budget, grey levels of 255"
            title = f"{describe_attack(attack)}, {describe_head(head)}"
            axis = _AXES[score].format(target=name)
            panels.append(Panel(title, label, axis, tuple(lines), y_range=limits))
    aims = "; ".join(aim(*target, name=name) for target in targets)
    return chart("deferral", panels, max(2, len(attacks)), aims=aims)


def operating_points(data: ReportData, deferrals: Deferrals, conditions: Sequence[ConditionKey]) -> list[Panel]:
    """Return the risk-coverage curve of the policy's score under each condition with the point the policy chose."""
    drawn: dict[str, list[Line]] = {}
    for condition in conditions:
        lines = drawn.setdefault(describe_condition(condition), [])
        for variant, found in deferrals.policies.items():
            policy, look = next(iter(found.values())), data.looks[variant]
            scores = read_scores(data.results, variant, condition, policy.column)
            if not scores.images:
                continue
            coverage, risk = mean_risk_coverage(scores)
            lines.append(Line(variant, coverage.tolist(), risk.tolist(), look))
            kept, error = _operating_point(deferrals.decided[variant], condition)
            if np.isfinite(error):
                mode, texts = "lines+markers", [f"the policy keeps {100 * kept:.0f} %"]
                point = Line(f"{variant}: policy", [kept], [error], look, (), (), mode, texts, variant)
                lines.append(point)
    return risk_panels(drawn, 1.03)


def _ladders(data: ReportData, deferrals: Deferrals, attack: str, score: str, head: str) -> list[Line]:
    lines = []
    for variant in (name for name in data.results.heads[head] if name in deferrals.policies):
        held = [each for each in data.choices.curve(attack) if (variant, each) in deferrals.scores]
        intervals = [deferrals.score(variant, condition, score) for condition in held]
        lines.append(head_curve(data, variant, [budget((attack, eps)) for _, eps in held], intervals))
    return lines


def _attacks_shown(data: ReportData) -> list[str]:
    """Return the attacks of the figure: the one of the headline, those aimed at the uncertainty, then the others."""
    attacks, first = list(data.choices.attacks), data.choices.attack
    aimed = tuple(name for name, entry in attack_entries().items() if entry.takes("score"))
    adaptive = [name for name in attacks if name.startswith(aimed)]
    return list(dict.fromkeys([*([first] if attacks else []), *adaptive, *attacks]))[:_MOST_ATTACKS]


def _worst_shifts(data: ReportData, deferrals: Deferrals) -> list[ConditionKey]:
    """Return the natural shifts, each at its largest severity, under which most failures are kept on average."""
    if not deferrals.policies:
        return []
    shifts = severities_of(data.results).items()
    conditions: list[ConditionKey] = [(f"{name}_{max(levels)}", 0.0) for name, levels in shifts]

    def failed(condition: ConditionKey) -> float:
        scores = [deferrals.score(variant, condition, "undetected_failures") for variant in deferrals.policies]
        return float(np.mean([score.value for score in scores]))

    return sorted(conditions, key=lambda condition: (-failed(condition), condition))[:_MOST_SHIFTS]


def _operating_point(decided: pl.DataFrame, condition: ConditionKey) -> tuple[float, float]:
    """Return the share kept of the images with foreground and their mean 1 - Dice, NaN if none is kept."""
    rows = decided.filter(at(condition), pl.col("mask_px") > 0)
    kept = rows.filter(~pl.col("review"))
    risk = 1 - kept["dice"].cast(pl.Float64).to_numpy()
    return len(kept) / max(1, len(rows)), float(risk.mean()) if len(kept) else float("nan")
