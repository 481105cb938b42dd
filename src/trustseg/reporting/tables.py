"""A table of names and intervals, and its four spellings: data frame, CSV, LaTeX, Markdown."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import polars as pl

from trustseg.statistics import Interval
from trustseg.tables import csv_text

__all__ = ["Column", "Table", "Value", "interval_text", "number_text"]

Value = str | int | float | Interval | None

_LATEX: Final = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "—": "---",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its key in files, its title on pages, its digits, and whether numbers show a sign."""

    key: str
    title: str
    digits: int = 3
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table that can be shown on a page and written to files.

    Attributes:
        key: file name without suffix, ``[a-z0-9_]``.
        title: caption in words.
        columns: columns, in order.
        rows: one mapping from column key to value per row; each holds every key, None where there is nothing to say.
        constants: what is the same for all rows: columns of the data frame that are not shown.
    """

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Value], ...]
    constants: Mapping[str, str] = field(default_factory=dict)

    def only(self, *keys: str, title: str) -> "Table":
        """Return the table with some of its columns, in their order, under another title."""
        return replace(self, title=title, columns=tuple(column for column in self.columns if column.key in keys))

    def frame(self) -> pl.DataFrame:
        """Return one column per key, then the constants; an interval fills ``key``, ``key_low`` and ``key_high``."""
        data: dict[str, list[str | int | float | None]] = {}
        for column in self.columns:
            values = [row[column.key] for row in self.rows]
            if not any(isinstance(value, Interval) for value in values):
                data[column.key] = [value for value in values if not isinstance(value, Interval)]
                continue
            intervals = [value if isinstance(value, Interval) else None for value in values]
            data[column.key] = [found.value if found else None for found in intervals]
            data[f"{column.key}_low"] = [found.low if found else None for found in intervals]
            data[f"{column.key}_high"] = [found.high if found else None for found in intervals]
        return pl.DataFrame(data).with_columns(**{key: pl.lit(text) for key, text in self.constants.items()})

    def cells(self) -> list[list[tuple[str, str]]]:
        """Return the text of each cell: the value and, for an interval, its range in brackets."""
        return [[_texts(row[column.key], column) for column in self.columns] for row in self.rows]

    def csv(self) -> str:
        """Return the data frame as CSV."""
        return csv_text(self.frame())

    def markdown(self) -> str:
        """Return the table in GitHub's Markdown, ranges in small letters, its caption below."""
        titles = [_markdown(column.title) for column in self.columns]
        rule = ["---" if isinstance(self._sample(column), str) else "---:" for column in self.columns]
        body = [
            [_markdown(value) + (f" <sub>{_markdown(span)}</sub>" if span else "") for value, span in row]
            for row in self.cells()
        ]
        lines = "".join(f"| {' | '.join(line)} |\n" for line in [titles, rule, *body])
        return f"{lines}\n{_markdown(self.title)}\n"

    def latex(self) -> str:
        """Return the table for LaTeX with the package booktabs; its caption is a comment on top."""
        align = "".join("l" if isinstance(self._sample(column), str) else "r" for column in self.columns)
        lines = [" & ".join(_latex(f"{value} {span}".strip()) for value, span in row) + r" \\" for row in self.cells()]
        head = " & ".join(_latex(column.title) for column in self.columns) + r" \\"
        notes = [f"% {_latex(self.title)}", "% needs \\usepackage{booktabs}"]
        parts = [*notes, rf"\begin{{tabular}}{{{align}}}", r"\toprule", head, r"\midrule"]
        return "\n".join([*parts, *lines, r"\bottomrule", r"\end{tabular}", ""])

    def numeric(self) -> list[bool]:
        """Return for each column whether it holds numbers."""
        return [not isinstance(self._sample(column), str) for column in self.columns]

    def _sample(self, column: Column) -> Value:
        """Return the first value that a column holds, text where it holds none."""
        return next((row[column.key] for row in self.rows if row[column.key] is not None), "")


def number_text(value: float, *, digits: int = 3, signed: bool = False) -> str:
    """Return a number with fixed digits; "undefined" where it is NaN.

    Example:
        >>> number_text(0.12345), number_text(0.5, digits=1, signed=True), number_text(float("nan"))
        ('0.123', '+0.5', 'undefined')
    """
    if math.isnan(value):
        return "undefined"
    text = f"{value:{'+' if signed else ''}.{digits}f}"
    return text.lstrip("-") if not signed and float(text) == 0 else text


def interval_text(interval: Interval, *, digits: int = 3, signed: bool = False) -> str:
    """Return a value with its range, e.g. ``"0.812 [0.790, 0.834]"``."""
    return " ".join(_texts(interval, Column("", "", digits, signed)))


def _texts(value: Value, column: Column) -> tuple[str, str]:
    if isinstance(value, Interval):
        if math.isnan(value.low):
            span = f"— (n = {value.count})" if value.count == 1 else "[no interval]"
            return number_text(value.value, digits=column.digits, signed=column.signed), span
        shown, low, high = (
            number_text(part, digits=column.digits, signed=column.signed)
            for part in (value.value, value.low, value.high)
        )
        return shown, f"[{low}, {high}]"
    if isinstance(value, float):
        return number_text(value, digits=column.digits, signed=column.signed), ""
    return "" if value is None else str(value), ""


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(text.split()))


def _markdown(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
