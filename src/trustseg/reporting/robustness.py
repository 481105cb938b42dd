"""Robustness: area under the curve of each attack, the worst case by size of the target, and what robustness costs."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl

from trustseg import metrics
from trustseg.reporting.charts import head_curve, head_panels
from trustseg.reporting.checks import mark_label
from trustseg.reporting.image_scores import Floats
from trustseg.reporting.labels import (
    CLEAN,
    ConditionKey,
    describe_attack,
    describe_condition,
    describe_eps,
    describe_metric,
    is_l2,
)
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.series import SYMBOLS, Chart, Line, Panel, chart
from trustseg.reporting.tables import Row, Table, Value, interval_text
from trustseg.reporting.value_tables import (
    DICE,
    FALSE_POSITIVES,
    ValueTable,
    area_weights,
    means_of,
    size_limits,
    values_under,
    weighted_means,
)
from trustseg.statistics import Interval

__all__ = [
    "area_table",
    "attacks_at_one_budget",
    "ensemble_check",
    "strongest_attack",
    "trade_off_chart",
    "trade_off_table",
    "worst_case_chart",
    "worst_case_table",
]

FULL_RANGE: Final = 8 / 255
_TOLERANCE: Final = 1e-6  # a Dice this much higher is rounding
_SIZES: Final = ("small", "medium", "large")
_USUAL_EPS: Final = 4 / 255
_LESS: Final = {"lower": " (less is better)", "higher": "", "zero": ""}


def area_table(data: ReportData) -> Table:
    """Return the area under the curve of Dice against the budget: one column per attack with at least two budgets."""
    attacks = {attack: rungs for attack, rungs in data.attacks.items() if len(rungs) > 1}
    ends = {attack: rungs[-1] if is_l2(attack) else min(FULL_RANGE, rungs[-1]) for attack, rungs in attacks.items()}
    rows: list[Row] = []
    for variant in data.results.variants:
        areas: dict[str, Value] = {}
        for attack, end in ends.items():
            conditions = data.curve(attack)
            values = values_under(data.results.records, variant, conditions, DICE)
            weights = area_weights([eps for _, eps in conditions], end)
            complete = data.evaluated_conditions(variant, conditions) == conditions
            areas[f"area_{attack}"] = weighted_means(values, weights[None], draws=data.draws)[0] if complete else None
        if any(areas.values()):
            rows.append({"variant": variant, **areas, "trust": data.trust(variant)})
    titles = {
        f"area_{name}": f"{describe_attack(name)}, 0 to {describe_eps((name, end))}" for name, end in ends.items()
    }
    return data.table("areas", rows, titles, end=describe_eps(("", FULL_RANGE)))


def _common_eps(data: ReportData) -> float:
    """Return the L-infinity budget that most attacks share, the nearest to the headline's among equals."""
    rungs = [eps for name, ladder in data.attacks.items() if not is_l2(name) for eps in ladder]
    return max(set(rungs), key=lambda eps: (rungs.count(eps), -abs(eps - data.eps), eps), default=0.0)


def attacks_at_one_budget(data: ReportData) -> list[ConditionKey]:
    """Return the attacks at the common budget, the worst case over several attacks last."""
    eps = _common_eps(data)
    ladders = data.attacks.items()
    names = [name for name, ladder in ladders if not is_l2(name) and any(abs(rung - eps) < 1e-6 for rung in ladder)]
    return [(name, eps) for name in sorted(names, key=_is_ensemble)]


def _is_ensemble(attack: str) -> bool:
    """Return whether an attack is the worst case of each image over several attacks."""
    return attack.split("_")[0] == "ensemble"


