"""The tables that an evaluation writes, described once and checked where they are read.

A table that lacks a column, or holds one of another type, a value out of range or a row twice, is refused by name.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from trustseg.entries import slug
from trustseg.errors import DataError
from trustseg.files import read_json
from trustseg.former_names import AGGREGATIONS, current_aggregation
from trustseg.table_schema import ROUNDING, Column, TableSchema, check_table, first_row, refused
from trustseg.tables import read_parquet

__all__ = [
    "CALIBRATION",
    "HISTOGRAMS",
    "MINIMAL",
    "RECORDS",
    "REGIONS",
    "TableSchema",
    "check_pixels",
    "check_table",
    "is_metric_column",
    "metric_column",
    "metric_of_column",
    "model_of",
    "read_records",
    "read_table",
    "score_column",
]

_METRIC: Final = "metric_"
_TEXT: Final = Column("text")
_UNIT: Final = Column(low=0, high=1, known=False)
_POSITIVE: Final = Column(low=0, known=False, optional=True)
_OPTIONAL_UNIT: Final = Column(low=0, high=1, known=False, optional=True)

RECORDS: Final = TableSchema(
    "records.parquet",
    {
        "image": _TEXT,
        "patient": _TEXT,
        "condition": _TEXT,
        "eps": Column(low=0),
        "kind": Column("text", values=("clean", "attack", "shift", "population")),
        "severity": Column("whole", low=0, high=5),
        "pixels": Column("whole", low=0),
        "mask_px": Column("whole", low=0, high="pixels", known=False),  # unknown of other populations
        "predicted_px": Column("whole", low=0, high="pixels"),
        "intersection_px": Column("whole", low=0, high="predicted_px", known=False),
        "dice": _UNIT,  # undefined where reference and prediction are empty
        "iou": _UNIT,
        "harm": _OPTIONAL_UNIT,
        "brier": _OPTIONAL_UNIT,
        "nll": _POSITIVE,
        "linf": _POSITIVE,
        "l2": _POSITIVE,
        "covered": _OPTIONAL_UNIT,
        "dice_native": _OPTIONAL_UNIT,
        "size": Column("whole", low=1, optional=True),
        "reference": Column("text", known=False, optional=True),
    },
    key=("image", "condition", "eps"),
    prefixes={
        _METRIC: Column(known=False),
        "u_": Column(known=False),
        "strength_": Column(low=0, known=False),
        "group_": Column("text", known=False),
    },
)

REGIONS: Final = ("whole", "boundary", "foreground")
_SUMS: Final = {"condition": _TEXT, "eps": Column(low=0), "patient": _TEXT, "bin": Column("whole")}

HISTOGRAMS: Final = TableSchema(
    "histograms.parquet",
    {
        **_SUMS,
        "measure": _TEXT,
        "count": Column("whole", low=0),
        "wrong": Column("whole", low=0, high="count"),
        "brier": Column(low=0, high="count"),
    },
    key=("condition", "eps", "measure", "patient", "bin"),
)

CALIBRATION: Final = TableSchema(
    "calibration.parquet",
    {
        **_SUMS,
        "region": Column("text", values=REGIONS, optional=True),
        "count": Column("whole", low=0),
        "sum_probability": Column(low=0, high="count"),
        "sum_reference": Column(low=0, high="count"),
    },
    key=("condition", "eps", "region", "patient", "bin"),
)


MINIMAL: Final = TableSchema(
    "minimal.parquet",
    {
        "image": _TEXT,
        "patient": _TEXT,
        "mask_px": Column("whole", low=0),
        "tau": Column(low=0, high=1),
        "eps_holds": Column(low=0),
        "eps_breaks": Column(low=0, finite=False),
        "already_broken": Column("flag"),
        "censored": Column("flag"),
    },
    key=("image", "tau"),
)


def model_of(file: Path) -> str:
    """Return the hash of the model that the tables of an evaluation are of, empty where it is not recorded."""
    about = file.with_name("evaluation.json")
    return str(read_json(about).get("model", "")) if about.is_file() else ""


def metric_column(metric: str) -> str:
    """Return the column of records that holds a metric of predicted masks.

    Example:
        >>> metric_column("dice"), metric_column("surface_dice(tolerance=3)")
        ('dice', 'metric_surface_dice_tolerance3')
    """
    return metric if metric in RECORDS.columns else f"{_METRIC}{slug(metric)}"


def is_metric_column(column: str) -> bool:
    """Return whether a column of records holds one of the further metrics, whose names have a prefix."""
    return column.startswith(_METRIC)


def metric_of_column(column: str) -> str:
    """Return the name of the metric in a column of records, with its options: the inverse of ``metric_column``."""
    return column.removeprefix(_METRIC)


def score_column(measure: str, aggregation: str) -> str:
    """Return the column of records that holds an image score.

    Example:
        >>> score_column("entropy", "quantile_mean(quantile=0.9)")
        'u_entropy_quantile_mean_quantile0p9'
    """
    return f"u_{measure}_{slug(aggregation)}"


def read_records(path: Path, *, required: Collection[str] | None = None) -> pl.DataFrame:
    """Return the records of one model in a file: a row per image and condition.

    Scores and conditions of earlier versions are given the names and columns of today.

    Args:
        path: ``records.parquet``, or a table of the same form.
        required: columns that may not be missing; by default all that are not optional.

    Raises:
        DataError: if the file cannot be read or is not such a table.
    """
    table = _read(path)
    for former, name in AGGREGATIONS.items():
        for column in [column for column in table.columns if column.startswith("u_") and column.endswith(former)]:
            current_aggregation(former)  # which is noted
            table = table.rename({column: column.removesuffix(former) + name})
    if "selection" not in table.columns:
        table = table.rename({"regime": "selection"}, strict=False)
    if "kind" not in table.columns and "condition" in table.columns:  # written before there were shifts
        kind = pl.when(pl.col("condition") == "clean").then(pl.lit("clean")).otherwise(pl.lit("attack"))
        table = table.with_columns(kind=kind, severity=pl.lit(0, pl.Int32))
    check_table(table, RECORDS, path=path, within=["cell"], required=required)
    _check_overlap(table, path)
    _check_images(table, path)
    return table


def read_table(path: Path, schema: TableSchema) -> pl.DataFrame:
    """Return the table in a file after checking it.

    Raises:
        DataError: if the file cannot be read or is not such a table.
    """
    table = _read(path)
    check_table(table, schema, path=path)
    return table


def _check_overlap(records: pl.DataFrame, path: Path) -> None:
    """Raise a DataError unless Dice and IoU, where a row has them, are those of the pixels that it counts."""
    counts = ("mask_px", "predicted_px", "intersection_px")
    if not set(counts) <= set(records.columns):
        return
    mask, predicted, shared = (pl.col(name).cast(pl.Float64) for name in counts)
    for name, found in (("dice", 2 * shared / (mask + predicted)), ("iou", shared / (mask + predicted - shared))):
        if name in records.columns:
            told = pl.col(name).cast(pl.Float64)  # null for a control: Dice says nothing of an image without foreground
            apart = (told.is_nan() != found.is_nan()) | ((told - found).abs().fill_nan(0) > ROUNDING)
            odd = records.filter(apart & found.is_not_null() & told.is_not_null() | (shared > mask))
            if len(odd):
                pixels = ", ".join(f"{odd[each][0]} {each}" for each in counts)
                raise refused(path, f"has {odd[name][0]} in the column {name} where it counts {pixels}{first_row(odd)}")


def _check_images(records: pl.DataFrame, path: Path) -> None:
    """Raise a DataError unless an image has one patient, size and, unless it is moved, mask under each condition."""
    if {"size", "pixels"} <= set(records.columns):
        odd = records.filter(pl.col("pixels") > pl.col("size").cast(pl.Int64) ** 2)
        if len(odd):
            what = f"counts {odd['pixels'][0]} pixels in a square of size {odd['size'][0]}"
            raise refused(path, f"{what}{first_row(odd)}")
    if not {"image", "kind"} <= set(records.columns):
        return
    own = records.filter(pl.col("kind") != "population")
    image = [name for name in ("cell", "image") if name in own.columns]
    always = [name for name in own.columns if name in ("patient", "reference", "size") or name.startswith("group_")]
    unmoved = [name for name in ("mask_px", "pixels") if name in own.columns]
    for rows, names in ((own, always), (own.filter(pl.col("kind") != "shift"), unmoved)):
        for name in names:
            odd = rows.filter(pl.col(name).n_unique().over(image) > 1).sort(image, maintain_order=True)
            if len(odd):
                values = " and ".join(map(str, odd.filter(image=odd["image"][0])[name].unique(maintain_order=True)[:2]))
                raise refused(path, f"has {values} in the column {name} for the same image {odd['image'][0]}")


def check_pixels(sums: pl.DataFrame, records: pl.DataFrame, *, within: Sequence[str], path: Path) -> None:
    """Raise a DataError if sums count more pixels under a condition than its images have, some of them twice.

    Args:
        sums: a table of ``HISTOGRAMS`` or ``CALIBRATION``.
        records: the records of the same model.
        within: columns by which the sums are kept apart, besides condition and budget.
        path: the file of the sums, for the error.
    """
    condition = ("condition", "eps")
    counted = sums.group_by(*condition, *within).agg(pl.col("count").sum()).with_columns(pl.col("eps").round(6))
    held = records.with_columns(pl.col("eps").round(6)).group_by(condition).agg(pl.col("pixels").sum())
    odd = counted.join(held, on=condition, how="left").filter(pl.col("count") > pl.col("pixels").fill_null(0))
    if len(odd):
        raise refused(path, f"counts {odd['count'][0]} pixels of the {odd['pixels'][0] or 0} there are{first_row(odd)}")


def _read(path: Path) -> pl.DataFrame:
    try:
        return read_parquet(path)
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"cannot read {path}: {reason}; restore it, or evaluate again") from error
