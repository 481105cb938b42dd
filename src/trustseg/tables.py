"""Tables in files: parquet and CSV, read from exactly the path that is given, and CSV that no spreadsheet executes."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from trustseg.files import replacing, write_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "csv_text",
    "floats_of",
    "inert",
    "original",
    "read_csv",
    "read_parquet",
    "scan_parquet",
    "write_csv",
    "write_parquet",
]

# What makes a spreadsheet take a cell for a formula (OWASP, "CSV Injection"), its full-width forms too.
_FORMULA: Final = "[-=+@\t\r\n\uff1d\uff0b\uff0d\uff20]"


def floats_of(table: pl.DataFrame, column: str) -> "NDArray[np.float64]":
    """Return a column as floats (N,), NaN where it is null."""
    return table[column].cast(pl.Float64).fill_null(math.nan).to_numpy()


def read_parquet(path: Path, *, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Return the table in a parquet file, or some of its columns; no wildcard in the path is expanded, and no tilde."""
    with path.open("rb") as stream:
        return pl.read_parquet(stream, columns=None if columns is None else list(columns))


def write_parquet(table: pl.DataFrame, path: Path) -> None:
    """Write a table to a parquet file, whole or not at all."""
    with replacing(path) as temporary:
        table.write_parquet(temporary)


def scan_parquet(path: Path) -> pl.LazyFrame:
    """Return the table in a parquet file, of which only what is asked for will be read."""
    return pl.scan_parquet(path.absolute(), glob=False, hive_partitioning=False)  # polars expands a leading tilde


def read_csv(path: Path, *, as_text: bool = False) -> pl.DataFrame:
    """Return the table in a CSV file in UTF-8, cells as they were before ``write_csv`` quoted them.

    A column that holds numbers only is numeric, unless every cell is to be read as text.
    """
    table = pl.read_csv(path.read_bytes(), infer_schema=not as_text, infer_schema_length=None)
    return table.select(_unquoted(column) for column in table)


def csv_text(table: pl.DataFrame) -> str:
    """Return a table as CSV in which a text that a spreadsheet would execute begins with an apostrophe.

    Numbers are left alone, ``-0.5`` as text too. A text that begins with apostrophes before such a sign gets one more,
    so that ``read_csv`` gives back what was written.

    Example:
        >>> print(csv_text(pl.DataFrame({"image": ["a.png", "=1+1.png"], "score": [0.5, -0.5]})), end="")
        image,score
        a.png,0.5
        '=1+1.png,-0.5
    """
    return table.select(_quoted(column) for column in table).write_csv()


def write_csv(table: pl.DataFrame, path: Path) -> None:
    """Write a table as ``csv_text`` has it to ``path``, whole or not at all."""
    write_text(path, csv_text(table))


def inert(text: str) -> str:
    """Return a text as a cell that no spreadsheet executes; ``original`` gives the text back."""
    return f"'{text}" if re.match(f"'*{_FORMULA}", text) else text


def original(cell: str) -> str:
    """Return the text that a cell was before ``inert`` quoted it."""
    return cell[1:] if re.match(f"'+{_FORMULA}", cell) else cell


def _quoted(column: pl.Series) -> pl.Series:
    """Return a column whose name and texts are no formulas."""
    name = inert(column.name)
    if column.dtype != pl.String:
        return column.alias(name)
    formula = column.str.contains(f"^'*{_FORMULA}") & column.cast(pl.Float64, strict=False).is_null()
    return ("'" + column).zip_with(formula, column).alias(name)


def _unquoted(column: pl.Series) -> pl.Series:
    """Return a column whose name and texts are those that ``_quoted`` was given."""
    name = original(column.name)
    if column.dtype != pl.String:
        return column.alias(name)
    return column.str.slice(1).zip_with(column.str.contains(f"^'+{_FORMULA}"), column).alias(name)
