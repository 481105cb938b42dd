"""The tables of one finished cell: sums over pixels, and its training log."""

from pathlib import Path
from typing import Final

import polars as pl

from trustseg.errors import DataError
from trustseg.reporting.cells import FinishedCell, read_file
from trustseg.reporting.labels import ConditionKey
from trustseg.tables import read_csv, read_parquet, scan_parquet

__all__ = ["at", "load_calibration", "load_histogram", "load_training"]


_HISTOGRAM: Final = {"patient": pl.String, "bin": pl.Int32, "count": pl.Int64, "wrong": pl.Int64, "brier": pl.Float64}
_CALIBRATION: Final = {
    "patient": pl.String,
    "bin": pl.Int32,
    "count": pl.Int64,
    "sum_probability": pl.Float64,
    "sum_reference": pl.Float64,
}


def at(condition: ConditionKey) -> pl.Expr:
    """Return which rows are of one condition."""
    return (pl.col("condition") == condition[0]) & ((pl.col("eps") - condition[1]).abs() < 1e-6)


def load_histogram(cell: FinishedCell, condition: ConditionKey, measure: str) -> pl.DataFrame:
    """Return ``patient, bin, count, wrong, brier`` of a cell; no rows where it did not store the measure."""
    if not cell.has_pixels:
        return pl.DataFrame(schema=_HISTOGRAM)
    columns = ("patient", pl.col("bin").cast(pl.Int32), "count", "wrong", pl.col("brier").cast(pl.Float64))

    def chosen(path: Path) -> pl.DataFrame:
        return scan_parquet(path).filter(at(condition), pl.col("measure") == measure).select(*columns).collect()

    return read_file(cell.folder / "histograms.parquet", chosen)


def load_calibration(cell: FinishedCell, condition: ConditionKey, region: str = "whole") -> pl.DataFrame:
    """Return ``patient, bin, count, sum_probability, sum_reference`` of a cell.

    The region is the ``"whole"`` image, the ``"boundary"`` or the ``"foreground"``; a table without regions holds the
    whole image. No rows where the cell has no tables of pixels.
    """
    if not cell.has_pixels:
        return pl.DataFrame(schema=_CALIBRATION)
    table = read_file(cell.folder / "calibration.parquet", read_parquet)
    if "region" not in table.columns:
        table = table.with_columns(region=pl.lit("whole"))
    chosen = table.filter(at(condition), pl.col("region") == region)
    return chosen.select("patient", pl.col("bin").cast(pl.Int32), "count", "sum_probability", "sum_reference")


def load_training(cell: FinishedCell) -> pl.DataFrame | None:
    """Return one row per epoch of the training log, the last value of each column, or None where there is no log.

    Raises:
        DataError: if it is not a table of numbers by epoch.
    """
    path = cell.training_log
    if path is None:
        return None
    table = read_file(path, read_csv)
    if "epoch" not in table.columns or not table["epoch"].dtype.is_integer():
        raise DataError(f"'{path}' is no training log: it has no column of whole numbers called epoch; restore it")
    if odd := [column.name for column in table if not (column.dtype.is_numeric() or column.dtype == pl.Null)]:
        raise DataError(f"'{path}' is no training log: its column {odd[0]} holds text; restore it from the run")
    return table.group_by("epoch").agg(pl.exclude("epoch").drop_nulls().last()).sort("epoch")
