"""How far each attack gets: area under its curve, the worst case against every other attack, by size of the lesion."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

from trustseg.reporting import checks
from trustseg.reporting.choices import describe_attack, describe_condition, describe_eps, is_l2
from trustseg.reporting.image_scores import ConditionKey, Floats
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.series import Chart, Line, Panel, looks, without_head
from trustseg.reporting.side_by_side import DICE, FALSE_POSITIVES, Sheet, area_weights, lay_out, weighted_means
from trustseg.reporting.tables import Column, Table, Value
from trustseg.statistics import Interval

__all__ = ["area_table", "compared_attacks", "ensemble_check", "is_ensemble", "worst_case_chart", "worst_case_table"]

FULL_RANGE: Final = 8 / 255
_TOLERANCE: Final = 1e-6  # a Dice this much higher is rounding
_ENSEMBLE: Final = "ensemble"
_CLEAN: Final[ConditionKey] = ("clean", 0.0)
_SIZES: Final = ("small", "medium", "large")
_TRUST: Final = Column("trust", "Checks")


def area_table(evidence: ReportData, *, draws: int) -> Table:
    """Return the area under the curve of Dice against the budget: one column per attack with at least two budgets."""
    attacks = {attack: rungs for attack, rungs in evidence.choices.attacks.items() if len(rungs) > 1}
    ends = {attack: rungs[-1] if is_l2(attack) else min(FULL_RANGE, rungs[-1]) for attack, rungs in attacks.items()}
    rows: list[dict[str, Value]] = []
    for variant in evidence.results.variants:
        row: dict[str, Value] = {"variant": variant}
        for attack, rungs in attacks.items():
            places = [_CLEAN, *((attack, eps) for eps in rungs)]
            whole = all((variant, place) in evidence.robustness for place in places)
            sheet = lay_out(evidence.results, variant, places, DICE)
            weights = area_weights([eps for _, eps in places], ends[attack])
            row[f"area_{attack}"] = weighted_means(sheet, weights[None], draws=draws)[0] if whole else None
        if any(isinstance(value, Interval) for value in row.values()):
            rows.append(row | {"trust": checks.trust(evidence.checks, variant)})
    columns = (
        Column("variant", "Variant"),
        *(Column(f"area_{a}", f"{describe_attack(a)}, 0 to {describe_eps(a, upto)}") for a, upto in ends.items()),
        *_trust_column(evidence),
    )
    title = (
        "Area under the curve of mean Dice against the budget, by trapezoids, divided by the range: 1 is a perfect "
        f"mask at every budget. The range ends at {describe_eps('', FULL_RANGE)} or at the largest budget tested; "
        "areas over different ranges cannot be compared"
    )
    return Table("areas", title, columns, tuple(rows))


def common_eps(evidence: ReportData) -> float:
    """Return the budget at which most attacks were run, of equals the one nearest to that of the headline; 0: none."""
    rungs = [eps for attack, ladder in evidence.choices.attacks.items() if not is_l2(attack) for eps in ladder]
    headline = evidence.choices.eps
    return max(set(rungs), key=lambda eps: (rungs.count(eps), -abs(eps - headline), eps), default=0.0)


def compared_attacks(evidence: ReportData) -> list[ConditionKey]:
    """Return the attacks at the common budget, the worst case over several attacks last."""
    eps = common_eps(evidence)
    names = [
        attack
        for attack, ladder in evidence.choices.attacks.items()
        if not is_l2(attack) and any(abs(rung - eps) < 1e-6 for rung in ladder)
    ]
    return [(name, eps) for name in sorted(names, key=is_ensemble)]


def is_ensemble(attack: str) -> bool:
    """Return whether an attack is the worst case of each image over several attacks."""
    return attack.split("_")[0] == _ENSEMBLE


def worst_case_table(evidence: ReportData, *, draws: int) -> Table:
    """Return mean Dice of every attack at one budget, by size of the lesion, and how often it beats the ensemble."""
    places = [_CLEAN, *compared_attacks(evidence)]
    limits = _size_limits(evidence)
    judged = any(is_ensemble(attack) for attack, _ in places)
    rows: list[dict[str, Value]] = []
    for variant in evidence.results.variants:
        held = [place for place in places if (variant, place) in evidence.robustness]
        if len(held) < 2:
            continue
        dice = lay_out(evidence.results, variant, held, DICE)
        empty = lay_out(evidence.results, variant, held, FALSE_POSITIVES)
        strata = _strata(evidence, variant, dice, limits)
        found = {name: weighted_means(sheet, np.eye(len(held)), draws=draws) for name, sheet in strata.items()}
        found["empty"] = weighted_means(empty, np.eye(len(held)), draws=draws)
        for column, place in enumerate(held):
            row: dict[str, Value] = {"variant": variant, "condition": describe_condition(*place)}
            row |= {name: _or_none(intervals[column]) for name, intervals in found.items()}
            row["stronger"] = _share_stronger(dice.values, held, column) if judged else None
            rows.append(row | {"trust": checks.trust(evidence.checks, variant) if column else None})
    low, high = (f"{100 * limit:.1f}\u00a0%" for limit in limits)
    columns = (
        Column("variant", "Variant"),
        Column("condition", "Condition"),
        Column("dice", "Dice"),
        Column("small", f"Dice, small (up to {low})"),
        Column("medium", f"Dice, medium (up to {high})"),
        Column("large", "Dice, large"),
        Column("empty", "Empty reference: area predicted", digits=4),
        *([Column("stronger", "Stronger than the ensemble on")] if judged else []),
        *_trust_column(evidence),
    )
    title = (
        "Attacks at one budget, by the share of the image that is foreground; the sizes are the thirds of the tested "
        "images with foreground"
    )
    return Table("worst_case", title, columns, tuple(rows))


def ensemble_check(evidence: ReportData) -> str:
    """Return in a sentence whether the worst case is never above another attack's mean Dice; empty without one."""
    places = compared_attacks(evidence)
    worst = next((place for place in places if is_ensemble(place[0])), None)
    others = [place for place in places if not is_ensemble(place[0])]
    if worst is None or not others:
        return ""
    broken = []
    for variant in evidence.results.variants:
        ensemble = evidence.robustness.get((variant, worst))
        for place in others:
            found = evidence.robustness.get((variant, place))
            if ensemble and found and ensemble["dice"].value > found["dice"].value + _TOLERANCE:
                gap = ensemble["dice"].value - found["dice"].value
                broken.append(f"{variant} under {describe_attack(place[0])} (by {gap:.3f})")
    against = (
        f"Checked at {describe_eps('', worst[1])} against {', '.join(describe_attack(name) for name, _ in others)}"
    )
    if not broken:
        return f"{against}: the mean Dice of the ensemble is above that of no other attack, for any variant."
    return (
        f"{against}: the ensemble is not the worst case for {'; '.join(broken)}. "
        "Quote the lower number there: the ensemble is too weak."
    )


