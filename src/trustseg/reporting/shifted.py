"""Natural shifts in a report: Dice by shift and severity, and the mean corruption curve."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import polars as pl

from trustseg.reporting.charts import head_curve, head_panels, share_y_range
from trustseg.reporting.image_scores import Floats
from trustseg.reporting.labels import CLEAN, words
from trustseg.reporting.report_data import ReportData, as_table
from trustseg.reporting.results import Results
from trustseg.reporting.series import Chart, Line, Panel, chart
from trustseg.reporting.tables import Row, Table, Value
from trustseg.reporting.value_tables import DICE, ValueTable, means_of, values_under, weighted_means
from trustseg.run_files import Evaluation, read_checked
from trustseg.statistics import Interval

__all__ = ["corruption", "corruption_chart", "severities_of", "shift_chart", "shifts", "table_version"]

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


@as_table
def shifts(data: ReportData) -> Iterator[Row]:
    """Yield mean Dice under each shift and severity, and what the shift costs on average over its severities."""
    levels = _levels(data)
    for variant in data.results.variants:
        dice, measured = _dice_by_shift(data, variant)
        means = [mean.value for mean in means_of(dice, draws=1)]
        columns = _columns_by(measured, by=0)
        weights = [_cost(group, len(means)) for group in columns.values()]
        costs = weighted_means(dice, np.array(weights).reshape(-1, len(means)), draws=data.draws)
        covered = _covered_share(
            data, variant, {name: max(level for shift, level in measured if shift == name) for name in columns}
        )
        for name, cost in zip(columns, costs, strict=True):
            places = {level: measured.get((name, level)) for level in levels}
            at_levels = {level: None if place is None else means[place] for level, place in places.items()}
            row: dict[str, Value] = {"variant": variant, "shift": words(name), "clean": means[0]}
            row |= {f"{_SEVERITY}{level}": mean for level, mean in at_levels.items()}
            yield row | {"cost": cost} | ({_COVERED: covered[name]} if covered else {})


def _covered_share(data: ReportData, variant: str, largest: Mapping[str, int]) -> dict[str, float | None]:
    """Return the mean share of the target that each shift covers; nothing where evaluation did not record it."""
    if _COVERED not in data.results.records.columns or not largest:
        return {}
    conditions = [(f"{name}_{level}", 0.0) for name, level in largest.items()]
    means = means_of(values_under(data.results.records, variant, conditions, pl.col(_COVERED)), draws=1)
    return {name: None if np.isnan(mean.value) else mean.value for name, mean in zip(largest, means, strict=True)}


@as_table
def corruption(data: ReportData) -> Iterator[Row]:
    """Yield the mean over all shifts of the mean Dice, clean and by severity, and what the shifts cost on average."""
    for variant in data.results.variants:
        dice, measured = _dice_by_shift(data, variant)
        columns = _columns_by(measured, by=1)
        if not columns:
            continue
        count = dice.values.shape[1]
        weights = [_mean([0], count), *(_mean(at_severity, count) for at_severity in columns.values())]
        *means, cost = weighted_means(dice, np.stack([*weights, _cost([*measured.values()], count)]), draws=data.draws)
        row: dict[str, Value] = {"variant": variant, "shifts": max(map(len, columns.values())), "clean": means[0]}
        row |= {f"{_SEVERITY}{level}": None for level in _levels(data)}
        row |= {f"{_SEVERITY}{level}": mean for level, mean in zip(columns, means[1:], strict=True)}
        yield row | {"cost": cost}


def corruption_chart(data: ReportData, table: Table) -> Chart:
    """Return the corruption table as curves against severity, one panel per head."""
    rows = {str(row["variant"]): row for row in table.rows}

    def points_of(variant: str) -> Line | None:
        points = {level: mean for level, mean in _points(rows.get(variant, {})).items() if isinstance(mean, Interval)}
        if not points or np.isnan(points[0].value):
            return None
        return head_curve(data, variant, list(points), list(points.values()))

    labels = "severity (0: clean)", "Dice, mean over the shifts"
    return chart("corruption", share_y_range(head_panels(data, points_of, *labels, x_range=(-0.1, 5.1))))


def shift_chart(data: ReportData, table: Table) -> Chart:
    """Return the table of the shifts as small multiples against severity, one panel per shift, the costliest first."""
    drawn: dict[str, list[Line]] = {}
    for row in table.rows:
        points = {level: mean for level, mean in _points(row).items() if isinstance(mean, float)}
        variant = str(row["variant"])
        line = Line(variant, list(points), list(points.values()), data.styles[variant], mode="lines+markers")
        drawn.setdefault(str(row["shift"]), []).append(line)
    costs = {name: float(np.mean([line.y[0] - line.y[-1] for line in lines])) for name, lines in drawn.items()}
    ends = [value for lines in drawn.values() for line in lines for value in line.y]
    limits = (max(0.0, min(ends, default=0.0) - 0.05), min(1.0, max(ends, default=1.0) + 0.03))
    order = sorted(sorted(drawn), key=lambda name: -costs[name])
    panels = [Panel(name, "", "", tuple(drawn[name]), (-0.3, 5.3), limits) for name in order]
    return chart("shifts", panels, min(5, len(panels)) or 1, small=True, target=data.results.target)


def _points(row: Row) -> dict[int, Value]:
    found = {int(key.removeprefix(_SEVERITY)): mean for key, mean in row.items() if key.startswith(_SEVERITY)}
    return {level: mean for level, mean in {0: row.get("clean"), **found}.items() if mean is not None}


def _levels(data: ReportData) -> list[int]:
    return sorted({level for found in severities_of(data.results).values() for level in found})


def _dice_by_shift(data: ReportData, variant: str) -> tuple[ValueTable, Cells]:
    """Return Dice of a variant's images, clean first, then under every shift and severity it was measured at."""
    shifts = [(name, level) for name, levels in severities_of(data.results).items() for level in levels]
    conditions = [CLEAN, *((f"{name}_{level}", 0.0) for name, level in shifts)]
    table = values_under(data.results.records, variant, conditions, DICE)
    defined = np.asarray(np.isfinite(table.values).any(axis=0))
    return table, {cell: column for column, cell in enumerate(shifts, start=1) if defined[column]}


def _columns_by(measured: Cells, *, by: int) -> dict[Any, list[int]]:
    """Return the columns of each shift, or with ``by`` = 1 those at each severity, rising."""
    found: dict[Any, list[int]] = {}
    for cell, column in measured.items():
        found.setdefault(cell[by], []).append(column)
    return dict(sorted(found.items()))


def _mean(columns: Sequence[int], count: int) -> Floats:
    return np.isin(np.arange(count), columns) / len(columns)


def _cost(columns: Sequence[int], count: int) -> Floats:
    """Return the weights of the mean over some columns minus the first column, clean."""
    return _mean(columns, count) - _mean([0], count)
