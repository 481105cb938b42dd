"""Schemas of tables: columns, types, ranges, and keys of rows."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from trustseg.errors import DataError

__all__ = ["ROUNDING", "Column", "TableSchema", "check_table", "first_row", "refused"]

ROUNDING: Final = 1e-3  # sums of float32 numbers are compared to within this share


@dataclass(frozen=True, slots=True)
class Column:
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
    """The columns of the table in a file, and those that tell its rows apart.

    Attributes:
        key: columns whose values no two rows share.
        prefixes: the beginning of a name -> what every such column holds.
    """

    name: str
    columns: Mapping[str, Column]
    key: Sequence[str]
    prefixes: Mapping[str, Column] = field(default_factory=dict)


def check_table(
    table: pl.DataFrame,
    schema: TableSchema,
    *,
    path: Path,
    within: Sequence[str] = (),
    required: Collection[str] | None = None,
) -> None:
    """Check a table from a file against its schema.

    Args:
        within: further columns that tell rows apart.
        required: columns that may not be missing; by default all that are not optional.

    Raises:
        DataError: if a column is missing or of another type, a value is out of range, or a row is there twice.
    """
    if required is None:
        required = [name for name, column in schema.columns.items() if not column.optional]
    if lacking := [name for name in required if name not in table.columns]:
        raise refused(path, f"lacks the columns {', '.join(lacking)}")
    for name in table.columns:
        column = schema.columns.get(name) or next(
            (column_of_prefix for prefix, column_of_prefix in schema.prefixes.items() if name.startswith(prefix)), None
        )
        if column is None:
            continue
        if (dtype := table.schema[name]) != pl.Null and not _fits(dtype, column.kind):
            raise refused(path, f"has {dtype} in the column {name}, expected {_WORDS[column.kind]}")
        bad = table.filter(_odd(name, column, table.schema))
        if len(bad):
            raise refused(path, f"has {bad[name][0]!r} in the column {name}{first_row(bad)}, expected {_range(column)}")
    key = [name for name in (*within, *schema.key) if name in table.columns]
    rows = table.filter(pl.struct(key).is_duplicated())
    if len(rows):
        raise refused(path, f"has {len(rows)} rows for which others have the same {', '.join(key)}{first_row(rows)}")


def refused(path: Path, what: str) -> DataError:
    """Return the error for a table that is not what it has to be."""
    return DataError(f"{path} {what}; restore it, or evaluate again")


_WORDS: Final = {"text": "text", "whole": "whole numbers", "number": "numbers", "flag": "true or false"}


def _fits(dtype: pl.DataType, kind: str) -> bool:
    if kind == "text":
        return dtype in (pl.String, pl.Categorical)
    if kind == "flag":
        return dtype == pl.Boolean
    return dtype.is_integer() or (kind == "number" and dtype.is_float())


def _odd(name: str, column: Column, schema: Mapping[str, pl.DataType]) -> pl.Expr:
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
        wrong |= value > (most * (1 + ROUNDING) + ROUNDING if is_float else most)
    elif isinstance(column.high, int | float):
        wrong |= value > column.high * (1 + 1e-6)
    undefined = value.is_null() | value.is_nan() if is_float else value.is_null()
    return pl.when(undefined).then(pl.lit(column.known)).otherwise(wrong.fill_null(value=False))


def _range(column: Column) -> str:
    if column.values:
        return f"one of {', '.join(column.values)}"
    if column.low is None:
        return _WORDS[column.kind]
    return f"a value from {column.low:g}{'' if column.high is None else f' to {column.high}'}"


def first_row(rows: pl.DataFrame) -> str:
    """Return the first of some rows in words."""
    names = [name for name in ("image", "patient", "condition", "eps") if name in rows.columns][:3]
    return f" ({', '.join(f'{name} {rows[name][0]}' for name in names)})" if names else ""