def worst_case_chart(evidence: ReportData) -> Chart:
    """Return mean Dice of every attack at one budget, one row per attack and one panel per head."""
    chosen, places = looks(evidence.results), compared_attacks(evidence)
    heads = {variant: evidence.results.cells_of(variant)[0].head for variant in chosen}
    heights = {float(len(places) - row): describe_attack(attack) for row, (attack, _) in enumerate(places)}
    panels = []
    for head in dict.fromkeys(heads.values()):
        members = [variant for variant in chosen if heads[variant] == head]
        lines = []
        for number, variant in enumerate(members):
            held = [(place, height) for place, height in zip(places, heights, strict=True)]
            held = [(place, height) for place, height in held if (variant, place) in evidence.robustness]
            found = [evidence.robustness[variant, place]["dice"] for place, _ in held]
            spread = 0.2 * ((len(members) - 1) / 2 - number) if len(members) < 5 else 0.0
            lines.append(
                Line(
                    variant,
                    [interval.value for interval in found],
                    [height + spread for _, height in held],
                    chosen[variant].of_one_head(),
                    [interval.low for interval in found],
                    [interval.high for interval in found],
                    mode="markers",
                    texts=[describe_condition(*place) for place, _ in held],
                    label=checks.marked(evidence.checks, variant, without_head(variant, head)),
                )
            )
        label = "Dice per image"
        panels.append(Panel(head, label, "", tuple(lines), (0, 1), (0.4, len(places) + 0.6), y_ticks=heights))
    reading = (
        "Every attack at the same budget, with 95 % intervals over patients. Further left is a stronger attack. Judge "
        "a model by its leftmost point: the lowest row, where there is one, takes for each image the worst of several "
        "attacks and should be leftmost."
    )
    eps = describe_eps("", common_eps(evidence))
    return Chart("worst_case", f"All attacks at {eps}", reading, tuple(panels), max(1, len(panels)), horizontal=True)


def _size_limits(evidence: ReportData) -> Floats:
    """Return the thirds of the foreground share of the image over the tested images with foreground."""
    clean = evidence.results.records.filter(pl.col("kind") == "clean", pl.col("mask_px") > 0)
    areas = clean.group_by("image").agg((pl.col("mask_px") / pl.col("pixels")).first().alias("area"))["area"]
    return np.quantile(areas.to_numpy(), (1 / 3, 2 / 3)) if len(areas) else np.zeros(2)


def _strata(evidence: ReportData, variant: str, dice: Sheet, limits: Floats) -> dict[str, Sheet]:
    """Return Dice of all images and of those of each size; the others are undefined there."""
    area = lay_out(evidence.results, variant, [_CLEAN], pl.col("mask_px") / pl.col("pixels")).values
    third = np.searchsorted(limits, area)  # (N, 1): a size on a limit belongs below
    sizes = {
        name: Sheet(dice.images, dice.patients, np.where((third == number) & (area > 0), dice.values, np.nan))
        for number, name in enumerate(_SIZES)
    }
    return {"dice": dice} | sizes


def _share_stronger(dice: Floats, held: Sequence[ConditionKey], column: int) -> str | None:
    """Return on how many images an attack left less Dice than the ensemble did."""
    worst = next((row for row, (attack, _) in enumerate(held) if is_ensemble(attack)), None)
    if worst is None or column in (0, worst):
        return None
    both = np.isfinite(dice[:, worst]) & np.isfinite(dice[:, column])
    stronger = dice[both, column] < dice[both, worst] - _TOLERANCE
    return f"{int(stronger.sum())} of {int(both.sum())} images"


def _or_none(interval: Interval) -> Interval | None:
    return interval if interval.count else None


def _trust_column(evidence: ReportData) -> tuple[Column, ...]:
    return (_TRUST,) if evidence.checks else ()
