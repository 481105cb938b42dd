"""Deferral as figures: what an attack does to it, and where the policy sits on the risk-coverage curve."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

from trustseg.reporting.choices import describe_attack, is_l2
from trustseg.reporting.curves import mean_risk_coverage
from trustseg.reporting.deferral import Deferrals, aim, describe_place, headline_places
from trustseg.reporting.image_scores import ConditionKey, read_scores
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.results import at
from trustseg.reporting.series import Chart, Line, Look, Panel, looks

__all__ = ["deferral_charts"]

_TARGET: Final = Look("#1f2933", "dot", "circle")
_MOST_SHIFTS: Final = 8
_MOST_ATTACKS: Final = 3  # side by side on a page; the others are in the table
_ADAPTIVE: Final = ("deferral_aware", "overconfidence", "underconfidence")
_BOUNDED: Final = {"review_rate": "review_rate", "risk": "undetected_failures", "missed_lesions": "missed_lesions"}
_AXES: Final = {
    "review_rate": "share sent to a human",
    "undetected_failures": "share kept and failed",
    "missed_lesions": "share with foreground, kept, missed",
    "residual_risk": "mean 1 - Dice of the kept",
}


def deferral_charts(evidence: ReportData, deferrals: Deferrals) -> tuple[Chart, ...]:
    """Return the figure of deferral under attack, and the operating points under attacks and under shifts."""
    attacked = headline_places(evidence)
    return (
        under_attack(evidence, deferrals),
        operating_points(
            evidence,
            deferrals,
            attacked,
            key="deferral_attacks",
            title="Where the policy sits: clean and under each attack",
        ),
        operating_points(
            evidence,
            deferrals,
            _worst_shifts(deferrals),
            key="deferral_shifts",
            title=f"Where the policy sits: under the natural shifts that cost most, at most {_MOST_SHIFTS}",
            columns=4,
        ),
    )


def under_attack(evidence: ReportData, deferrals: Deferrals) -> Chart:
    """Return reviews, undetected failures and the risk of the kept against the budget, one column for each attack."""
    chosen = looks(evidence.results)
    targets = deferrals.targets
    failures = "missed_lesions" if [name for name, _ in targets] == ["missed_lesions"] else "undetected_failures"
    columns = _attacks_shown(evidence)
    panels = []
    for score in ("review_rate", failures, "residual_risk"):
        ends: list[float] = [0.1]
        drawn = []
        for attack in columns:
            lines = _ladders(evidence, deferrals, chosen, attack, score)
            ends += [end for line in lines for end in (*line.y, *line.high) if np.isfinite(end)]
            longest = max((line.x for line in lines), key=len, default=())
            if len(targets) == 1 and _BOUNDED[targets[0][0]] == score and len(longest):
                bound = [targets[0][1]] * 2
                drawn.append((attack, (*lines, Line("target", [longest[0], longest[-1]], bound, _TARGET))))
                ends.append(targets[0][1])
            else:
                drawn.append((attack, lines))
        limits = (0.0, min(1.03, 1.1 * max(ends)))
        for attack, lines in drawn:
            label = "L2 norm" if is_l2(attack) else "budget, grey levels of 255"
            panels.append(Panel(describe_attack(attack), label, _AXES[score], lines, y_range=limits))
    aims = "; ".join(aim(*target) for target in targets)
    reading = (
        f"Left end of each panel: unchanged images, for which alone the policy promises something ({aims}; dotted). "
        "To the right the attack grows. Top: what is sent to a human. Middle: segmentations that failed and that "
        "nobody is asked to look at; this must stay low. Bottom: the mean error of what is kept. A review rate that "
        "falls while undetected failures rise means that the attack also fools the uncertainty; a review rate that "
        "rises to 1 means that the attack is noticed, at the price of nobody being relieved. A gap in the bottom row: "
        "nothing was kept. Shaded: 95 % interval over patients."
    )
    return Chart("deferral", "Does deferral still work under attack?", reading, tuple(panels), max(2, len(columns)))


def operating_points(
    evidence: ReportData,
    deferrals: Deferrals,
    places: Sequence[ConditionKey],
    *,
    key: str,
    title: str,
    columns: int = 3,
) -> Chart:
    """Return the risk-coverage curve of the policy's score under each condition with the point the policy chose."""
    chosen = looks(evidence.results)
    panels = []
    for place in places:
        lines: list[Line] = []
        for variant, found in deferrals.policies.items():
            policy = next(iter(found.values()))
            held = read_scores(evidence.results, variant, place, policy.column)
            if not held.images:
                continue
            coverage, risk = mean_risk_coverage(held)
            lines.append(Line(variant, coverage.tolist(), risk.tolist(), chosen[variant]))
            kept, error = _operating_point(deferrals.decided[variant], place)
            if np.isfinite(error):
                texts = [f"the policy keeps {100 * kept:.0f} %"]
                lines.append(
                    Line(
                        f"{variant}: policy",
                        [kept],
                        [error],
                        chosen[variant],
                        mode="lines+markers",
                        texts=texts,
                        label=variant,
                    )
                )
        panels.append((describe_place(place), tuple(lines)))
    highest = max((value for _, lines in panels for line in lines for value in line.y), default=1.0)
    reading = (
        "The curve keeps images from the surest to the least sure and shows the mean error of the kept, for images "
        "with foreground. The marker is where the policy, with its threshold frozen on clean validation images, comes "
        "to lie; without a marker it keeps nothing. Under another condition the marker slides along a new curve: to "
        "the right if images look surer than they should, to the left if more are sent to a human."
    )
    drawn = tuple(
        Panel(name, "share of images kept", "mean 1 - Dice of the kept", lines, (0, 1.03), (0, 1.08 * highest))
        for name, lines in panels
    )
    return Chart(key, title, reading, drawn, columns)


