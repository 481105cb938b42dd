"""Deferral as figures: what an attack does to it, and the policy's operating point on the risk-coverage curve."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Final

import numpy as np
import polars as pl

from trustseg.reporting.cell_tables import at
from trustseg.reporting.charts import head_curve, head_panels, mean_risk_coverage, risk_panels
from trustseg.reporting.deferral import Deferrals, describe_aim, headline_conditions
from trustseg.reporting.image_rankings import read_scores
from trustseg.reporting.labels import ConditionKey, attack_entries, budget, describe_attack, describe_condition, is_l2
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.series import Chart, Line, Panel, Style, chart
from trustseg.reporting.shifted import severities_of
from trustseg.tables import floats_of

__all__ = ["deferral_charts"]

_TARGET: Final = Style("#1f2933", "dot", "circle")
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

    def ladder(variant: str, attack: str, score: str) -> Line | None:
        if variant not in deferrals.policies:
            return None
        conditions = [each for each in data.curve(attack) if (variant, each) in deferrals.scores]
        intervals = [deferrals.score(variant, condition, score) for condition in conditions]
        return head_curve(data, variant, [budget((attack, eps)) for _, eps in conditions], intervals)

    panels = []
    for score in ("review_rate", failures, "residual_risk"):
        row = []
        for head, attack in product(data.results.heads, attacks):
            labels = "L2 norm" if is_l2(attack) else "budget, grey levels of 255", _AXES[score].format(target=name)
            of_attack = partial(ladder, attack=attack, score=score)
            row += head_panels(data, of_attack, *labels, before=f"{describe_attack(attack)}, ", heads=[head])
        is_bounded = len(targets) == 1 and _BOUNDED[targets[0][0]] == score
        panels += _with_target(row, targets[0][1] if is_bounded else None)
    aims = "; ".join(describe_aim(*target, name=name) for target in targets)
    return chart("deferral", panels, max(2, len(attacks)), aims=aims)


def _with_target(panels: Sequence[Panel], bound: float | None) -> list[Panel]:
    """Return panels on one scale, with a line at what is bounded, if it is."""
    lines = [line for panel in panels for line in panel.lines]
    ends = [end for line in lines for end in (*line.y, *line.high) if np.isfinite(end)]
    limits = (0.0, min(1.03, 1.1 * max([0.1, bound or 0.0, *ends])))
    found = []
    for panel in panels:
        x = max((line.x for line in panel.lines), key=len)
        target = () if bound is None or not x else (Line("target", [x[0], x[-1]], [bound] * 2, _TARGET),)
        found.append(replace(panel, lines=(*panel.lines, *target), y_range=limits))
    return found


def operating_points(data: ReportData, deferrals: Deferrals, conditions: Sequence[ConditionKey]) -> list[Panel]:
    """Return the risk-coverage curve of the policy's score under each condition with the point the policy chose."""
    drawn: dict[str, list[Line]] = {}
    for condition in conditions:
        lines = drawn.setdefault(describe_condition(condition), [])
        for variant in deferrals.policies:
            style = data.styles[variant]
            scores = read_scores(data.results, variant, condition, deferrals.first_policy(variant).column)
            if not scores.images:
                continue
            coverage, risk = mean_risk_coverage(scores)
            lines.append(Line(variant, coverage.tolist(), risk.tolist(), style))
            rows = deferrals.decided[variant].filter(at(condition), pl.col("mask_px") > 0)
            kept = rows.filter(~pl.col("review"))
            error = float(np.mean(1 - floats_of(kept, "dice"))) if len(kept) else float("nan")
            if np.isfinite(error):
                share = len(kept) / len(rows)
                mode, texts = "lines+markers", [f"the policy keeps {100 * share:.0f} %"]
                lines.append(Line(f"{variant}: policy", [share], [error], style, mode=mode, texts=texts, label=variant))
    return risk_panels(drawn, 1.03)


def _attacks_shown(data: ReportData) -> list[str]:
    """Return the attacks of the figure: the one of the headline, those aimed at the uncertainty, then the others."""
    attacks, first = list(data.attacks), data.attack
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