def worst_case_table(data: ReportData) -> Table:
    """Return mean Dice of every attack at one budget, by size of the target, and how often it beats the suite."""
    conditions = [CLEAN, *attacks_at_one_budget(data)]
    limits = size_limits(data.results.records)
    judged = any(_is_ensemble(attack) for attack, _ in conditions)
    rows: list[Row] = []
    for variant in data.results.variants:
        measured = data.evaluated_conditions(variant, conditions)
        if len(measured) < 2:
            continue
        dice = values_under(data.results.records, variant, measured, DICE)
        tables = _strata(data, variant, dice, limits)
        tables["empty"] = values_under(data.results.records, variant, measured, FALSE_POSITIVES)
        found = {name: means_of(table, draws=data.draws) for name, table in tables.items()}
        for column, condition in enumerate(measured):
            row: dict[str, Value] = {"variant": variant, "condition": describe_condition(condition)}
            row |= {name: means[column] if means[column].count else None for name, means in found.items()}
            row |= {"stronger": _share_stronger(dice.values, measured, column)} if judged else {}
            rows.append({**row, "trust": data.trust(variant, condition)})
    low, high = (f"{100 * limit:.1f}\u00a0%" for limit in limits)
    return data.table("worst_case", rows, small=low, medium=high)


def _strata(data: ReportData, variant: str, dice: ValueTable, limits: Floats) -> dict[str, ValueTable]:
    """Return Dice of all images and of those of each size; the others are undefined there."""
    area = values_under(data.results.records, variant, [CLEAN], pl.col("mask_px") / pl.col("pixels")).values
    third = np.searchsorted(limits, area)  # (N, 1): a size on a limit belongs below
    return {"dice": dice} | {
        name: replace(dice, values=np.where((third == number) & (area > 0), dice.values, np.nan))
        for number, name in enumerate(_SIZES)
    }


def _share_stronger(dice: Floats, conditions: Sequence[ConditionKey], column: int) -> str | None:
    """Return on how many images an attack left less Dice than the attack suite did."""
    worst = next((row for row, (attack, _) in enumerate(conditions) if _is_ensemble(attack)), None)
    if worst is None or column in (0, worst):
        return None
    both = np.isfinite(dice[:, worst]) & np.isfinite(dice[:, column])
    stronger = dice[both, column] < dice[both, worst] - _TOLERANCE
    return f"{int(stronger.sum())} of {int(both.sum())} images"


def ensemble_check(data: ReportData) -> str:
    """Return in a sentence whether the worst case is never above another attack's mean Dice; empty without one."""
    conditions = attacks_at_one_budget(data)
    worst = next((condition for condition in conditions if _is_ensemble(condition[0])), None)
    others = [condition for condition in conditions if not _is_ensemble(condition[0])]
    if worst is None or not others:
        return ""
    broken = []
    for variant in data.results.variants:
        for condition in others:
            gap = data.score(variant, worst, "dice").value - data.score(variant, condition, "dice").value
            if gap > _TOLERANCE:
                broken.append(f"{variant} under {describe_attack(condition[0])} (by {gap:.3f})")
    against = f"Checked at {describe_eps(worst)} against {', '.join(describe_attack(name) for name, _ in others)}"
    if not broken:
        return f"{against}: the mean Dice of the attack suite is above that of no other attack, for any variant."
    return (
        f"{against}: the attack suite is not the worst case for {'; '.join(broken)}. "
        "Quote the lower number there: the attack suite is too weak."
    )


def worst_case_chart(data: ReportData) -> Chart:
    """Return mean Dice of every attack at one budget, one row per attack and one panel per head."""
    conditions = attacks_at_one_budget(data)
    heights = {condition: float(len(conditions) - row) for row, condition in enumerate(conditions)}
    ticks = {height: describe_attack(name) for (name, _), height in heights.items()}

    def points(variant: str) -> Line | None:
        same_head = data.results.heads[data.results.head_of(variant)]
        offset = 0.2 * ((len(same_head) - 1) / 2 - same_head.index(variant)) if len(same_head) < 5 else 0.0
        measured = data.evaluated_conditions(variant, conditions)
        places = [heights[condition] + offset for condition in measured]
        dice = [data.score(variant, condition, "dice") for condition in measured]
        texts = [describe_condition(condition) for condition in measured]
        line = head_curve(data, variant, places, dice, attacked=True, mode="markers", texts=texts)
        return line.transposed() if measured else None

    heights_shown = (0.4, len(conditions) + 0.6)
    panels = head_panels(data, points, "Dice per image", "", x_range=(0, 1), y_range=heights_shown, y_ticks=ticks)
    eps = describe_eps(("", _common_eps(data)))
    return chart("worst_case", panels, max(1, len(panels)), horizontal=True, eps=eps)


