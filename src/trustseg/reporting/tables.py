"""A table of names and intervals, and its four spellings: data frame, CSV, LaTeX, Markdown."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import polars as pl

from trustseg.reporting.texts import texts_of
from trustseg.statistics import Interval
from trustseg.tables import csv_text

__all__ = ["Column", "Row", "Table", "Value", "interval_text", "make_table", "number_text"]

Value = str | int | float | Interval | None
Row = Mapping[str, Value]

_LATEX: Final = str.maketrans(
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "—": "---"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "↓": r"$\downarrow$", "↑": r"$\uparrow$"}
    | {letter: f"\\{letter}" for letter in "&%$#_{}"}
)


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
        rows: one mapping from column key to value per row; a key may be missing where there is nothing to say.
        constants: what is the same for all rows: columns of the data frame that are not shown.
    """

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    constants: Mapping[str, str] = field(default_factory=dict)

    def only(self, keys: Iterable[str], *, title: str) -> "Table":
        """Return the table with some of its columns, in their order, under another title."""
        return replace(self, title=title, columns=tuple(column for column in self.columns if column.key in set(keys)))

    def frame(self) -> pl.DataFrame:
        """Return one column per key, then the constants; an interval fills ``key``, ``key_low`` and ``key_high``."""
        data: dict[str, list[str | int | float | None]] = {}
        for column in self.columns:
            values = [row.get(column.key) for row in self.rows]
            if not any(isinstance(value, Interval) for value in values):
                data[column.key] = [value for value in values if not isinstance(value, Interval)]
                continue
            for end, attribute in (("", "value"), ("_low", "low"), ("_high", "high")):
                ends = [getattr(value, attribute) if isinstance(value, Interval) else None for value in values]
                data[column.key + end] = ends
        return pl.DataFrame(data).with_columns(**{key: pl.lit(text) for key, text in self.constants.items()})

    def cells(self) -> list[list[tuple[str, str]]]:
        """Return the text of each cell: the value and, for an interval, its range in brackets."""
        return [[_texts(row.get(column.key), column) for column in self.columns] for row in self.rows]

    def csv(self) -> str:
        """Return the data frame as CSV."""
        return csv_text(self.frame())

    def markdown(self) -> str:
        """Return the table in GitHub's Markdown, ranges in small letters, its caption below."""
        titles = [_markdown(column.title) for column in self.columns]
        rule = ["---:" if numeric else "---" for numeric in self.numeric()]
        body = [
            [_markdown(value) + (f" <sub>{_markdown(span)}</sub>" if span else "") for value, span in row]
            for row in self.cells()
        ]
        lines = "".join(f"| {' | '.join(line)} |\n" for line in [titles, rule, *body])
        return f"{lines}\n{_markdown(self.title)}\n"

    def latex(self) -> str:
        """Return the table for LaTeX with the package booktabs; its caption is a comment on top."""
        align = "".join("r" if numeric else "l" for numeric in self.numeric())
        lines = [[f"{value} {span}".strip() for value, span in row] for row in self.cells()]
        head, *body = (
            " & ".join(map(_latex, line)) + r" \\" for line in [[column.title for column in self.columns], *lines]
        )
        top = [f"% {_latex(self.title)}", r"% needs \usepackage{booktabs}", rf"\begin{{tabular}}{{{align}}}"]
        return "\n".join([*top, r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}", ""])

    def numeric(self) -> list[bool]:
        """Return for each column whether it holds numbers, by its first value; an empty one does not."""
        samples = (
            next((row[column.key] for row in self.rows if row.get(column.key) is not None), "")
            for column in self.columns
        )
        return [not isinstance(sample, str) for sample in samples]


def make_table(key: str, rows: Sequence[Row], titles: Mapping[str, str] | None = None, **words: object) -> Table:
    """Return a table whose columns are the keys of its rows; ``trust`` is left out where no model was checked.

    Args:
        key: of the table, whose caption and headings stand in ``tables.yaml``.
        rows: the rows.
        titles: headings of columns that are not known beforehand.
        words: what fills in the braces of caption and headings.
    """
    texts: dict[str, Any] = {**texts_of("tables")["*"], **texts_of("tables")[key], **(titles or {})}
    keys = dict.fromkeys(name for row in rows for name in row)
    if all(row.get("trust") is None for row in rows):
        keys.pop("trust", None)
    columns = []
    for name in keys:
        text = texts.get(name, {})
        about: dict[str, Any] = {"title": text} if isinstance(text, str) else text
        title = about.get("title", name.replace("_", " ").capitalize()).format(**words)
        columns.append(Column(name, title, about.get("digits", 3), about.get("signed", False)))
    return Table(key, texts["caption"].format(**words) if rows else "", tuple(columns), tuple(rows))


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
        shown, low, high = (
            number_text(part, digits=column.digits, signed=column.signed)
            for part in (value.value, value.low, value.high)
        )
        if math.isnan(value.low):
            return shown, f"— (n = {value.count})" if value.count == 1 else "[no interval]"
        return shown, f"[{low}, {high}]"
    if isinstance(value, float):
        return number_text(value, digits=column.digits, signed=column.signed), ""
    return "" if value is None else str(value), ""


def _latex(text: str) -> str:
    return " ".join(text.split()).translate(_LATEX)


def _markdown(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
