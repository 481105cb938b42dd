"""Accuracy, robustness and error ranking of every model of a study in one figure."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from trustseg.reporting import checks
from trustseg.reporting.choices import describe_condition, is_l2
from trustseg.reporting.image_scores import ConditionKey
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.robustness import is_ensemble
from trustseg.reporting.series import Chart, Line, Panel, looks
from trustseg.reporting.tables import Column, Table, Value, interval_text
from trustseg.statistics import Interval

__all__ = ["strongest", "trade_off_chart", "trade_off_table"]

_EPS: Final = 4 / 255
_CLEAN: Final[ConditionKey] = ("clean", 0.0)
_SYMBOLS: Final = ("circle", "square", "diamond")


def strongest(evidence: ReportData) -> ConditionKey | None:
    """Return the attack that the robust Dice of a model is read at: that of the lowest mean near 4/255.

    The budget is the one nearest to 4/255 that any attack was run at; of the attacks at it, the worst case over
    several attacks, else the one with the lowest mean over the variants.
    """
    places = [(attack, eps) for attack, rungs in evidence.choices.attacks.items() if not is_l2(attack) for eps in rungs]
    if not places:
        return None
    eps = min((eps for _, eps in places), key=lambda eps: abs(eps - _EPS))

    def mean(place: ConditionKey) -> float:
        found = [scores["dice"].value for (_, where), scores in evidence.robustness.items() if where == place]
        return sum(found) / len(found) if found else float("inf")

    return min(
        (place for place in places if place[1] == eps), key=lambda place: (not is_ensemble(place[0]), mean(place))
    )


def trade_off_table(evidence: ReportData) -> Table:
    """Return one row per variant: Dice clean, Dice under the strongest attack, nAUSE clean."""
    place = strongest(evidence)
    rows: list[dict[str, Value]] = [
        {
            "variant": variant,
            "dice": evidence.score(variant, _CLEAN, "dice"),
            "robust_dice": evidence.robustness[variant, place]["dice"],
            "nause": evidence.score(variant, _CLEAN, "nause"),
            "trust": checks.trust(evidence.checks, variant),
        }
        for variant in evidence.results.variants
        if place and (variant, place) in evidence.robustness
    ]
    columns = (
        Column("variant", "Variant"),
        Column("dice", "Dice, clean"),
        Column("robust_dice", f"Dice, {describe_condition(*place)}" if place else "Dice, attacked"),
        Column("nause", "pixel nAUSE ↓"),
        *([Column("trust", "Checks")] if evidence.checks else []),
    )
    return Table("trade_off", "Accuracy, robustness and error ranking", columns, tuple(rows))


def trade_off_chart(evidence: ReportData) -> Chart:
    """Return robust Dice against clean Dice, and against nAUSE: one point per variant."""
    table, place = trade_off_table(evidence), strongest(evidence)
    under = f"Dice, {describe_condition(*place)}" if place else "Dice, attacked"
    drawn = []
    for key, label in (("dice", "Dice, clean"), ("nause", "pixel nAUSE, clean (less is better)")):
        lines: list[Line] = []
        for row in table.rows:
            across, up = row[key], row["robust_dice"]
            if isinstance(across, Interval) and isinstance(up, Interval):
                lines += _cross(evidence, str(row["variant"]), across, up)
        drawn.append(Panel("", label, under, tuple(lines), _room(lines)))
    reading = (
        "One point per variant, means over the test images. Left panel: right and up is better; a model that buys "
        "robustness with accuracy moves up and to the left. Right panel: left and up is better, as a low nAUSE means "
        "that the unsure pixels are the wrong ones. Thin lines are 95 % intervals over patients."
    )
    return Chart("trade_off", "What robustness costs", reading, tuple(drawn))


def _cross(evidence: ReportData, variant: str, across: Interval, up: Interval) -> list[Line]:
    """Return a point and its two intervals; regimes differ in colour, heads in symbol."""
    if math.isnan(across.value) or math.isnan(up.value):
        return []
    cell = evidence.results.cells_of(variant)[0]
    heads = list(dict.fromkeys(other.head for other in evidence.results.cells))
    look = looks(evidence.results)[variant].of_one_head()
    if len(heads) > 1:
        look = replace(look, symbol=_SYMBOLS[heads.index(cell.head) % len(_SYMBOLS)])
    name = checks.marked(evidence.checks, variant, variant)
    said = f"across {interval_text(across)}, up {interval_text(up)}"
    lines = [Line(variant, [across.value], [up.value], look, mode="markers", texts=[said], label=name)]
    for x, y in (((across.low, across.high), (up.value,) * 2), ((across.value,) * 2, (up.low, up.high))):
        if not math.isnan(x[0] + y[0]):
            lines.append(Line(f"{variant}, interval", x, y, look, label=name))
    return lines


def _room(lines: Sequence[Line]) -> tuple[float, float] | None:
    """Return limits that are not so narrow that noise looks like a difference."""
    values = [value for line in lines for value in line.x]
    if not values:
        return None
    middle, half = (min(values) + max(values)) / 2, max(0.05, 0.6 * (max(values) - min(values)))
    return middle - half, middle + half