def strongest_attack(data: ReportData) -> ConditionKey | None:
    """Return the attack that the robust Dice of a model is read at: that of the lowest mean near 4/255.

    The budget is the one nearest to 4/255 that any attack was run at; of the attacks at it, the worst case over
    several attacks, else the one with the lowest mean over the variants.
    """
    attacked = [(attack, eps) for attack, rungs in data.attacks.items() if not is_l2(attack) for eps in rungs]
    if not attacked:
        return None
    eps = min((eps for _, eps in attacked), key=lambda eps: abs(eps - _USUAL_EPS))

    def mean(condition: ConditionKey) -> float:
        measured = [variant for variant in data.results.variants if (variant, condition) in data.measured]
        found = [data.score(variant, condition, "dice").value for variant in measured]
        return sum(found) / len(found) if found else float("inf")

    nearest = (condition for condition in attacked if condition[1] == eps)
    return min(nearest, key=lambda condition: (not _is_ensemble(condition[0]), mean(condition)))


def trade_off_table(data: ReportData) -> Table:
    """Return one row per variant: Dice clean and under the strongest attack, the ranking of errors clean."""
    attacked = strongest_attack(data)
    ranked = metrics.metrics_of("pixel_ranking", least="compared")
    rows = [
        {
            "variant": variant,
            "dice": data.score(variant, CLEAN, "dice"),
            "robust_dice": data.score(variant, attacked, "dice"),
            **{metric: data.score(variant, CLEAN, metric) for metric in ranked},
            "trust": data.trust(variant),
        }
        for variant in data.results.variants
        if attacked and (variant, attacked) in data.measured
    ]
    return data.table("trade_off", rows, attacked=describe_condition(attacked) if attacked else "")


def trade_off_chart(data: ReportData, table: Table) -> Chart:
    """Return robust Dice against the other scores of the table: one point per variant."""
    under = next((column.title for column in table.columns if column.key == "robust_dice"), "Dice, attacked")
    panels = []
    ranked = metrics.metrics_of("pixel_ranking", least="compared").items()
    labels = {name: f"{describe_metric(name)}, clean{_LESS[entry.facts.better]}" for name, entry in ranked}
    for key, label in {"dice": "Dice, clean", **labels}.items():
        lines: list[Line] = []
        for row in table.rows:
            across, up = row[key], row["robust_dice"]
            if isinstance(across, Interval) and isinstance(up, Interval):
                lines += _cross(data, str(row["variant"]), across, up)
        panels.append(Panel("", label, under, tuple(lines), _x_limits(lines)))
    return chart("trade_off", panels)


def _cross(data: ReportData, variant: str, across: Interval, up: Interval) -> list[Line]:
    """Return a point and its two intervals; selections differ in colour, heads in symbol."""
    if math.isnan(across.value) or math.isnan(up.value):
        return []
    heads = list(data.results.heads)
    style = replace(data.styles[variant], dash="solid")
    if len(heads) > 1:
        style = replace(style, symbol=list(SYMBOLS)[heads.index(data.results.head_of(variant)) % len(SYMBOLS)])
    name = mark_label(data.checks, variant, variant)
    text = f"across {interval_text(across)}, up {interval_text(up)}"
    lines = [Line(variant, [across.value], [up.value], style, mode="markers", texts=[text], label=name)]
    for x, y in (((across.low, across.high), (up.value,) * 2), ((across.value,) * 2, (up.low, up.high))):
        if not math.isnan(x[0] + y[0]):
            lines.append(Line(f"{variant}, interval", x, y, style, label=name))
    return lines


def _x_limits(lines: Sequence[Line]) -> tuple[float, float] | None:
    """Return limits that are not so narrow that noise looks like a difference."""
    values = [value for line in lines for value in line.x]
    if not values:
        return None
    middle, half = (min(values) + max(values)) / 2, max(0.05, 0.6 * (max(values) - min(values)))
    return middle - half, middle + half
