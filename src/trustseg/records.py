"""The tables that an evaluation writes, described once and checked where they are read.

A table that lacks a column, or holds one of another type, a value out of range or a row twice, is refused by name.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from trustseg.entries import slug
from trustseg.errors import DataError
from trustseg.former_names import AGGREGATIONS, current_aggregation
from trustseg.tables import read_parquet

__all__ = [
    "CALIBRATION",
    "HISTOGRAMS",
    "MINIMAL",
    "RECORDS",
    "TableSchema",
    "check_pixels",
    "check_table",
    "metric_column",
    "read_records",
    "read_table",
    "score_column",
]

_ROUNDING: Final = 1e-3  # sums of float32 numbers are compared to within this share


@dataclass(frozen=True, slots=True)
class _Column:
    """What a column holds.

    Attributes:
        kind: "text", "whole", "number" or "flag".
        low: smallest value.
        high: largest value, or the name of the column that holds it.
        known: whether every row has a value; else null and NaN stand for an unknown or undefined one.
        finite: whether infinity is no value.
        optional: whether the column may be missing.
        values: the only texts allowed; any where empty.
    """

    kind: str = "number"
    low: float | None = None
    high: float | str | None = None
    known: bool = True
    finite: bool = True
    optional: bool = False
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TableSchema:
    """The columns of a table and those that tell its rows apart.

    Attributes:
        name: of the file.
        columns: what each holds.
        key: columns whose values no two rows share.
        prefixes: the beginning of a name -> what every such column holds.
    """

    name: str
    columns: Mapping[str, _Column]
    key: Sequence[str]
    prefixes: Mapping[str, _Column] = field(default_factory=dict)


_TEXT: Final = _Column("text")
_UNIT: Final = _Column(low=0, high=1, known=False)
_POSITIVE: Final = _Column(low=0, known=False, optional=True)
_OPTIONAL_UNIT: Final = _Column(low=0, high=1, known=False, optional=True)

RECORDS: Final = TableSchema(
    "records.parquet",
    {
        "image": _TEXT,
        "patient": _TEXT,
        "condition": _TEXT,
        "eps": _Column(low=0),
        "kind": _Column("text", values=("clean", "attack", "shift", "population")),
        "severity": _Column("whole", low=0, high=5),
        "pixels": _Column("whole", low=0),
        "mask_px": _Column("whole", low=0, high="pixels", known=False),  # unknown of other populations
        "predicted_px": _Column("whole", low=0, high="pixels"),
        "intersection_px": _Column("whole", low=0, high="predicted_px", known=False),
        "dice": _UNIT,  # undefined where reference and prediction are empty
        "iou": _UNIT,
        "harm": _OPTIONAL_UNIT,
        "brier": _OPTIONAL_UNIT,
        "nll": _POSITIVE,
        "linf": _POSITIVE,
        "l2": _POSITIVE,
        "covered": _OPTIONAL_UNIT,
        "dice_native": _OPTIONAL_UNIT,
        "size": _Column("whole", low=1, optional=True),
    },
    key=("image", "condition", "eps"),
    prefixes={"metric_": _Column(known=False), "u_": _Column(known=False), "group_": _Column("text", known=False)},
)

_SUMS: Final = {"condition": _TEXT, "eps": _Column(low=0), "patient": _TEXT, "bin": _Column("whole")}

HISTOGRAMS: Final = TableSchema(
    "histograms.parquet",
    {
        **_SUMS,
        "measure": _TEXT,
        "count": _Column("whole", low=0),
        "wrong": _Column("whole", low=0, high="count"),
        "brier": _Column(low=0, high="count"),
    },
    key=("condition", "eps", "measure", "patient", "bin"),
)

CALIBRATION: Final = TableSchema(
    "calibration.parquet",
    {
        **_SUMS,
        "region": _Column("text", values=("whole", "boundary", "foreground"), optional=True),
        "count": _Column("whole", low=0),
        "sum_probability": _Column(low=0, high="count"),
        "sum_reference": _Column(low=0, high="count"),
    },
    key=("condition", "eps", "region", "patient", "bin"),
)


MINIMAL: Final = TableSchema(
    "minimal.parquet",
    {
        "image": _TEXT,
        "patient": _TEXT,
        "mask_px": _Column("whole", low=0),
        "tau": _Column(low=0, high=1),
        "eps_holds": _Column(low=0),
        "eps_breaks": _Column(low=0, finite=False),
        "already_broken": _Column("flag"),
        "censored": _Column("flag"),
    },
    key=("image", "tau"),
)


def metric_column(metric: str) -> str:
    """Return the column of records that holds a metric of predicted masks.

    Example:
        >>> metric_column("dice"), metric_column("surface_dice(tolerance=3)")
        ('dice', 'metric_surface_dice_tolerance3')
    """
    return metric if metric in RECORDS.columns else f"metric_{slug(metric)}"


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
    if "kind" not in table.columns and "condition" in table.columns:  # written before there were shifts
        kind = pl.when(pl.col("condition") == "clean").then(pl.lit("clean")).otherwise(pl.lit("attack"))
        table = table.with_columns(kind=kind, severity=pl.lit(0, pl.Int32))
    labels = [name for name in ("cell",) if name in table.columns]
    check_table(table, RECORDS, path=path, within=labels, required=required)
    _check_overlap(table, path)
    return table


def read_table(path: Path, schema: TableSchema) -> pl.DataFrame:
    """Return the table in a file after checking it.

    Raises:
        DataError: if the file cannot be read or is not such a table.
    """
    table = _read(path)
    check_table(table, schema, path=path)
    return table


def check_table(
    table: pl.DataFrame,
    schema: TableSchema,
    *,
    path: Path,
    within: Sequence[str] = (),
    required: Collection[str] | None = None,
) -> None:
    """Check a table against its schema.

    Args:
        table: the table.
        schema: what it has to be.
        path: the file it comes from, for the error.
        within: further columns that tell rows apart.
        required: columns that may not be missing; by default all that are not optional.

    Raises:
        DataError: if a column is missing or of another type, a value is out of range, or a row is there twice.
    """
    if required is None:
        required = [name for name, column in schema.columns.items() if not column.optional]
    if lacking := [name for name in required if name not in table.columns]:
        raise _wrong(path, f"lacks the columns {', '.join(lacking)}")
    for name in table.columns:
        column = schema.columns.get(name) or next(
            (held for prefix, held in schema.prefixes.items() if name.startswith(prefix)), None
        )
        if column is None:
            continue
        if (dtype := table.schema[name]) != pl.Null and not _fits(dtype, column.kind):
            raise _wrong(path, f"has {dtype} in the column {name}, {_WORDS[column.kind]} expected")
        odd = table.filter(_odd(name, column, table.schema))
        if len(odd):
            raise _wrong(path, f"has {odd[name][0]!r} in the column {name}{_where(odd)}, {_range(column)} expected")
    key = [name for name in (*within, *schema.key) if name in table.columns]
    twice = table.filter(pl.struct(key).is_duplicated())
    if len(twice):
        raise _wrong(path, f"has {len(twice)} rows for which others have the same {', '.join(key)}{_where(twice)}")


def _check_overlap(records: pl.DataFrame, path: Path) -> None:
    """Check that Dice and IoU are those of the pixels that a row counts.

    Raises:
        DataError: if a row contradicts itself.
    """
    counts = ("mask_px", "predicted_px", "intersection_px")
    if not set(counts) <= set(records.columns):
        return
    mask, predicted, shared = (pl.col(name).cast(pl.Float64) for name in counts)
    for name, found in (("dice", 2 * shared / (mask + predicted)), ("iou", shared / (mask + predicted - shared))):
        if name in records.columns:
            told = pl.col(name).cast(pl.Float64).fill_null(float("nan"))
            apart = (told.is_nan() != found.is_nan()) | ((told - found).abs().fill_nan(0) > _ROUNDING)
            odd = records.filter(apart & found.is_not_null() | (shared > mask))
            if len(odd):
                pixels = ", ".join(f"{odd[each][0]} {each}" for each in counts)
                raise _wrong(path, f"has {odd[name][0]} in the column {name} where it counts {pixels}{_where(odd)}")


def check_pixels(sums: pl.DataFrame, records: pl.DataFrame, *, within: Sequence[str], path: Path) -> None:
    """Check that sums over pixels count no pixel twice.

    Args:
        sums: a table of ``HISTOGRAMS`` or ``CALIBRATION``.
        records: the records of the same model.
        within: columns by which the sums are kept apart, beside condition and budget.
        path: the file of the sums, for the error.

    Raises:
        DataError: if more pixels are counted under a condition than its images have.
    """
    condition = ("condition", "eps")
    counted = sums.group_by(*condition, *within).agg(pl.col("count").sum()).with_columns(pl.col("eps").round(6))
    held = records.with_columns(pl.col("eps").round(6)).group_by(condition).agg(pl.col("pixels").sum())
    odd = counted.join(held, on=condition, how="left").filter(pl.col("count") > pl.col("pixels").fill_null(0))
    if len(odd):
        raise _wrong(path, f"counts {odd['count'][0]} pixels of the {odd['pixels'][0] or 0} there are{_where(odd)}")


_WORDS: Final = {
    "text": "text was",
    "whole": "whole numbers were",
    "number": "numbers were",
    "flag": "true or false was",
}


def _fits(dtype: pl.DataType, kind: str) -> bool:
    if kind == "text":
        return dtype in (pl.String, pl.Categorical)
    if kind == "flag":
        return dtype == pl.Boolean
    return dtype.is_integer() or (kind == "number" and dtype.is_float())


def _odd(name: str, column: _Column, schema: Mapping[str, pl.DataType]) -> pl.Expr:
    """Return which rows hold what the column may not."""
    value = pl.col(name)
    if column.kind == "text":
        wrong = ~value.is_in(column.values) if column.values else pl.lit(value=False)
        return pl.when(value.is_null()).then(pl.lit(column.known)).otherwise(wrong)
    if column.kind == "flag":
        return value.is_null()
    is_float = schema[name].is_float()
    wrong = value.is_infinite() if is_float and column.finite else pl.lit(value=False)
    if column.low is not None:
        wrong |= value < column.low
    if isinstance(column.high, str) and column.high in schema:
        most = pl.col(column.high)
        wrong |= value > (most * (1 + _ROUNDING) + _ROUNDING if is_float else most)
    elif isinstance(column.high, int | float):
        wrong |= value > column.high * (1 + 1e-6)
    undefined = value.is_null() | value.is_nan() if is_float else value.is_null()
    return pl.when(undefined).then(pl.lit(column.known)).otherwise(wrong.fill_null(value=False))


def _range(column: _Column) -> str:
    if column.values:
        return f"one of {', '.join(column.values)} was"
    if column.low is None:
        return _WORDS[column.kind]
    return f"a value from {column.low:g}{'' if column.high is None else f' to {column.high}'} was"


def _where(rows: pl.DataFrame) -> str:
    """Return the first of some rows in words."""
    names = [name for name in ("image", "patient", "condition", "eps") if name in rows.columns][:3]
    return f" ({', '.join(f'{name} {rows[name][0]}' for name in names)})" if names else ""


def _read(path: Path) -> pl.DataFrame:
    try:
        return read_parquet(path)
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"cannot read {path}: {reason}; restore it, or evaluate again") from error


def _wrong(path: Path, what: str) -> DataError:
    return DataError(f"{path} {what}; restore it, or evaluate again")
