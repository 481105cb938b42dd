"""Two audits of the same cases side by side, paired image by image."""

import math
from pathlib import Path
from typing import Final

import polars as pl

from trustseg.audit.document import read_document
from trustseg.audit.evidence import read_results
from trustseg.errors import DataError
from trustseg.metrics import METRICS, metrics_of
from trustseg.records import metric_column
from trustseg.reporting.image_scores import patients_of
from trustseg.reporting.labels import ConditionKey, describe_condition
from trustseg.reporting.tables import Column, Row, Table
from trustseg.statistics import Interval, bootstrap_difference
from trustseg.tables import floats_of

__all__ = ["compare"]

_KEYS: Final = ("image", "patient", "condition", "eps", "mask_px")


def compare(first: Path, second: Path, *, draws: int = 2000) -> Table:
    """Return the difference between two audits, first minus second, of every metric under every condition of both.

    Both are folders of audits. Only images with foreground that both have measured count; a DataError if there is none,
    or their reference masks differ.
    """
    names = [read_document(folder / "audit.json").model.name for folder in (first, second)]
    left, right = (_records(folder, name) for folder, name in zip((first, second), names, strict=True))
    shared = left.join(right, on=["image", "condition", "eps"], suffix="_second", maintain_order="left")
    if not len(shared):
        raise DataError(f"the audits '{first}' and '{second}' share no image with foreground; audit the same data")
    if (differs := shared.filter(pl.col("mask_px") != pl.col("mask_px_second"))).height:
        raise DataError(
            f"the audits '{first}' and '{second}' have other reference masks of '{differs['image'][0]}' "
            f"({differs['mask_px'][0]} and {differs['mask_px_second'][0]} pixels); audit the same data at one --size"
        )
    rows: list[Row] = []
    for (condition, eps), part in shared.group_by("condition", "eps", maintain_order=True):
        key = (str(condition), float(str(eps)))
        rows += [row for name in metrics_of("image") if (row := _difference_row(part, key, name, draws)) is not None]
    columns = (
        *(Column("condition", "Condition"), Column("metric", "Metric"), Column("images", "Images")),
        *(Column("first", names[0]), Column("second", names[1] if names[1] != names[0] else f"{names[1]} (second)")),
        *(Column("difference", "Difference", signed=True), Column("verdict", "Interval says")),
    )
    return Table("comparison", f"{names[0]} minus {names[1]}, on the same images", columns, tuple(rows))


def _records(folder: Path, name: str) -> pl.DataFrame:
    """Return the records of images with foreground: clean ones of all, changed ones of some."""
    tables = [read_results(folder / "clean", name=name, head="bernoulli").records]
    if (folder / "changed" / "records.parquet").is_file():
        changed = read_results(folder / "changed", name=name, head="bernoulli").records
        tables.append(changed.filter(pl.col("kind") != "clean"))
    metrics = [metric_column(metric) for metric in metrics_of("image")]
    kept = [table.select(*_KEYS, *(each for each in metrics if each in table.columns)) for table in tables]
    return pl.concat(kept, how="diagonal_relaxed").filter(pl.col("mask_px") > 0)


def _difference_row(part: pl.DataFrame, key: ConditionKey, name: str, draws: int) -> Row | None:
    """Return the difference in a metric under one condition; None where one audit has not measured it."""
    column = metric_column(name)
    if column not in part.columns or f"{column}_second" not in part.columns:
        return None
    values = floats_of(part, column), floats_of(part, f"{column}_second")
    difference = bootstrap_difference(*values, patients_of(part), draws=draws)
    if math.isnan(difference.value):
        return None
    better = METRICS[name].facts.better
    means = (float(part[each].fill_nan(None).mean() or 0.0) for each in (column, f"{column}_second"))  # type: ignore[arg-type]  # numbers
    return {
        "condition": describe_condition(key),
        "metric": METRICS[name].label,
        "images": difference.count,
        **dict(zip(("first", "second"), means, strict=True)),
        "difference": difference,
        "verdict": _verdict(difference, better),
    }


def _verdict(difference: Interval, better: str) -> str:
    if math.isnan(difference.low) or difference.low <= 0 <= difference.high:
        return "includes 0"
    if better == "zero":
        return "differs"
    return "first is better" if (difference.value > 0) == (better == "higher") else "second is better"