def _ladders(
    evidence: ReportData, deferrals: Deferrals, chosen: dict[str, Look], attack: str, score: str
) -> tuple[Line, ...]:
    places: list[ConditionKey] = [("clean", 0.0), *((attack, eps) for eps in evidence.choices.attacks[attack])]
    lines = []
    for variant in deferrals.policies:
        held = [place for place in places if (variant, place) in deferrals.scores]
        found = [deferrals.score(variant, place, score) for place in held]
        x = [eps if is_l2(attack) else round(eps * 255, 3) for _, eps in held]
        y, low, high = ([getattr(i, end) for i in found] for end in ("value", "low", "high"))
        lines.append(Line(variant, x, y, chosen[variant], low, high, mode="lines+markers"))
    return tuple(lines)


def _attacks_shown(evidence: ReportData) -> list[str]:
    """Return the attacks of the figure: the one of the headline, those aimed at the uncertainty, then the others."""
    attacks, first = list(evidence.choices.attacks), evidence.choices.attack
    adaptive = [name for name in attacks if name.startswith(_ADAPTIVE)]
    return list(dict.fromkeys([*([first] if attacks else []), *adaptive, *attacks]))[:_MOST_ATTACKS]


def _worst_shifts(deferrals: Deferrals) -> list[ConditionKey]:
    """Return the natural shifts, each at its largest severity, under which most failures are kept on average."""
    frames = [frame.filter(pl.col("kind") == "shift") for frame in deferrals.decided.values()]
    if not frames:
        return []
    rows = pl.concat(frame.select("condition", "severity") for frame in frames).unique(maintain_order=True)
    largest: dict[str, tuple[int, str]] = {}
    for condition, severity in rows.iter_rows():
        name = condition.rpartition("_")[0]
        largest[name] = max(largest.get(name, (0, "")), (severity, condition))
    places: list[ConditionKey] = [(condition, 0.0) for _, condition in largest.values()]
    failed = {
        place: np.mean([deferrals.score(variant, place, "undetected_failures").value for variant in deferrals.policies])
        for place in places
    }
    return sorted(places, key=lambda place: (-failed[place], place))[:_MOST_SHIFTS]


def _operating_point(decided: pl.DataFrame, place: ConditionKey) -> tuple[float, float]:
    """Return the share kept of the images with foreground and their mean 1 - Dice, NaN if none is kept."""
    rows = decided.filter(at(*place), pl.col("mask_px") > 0)
    kept = rows.filter(~pl.col("review"))
    risk = 1 - kept["dice"].cast(pl.Float64).to_numpy()
    return len(kept) / max(1, len(rows)), float(risk.mean()) if len(kept) else float("nan")
