"""What natural shifts cost: Dice by shift and severity, and the mean corruption curve."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

from trustseg.reporting.choices import words
from trustseg.reporting.image_scores import ConditionKey, Floats
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.results import Results
from trustseg.reporting.series import Chart, Line, Panel, looks, without_head
from trustseg.reporting.side_by_side import DICE, Sheet, lay_out, weighted_means
from trustseg.reporting.tables import Column, Table, Value
from trustseg.run_files import Evaluation, read_checked

__all__ = ["corruption_chart", "corruption_table", "severities_of", "shift_chart", "shift_table", "table_version"]

_CLEAN: Final[ConditionKey] = ("clean", 0.0)
_COVERED: Final = "covered"


def severities_of(results: Results) -> dict[str, list[int]]:
    """Return the shifts that were measured, each with its severities, rising."""
    rows = results.records.filter(pl.col("kind") == "shift").select("condition", "severity").unique().sort("severity")
    found: dict[str, list[int]] = {}
    for condition, severity in sorted(rows.iter_rows()):
        found.setdefault(str(condition).removesuffix(f"_{severity}"), []).append(int(severity))
    return {name: sorted(levels) for name, levels in found.items()}


def table_version(results: Results) -> str:
    """Return the version of the table of severities that evaluation wrote down, "not recorded" where none did."""
    found = set()
    for cell in results.cells:
        path = cell.folder / "evaluation.json"
        version = read_checked(path, Evaluation).shift_table if path.is_file() else None
        found.add("not recorded" if version is None else str(version))
    return " and ".join(sorted(found))


def shift_table(evidence: ReportData, *, draws: int) -> Table:
    """Return mean Dice under each shift and severity, and what the shift costs on average over its severities."""
    shifts = severities_of(evidence.results)
    levels = sorted({severity for found in shifts.values() for severity in found})
    rows: list[dict[str, Value]] = []
    for variant in evidence.results.variants:
        sheet, places = _sheet(evidence, variant, shifts)
        means = weighted_means(sheet, np.eye(len(places)), draws=1)
        chosen = [(name, held) for name, found in shifts.items() if (held := _measured(sheet, places, name, found))]
        weights = [
            _cost([places.index((f"{name}_{level}", 0.0)) for level in held], len(places)) for name, held in chosen
        ]
        costs = weighted_means(sheet, np.array(weights).reshape(len(weights), len(places)), draws=draws)
        hidden = _hidden(evidence, variant, [(f"{name}_{held[-1]}", 0.0) for name, held in chosen])
        for (name, held), cost, covered in zip(chosen, costs, hidden, strict=True):
            row: dict[str, Value] = {"variant": variant, "shift": words(name), "clean": means[0].value}
            row |= {
                f"severity_{level}": means[places.index((f"{name}_{level}", 0.0))].value if level in held else None
                for level in levels
            }
            rows.append(row | {"cost": cost, "covered": covered})
    columns = (
        Column("variant", "Variant"),
        Column("shift", "Shift"),
        Column("clean", "Clean"),
        *(Column(f"severity_{level}", f"Severity {level}") for level in levels),
        Column("cost", "Mean difference to clean", signed=True),
        *([Column("covered", "Lesion hidden at the largest")] if _COVERED in evidence.results.records.columns else []),
    )
    return Table("shifts", "Mean per-image Dice under each natural shift", columns, tuple(rows))


def _hidden(evidence: ReportData, variant: str, places: Sequence[ConditionKey]) -> list[float | None]:
    """Return the mean share of the lesion that each shift covers; None where evaluation did not record it."""
    if _COVERED not in evidence.results.records.columns or not places:
        return [None] * len(places)
    sheet = lay_out(evidence.results, variant, places, pl.col(_COVERED))
    means = (mean.value for mean in weighted_means(sheet, np.eye(len(places)), draws=1))
    return [None if np.isnan(mean) else mean for mean in means]


def corruption_table(evidence: ReportData, *, draws: int) -> Table:
    """Return the mean over all shifts of the mean Dice, clean and by severity, and what the shifts cost on average."""
    shifts = severities_of(evidence.results)
    levels = sorted({severity for found in shifts.values() for severity in found})
    rows: list[dict[str, Value]] = []
    for variant in evidence.results.variants:
        sheet, places = _sheet(evidence, variant, shifts)
        found = _levels(sheet, places, shifts)
        if not found:
            continue
        every = [column for columns in found.values() for column in columns]
        weights = [_mean([0], len(places)), *(_mean(columns, len(places)) for columns in found.values())]
        *means, cost = weighted_means(sheet, np.stack([*weights, _cost(every, len(places))]), draws=draws)
        row: dict[str, Value] = {"variant": variant, "shifts": max(map(len, found.values())), "clean": means[0]}
        row |= {f"severity_{level}": None for level in levels}
        row |= {f"severity_{level}": mean for level, mean in zip(found, means[1:], strict=True)}
        rows.append(row | {"cost": cost})
    columns = (
        Column("variant", "Variant"),
        Column("shifts", "Shifts"),
        Column("clean", "Clean"),
        *(Column(f"severity_{level}", f"Severity {level}") for level in levels),
        Column("cost", "Mean difference to clean", signed=True),
    )
    return Table("corruption", "Mean over all shifts of the mean per-image Dice", columns, tuple(rows))


def corruption_chart(evidence: ReportData, *, draws: int) -> Chart:
    """Return the mean corruption curve: mean over the shifts against severity, one panel per head."""
    shifts, chosen = severities_of(evidence.results), looks(evidence.results)
    heads = {variant: evidence.results.cells_of(variant)[0].head for variant in chosen}
    drawn: dict[str, list[Line]] = {head: [] for head in heads.values()}
    for variant, look in chosen.items():
        sheet, places = _sheet(evidence, variant, shifts)
        found = _levels(sheet, places, shifts)
        weights = [_mean([0], len(places)), *(_mean(columns, len(places)) for columns in found.values())]
        means = weighted_means(sheet, np.stack(weights), draws=draws)
        if not found or np.isnan(means[0].value):
            continue
        line = Line(
            variant,
            [0, *found],
            [mean.value for mean in means],
            look.of_one_head(),
            [mean.low for mean in means],
            [mean.high for mean in means],
            mode="lines+markers",
            label=without_head(variant, heads[variant]),
        )
        drawn[heads[variant]].append(line)
    top = min(1.02, 1.08 * max((end for lines in drawn.values() for line in lines for end in line.high), default=1.0))
    panels = tuple(
        Panel(head, "severity (0: clean)", "Dice, mean over the shifts", tuple(lines), (-0.1, 5.1), (0.0, top))
        for head, lines in drawn.items()
    )
    reading = (
        "Left end: unchanged images. Each further point averages the mean Dice over all shifts of that severity; the "
        "band is the 95 % interval over patients. A flat curve is a model that common changes of an image do not touch."
    )
    return Chart("corruption", "Mean corruption curve", reading, panels)


def shift_chart(evidence: ReportData) -> Chart:
    """Return Dice against severity as small multiples, one panel per shift, the costliest first."""
    shifts, chosen = severities_of(evidence.results), looks(evidence.results)
    drawn: dict[str, list[Line]] = {name: [] for name in shifts}
    costs: dict[str, list[float]] = {name: [] for name in shifts}
    for variant, look in chosen.items():
        sheet, places = _sheet(evidence, variant, shifts)
        means = [mean.value for mean in weighted_means(sheet, np.eye(len(places)), draws=1)]
        for name, found in shifts.items():
            if not (held := _measured(sheet, places, name, found)):
                continue
            values = [means[places.index((f"{name}_{level}", 0.0))] for level in held]
            costs[name].append(means[0] - values[-1])
            drawn[name].append(Line(variant, [0, *held], [means[0], *values], look, mode="lines+markers"))
    order = sorted((name for name in shifts if drawn[name]), key=lambda name: -float(np.mean(costs[name])))
    ends = [value for lines in drawn.values() for line in lines for value in line.y]
    limits = (max(0.0, min(ends, default=0.0) - 0.05), min(1.0, max(ends, default=1.0) + 0.03))
    panels = tuple(Panel(words(name), "", "", tuple(drawn[name]), (-0.3, 5.3), limits) for name in order)
    reading = (
        "One panel per shift, the costliest at its largest severity first. Across: severity, 0 is the unchanged image. "
        "Up: mean Dice per image. Geometric shifts move the reference mask along; collimation, wires and text also "
        "hide part of the lung, so part of their cost is not the model's fault."
    )
    return Chart("shifts", "Every shift by severity", reading, panels, min(5, len(panels)), small=True)


def _sheet(evidence: ReportData, variant: str, shifts: dict[str, list[int]]) -> tuple[Sheet, list[ConditionKey]]:
    """Return Dice of a variant's images, clean first, then under every shift and severity."""
    places = [_CLEAN, *((f"{name}_{level}", 0.0) for name, levels in shifts.items() for level in levels)]
    return lay_out(evidence.results, variant, places, DICE), places


def _measured(sheet: Sheet, places: Sequence[ConditionKey], name: str, levels: Sequence[int]) -> list[int]:
    """Return the severities at which a variant was measured."""
    known = np.asarray(np.isfinite(sheet.values).any(axis=0))
    return [level for level in levels if known[places.index((f"{name}_{level}", 0.0))]]


def _levels(sheet: Sheet, places: Sequence[ConditionKey], shifts: dict[str, list[int]]) -> dict[int, list[int]]:
    """Return the columns of all shifts at each severity."""
    found: dict[int, list[int]] = {}
    for name, levels in shifts.items():
        for level in _measured(sheet, places, name, levels):
            found.setdefault(level, []).append(places.index((f"{name}_{level}", 0.0)))
    return dict(sorted(found.items()))


def _mean(columns: Sequence[int], count: int) -> Floats:
    weights = np.zeros(count)
    weights[list(columns)] = 1 / len(columns)
    return weights


def _cost(columns: Sequence[int], count: int) -> Floats:
    """Return the weights of the mean over some columns minus the first column, clean."""
    return _mean(columns, count) - _mean([0], count)
