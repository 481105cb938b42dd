"""Natural shifts in a report: Dice by shift and severity, and the mean corruption curve."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl

from trustseg.reporting.charts import head_curve, top_of
from trustseg.reporting.condition_means import DICE, ValueTable, means_of, values_under, weighted_means
from trustseg.reporting.image_scores import Floats
from trustseg.reporting.labels import CLEAN, describe_head, words
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.results import Results
from trustseg.reporting.series import Chart, Line, Panel, chart
from trustseg.reporting.tables import Row, Table, Value
from trustseg.run_files import Evaluation, read_checked
from trustseg.statistics import Interval

__all__ = ["corruption_chart", "corruption_table", "severities_of", "shift_chart", "shift_table", "table_version"]

Cells = Mapping[tuple[str, int], int]
"""(shift, severity) -> column of a value table whose first column is clean."""

_COVERED: Final = "covered"
_SEVERITY: Final = "severity_"


def severities_of(results: Results) -> dict[str, list[int]]:
    """Return the shifts that were measured, each with its severities, rising."""
    rows = results.records.filter(pl.col("kind") == "shift").select("condition", "severity").unique()
    found: dict[str, list[int]] = {}
    for condition, severity in sorted(rows.iter_rows()):
        found.setdefault(str(condition).removesuffix(f"_{severity}"), []).append(int(severity))
    return {name: sorted(levels) for name, levels in found.items()}


def table_version(results: Results) -> str:
    """Return the version of the table of severities that evaluation wrote down, "not recorded" where none did."""
    files = [cell.folder / "evaluation.json" for cell in results.cells]
    versions = [read_checked(path, Evaluation).shift_table if path.is_file() else None for path in files]
    return " and ".join(sorted({"not recorded" if version is None else str(version) for version in versions}))


def shift_table(data: ReportData) -> Table:
    """Return mean Dice under each shift and severity, and what the shift costs on average over its severities."""
    shifts = severities_of(data.results)
    levels = sorted({level for found in shifts.values() for level in found})
    rows: list[Row] = []
    for variant in data.results.variants:
        dice, measured = _dice_by_shift(data, variant, shifts)
        means = [mean.value for mean in means_of(dice, draws=1)]
        names = list(dict.fromkeys(name for name, _ in measured))
        columns = {name: [column for (shift, _), column in measured.items() if shift == name] for name in names}
        weights = [_cost(columns[name], len(means)) for name in names]
        costs = weighted_means(dice, np.array(weights).reshape(len(names), len(means)), draws=data.draws)
        largest = {name: max(level for shift, level in measured if shift == name) for name in names}
        hidden = _hidden(data, variant, largest)
        for name, cost in zip(names, costs, strict=True):
            row: dict[str, Value] = {"variant": variant, "shift": words(name), "clean": means[0]}
            for level in levels:
                row[f"{_SEVERITY}{level}"] = means[measured[name, level]] if (name, level) in measured else None
            rows.append(row | {"cost": cost} | ({_COVERED: hidden[name]} if hidden else {}))
    return data.table("shifts", rows)


def _hidden(data: ReportData, variant: str, largest: Mapping[str, int]) -> dict[str, float | None]:
    """Return the mean share of the target that each shift covers; nothing where evaluation did not record it."""
    if _COVERED not in data.results.records.columns or not largest:
        return {}
    conditions = [(f"{name}_{level}", 0.0) for name, level in largest.items()]
    means = means_of(values_under(data.results, variant, conditions, pl.col(_COVERED)), draws=1)
    return {name: None if np.isnan(mean.value) else mean.value for name, mean in zip(largest, means, strict=True)}


def corruption_table(data: ReportData) -> Table:
    """Return the mean over all shifts of the mean Dice, clean and by severity, and what the shifts cost on average."""
    shifts = severities_of(data.results)
    levels = sorted({level for found in shifts.values() for level in found})
    rows: list[Row] = []
    for variant in data.results.variants:
        dice, measured = _dice_by_shift(data, variant, shifts)
        found = _by_level(measured)
        if not found:
            continue
        count = dice.values.shape[1]
        weights = [_mean([0], count), *(_mean(columns, count) for columns in found.values())]
        *means, cost = weighted_means(dice, np.stack([*weights, _cost([*measured.values()], count)]), draws=data.draws)
        row: dict[str, Value] = {"variant": variant, "shifts": max(map(len, found.values())), "clean": means[0]}
        row |= {f"{_SEVERITY}{level}": None for level in levels}
        row |= {f"{_SEVERITY}{level}": mean for level, mean in zip(found, means[1:], strict=True)}
        rows.append(row | {"cost": cost})
    return data.table("corruption", rows)


def corruption_chart(data: ReportData, table: Table) -> Chart:
    """Return the corruption table as curves against severity, one panel per head."""
    panels = []
    for head, variants in data.results.heads.items():
        lines = []
        for row in (row for row in table.rows if row["variant"] in variants):
            points = {level: mean for level, mean in _points(row).items() if isinstance(mean, Interval)}
            if not np.isnan(points[0].value):
                lines.append(head_curve(data, str(row["variant"]), list(points), list(points.values())))
        if lines:
            labels = "severity (0: clean)", "Dice, mean over the shifts"
            panels.append(Panel(describe_head(head), *labels, tuple(lines), (-0.1, 5.1)))
    top = top_of([line for panel in panels for line in panel.lines])
    return chart("corruption", [replace(panel, y_range=(0.0, top)) for panel in panels])


def shift_chart(data: ReportData, table: Table) -> Chart:
    """Return the table of the shifts as small multiples against severity, one panel per shift, the costliest first."""
    drawn: dict[str, list[Line]] = {}
    for row in table.rows:
        points = {level: mean for level, mean in _points(row).items() if isinstance(mean, float)}
        variant = str(row["variant"])
        line = Line(variant, list(points), list(points.values()), data.looks[variant], mode="lines+markers")
        drawn.setdefault(str(row["shift"]), []).append(line)
    costs = {name: float(np.mean([line.y[0] - line.y[-1] for line in lines])) for name, lines in drawn.items()}
    ends = [value for lines in drawn.values() for line in lines for value in line.y]
    limits = (max(0.0, min(ends, default=0.0) - 0.05), min(1.0, max(ends, default=1.0) + 0.03))
    order = sorted(sorted(drawn), key=lambda name: -costs[name])
    panels = [Panel(name, "", "", tuple(drawn[name]), (-0.3, 5.3), limits) for name in order]
    return chart("shifts", panels, min(5, len(panels)) or 1, small=True, target=data.results.target)


def _points(row: Row) -> dict[int, Value]:
    """Return the means of a row by severity, which is 0 where clean."""
    measured = {key.removeprefix(_SEVERITY): value for key, value in row.items() if key.startswith(_SEVERITY)}
    return {0: row["clean"], **{int(level): value for level, value in measured.items() if value is not None}}


def _dice_by_shift(data: ReportData, variant: str, shifts: Mapping[str, Sequence[int]]) -> tuple[ValueTable, Cells]:
    """Return Dice of a variant's images, clean first, then under every shift and severity it was measured at."""
    asked = [(name, level) for name, levels in shifts.items() for level in levels]
    conditions = [CLEAN, *((f"{name}_{level}", 0.0) for name, level in asked)]
    table = values_under(data.results, variant, conditions, DICE)
    known = np.asarray(np.isfinite(table.values).any(axis=0))
    return table, {cell: column for column, cell in enumerate(asked, start=1) if known[column]}


def _by_level(measured: Cells) -> dict[int, list[int]]:
    """Return the columns of all shifts at each severity."""
    found: dict[int, list[int]] = {}
    for (_, level), column in measured.items():
        found.setdefault(level, []).append(column)
    return dict(sorted(found.items()))


def _mean(columns: Sequence[int], count: int) -> Floats:
    weights = np.zeros(count)
    weights[list(columns)] = 1 / len(columns)
    return weights


def _cost(columns: Sequence[int], count: int) -> Floats:
    """Return the weights of the mean over some columns minus the first column, clean."""
    return _mean(columns, count) - _mean([0], count)
