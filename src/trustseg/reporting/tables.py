"""A table of names and intervals, and its four spellings: data frame, CSV, LaTeX, Markdown."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import polars as pl

from trustseg.records import is_metric_column
from trustseg.reporting.labels import describe_metric, metric_of, template_texts
from trustseg.statistics import Interval
from trustseg.tables import csv_text

__all__ = ["Column", "Row", "Table", "Value", "interval_text", "make_table", "number_text"]

Value = str | int | float | Interval | None
Row = Mapping[str, Value]

_GROUPS: Final = ("condition", "eps", "measure", "score", "population", "attribute", "group", "shift")

_BEST: Final[Mapping[str, Callable[[Iterable[float]], float]]] = {
    "higher": max,
    "lower": min,
    "zero": partial(min, key=abs),
}
_LATEX: Final = str.maketrans(
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "—": "---"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "↓": r"$\downarrow$", "↑": r"$\uparrow$"}
    | {letter: f"\\{letter}" for letter in "&%$#_{}"}
)


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its key in files, its title on pages, its digits, whether numbers show a sign, which are better.

    A column that is named after a metric, also as ``robust_METRIC``, takes what is better from its entry.
    """

    key: str
    title: str
    digits: int = 3
    signed: bool = False
    direction: str = ""  # what is better where no metric says so, as in ``MetricFacts``

    @property
    def metric(self) -> str:
        """The key without the attack it speaks of."""
        return re.sub("^(robust|worst)_", "", self.key)

    @property
    def better(self) -> str:
        """What is better, as in ``MetricFacts``; empty where nothing is."""
        found = metric_of(self.metric)
        return self.direction or (found[1].facts.better if found else "")

    @property
    def heading(self) -> str:
        """The title with a mark where lower is better."""
        return f"{self.title} ↓" if self.better == "lower" else self.title


@dataclass(frozen=True, slots=True)
class Table:
    """A table that can be shown on a page and written to files.

    Attributes:
        key: file name without suffix, ``[a-z0-9_]``.
        title: caption in words.
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
        return [[_cell_texts(row.get(column.key), column) for column in self.columns] for row in self.rows]

    def csv(self) -> str:
        """Return the data frame as CSV."""
        return csv_text(self.frame())

    def markdown(self) -> str:
        """Return the table in GitHub's Markdown, ranges in small letters, its caption below."""
        titles = [_markdown(column.heading) for column in self.columns]
        rule = ["---:" if numeric else "---" for numeric in self.numeric()]
        body = [
            [_markdown(value) + (f" <sub>{_markdown(span)}</sub>" if span else "") for value, span in row]
            for row in self.cells()
        ]
        lines = "".join(f"| {' | '.join(line)} |\n" for line in [titles, rule, *body])
        return f"{lines}\n{_markdown(self.title)}\n"

    def latex(self, baselines: Sequence[str] = ()) -> str:
        """Return the table for LaTeX with the package booktabs; its caption is a comment on top.

        Intervals are small, names that repeat are left out, and of the rows under one condition the best is bold. A
        line below says so and names the baselines.
        """
        align = "".join("r" if numeric else "l" for numeric in self.numeric())
        head = " & ".join(_latex(column.heading) for column in self.columns)
        body, best = [], self._best()
        for number, row in enumerate(self.cells()):
            shown = []
            for place, (value, span) in enumerate(row):
                text = rf"\textbf{{{_latex(value)}}}" if (number, place) in best else _latex(value)
                shown.append(rf"{text} {{\scriptsize {_latex(span)}}}" if span else text)
            if number and row[0] == self.cells()[number - 1][0] and len(row) > 1:
                shown[0] = ""
            body.append(" & ".join(shown) + r" \\")
        top = [f"% {_latex(self.title)}", r"% needs \usepackage{booktabs}", r"{\small\setlength{\tabcolsep}{4pt}%"]
        lines = [rf"\begin{{tabular}}{{{align}}}", r"\toprule", rf"{head} \\", r"\midrule", *body]
        note = ["Bold: best value."] if best else []
        named = [name for name in baselines if any(name in row.values() for row in self.rows)]
        note += [f"Baseline{'s' if named[1:] else ''}: {_latex('; '.join(named))}."] if named else []
        below = [rf"\par\footnotesize {' '.join(note)}"] if note else []
        return "\n".join([*top, *lines, r"\bottomrule", r"\end{tabular}", *below, "}", ""])

    def _best(self) -> set[tuple[int, int]]:
        """Return the row and column of the best value of each column, among the rows that share their other texts."""
        best: set[tuple[int, int]] = set()
        groups: dict[tuple[Value, ...], list[int]] = {}
        for number, row in enumerate(self.rows):
            groups.setdefault(tuple(row.get(key) for key in _GROUPS), []).append(number)
        for place, column in enumerate(self.columns):
            for group in groups.values() if column.better else ():
                values = {number: self.rows[number].get(column.key) for number in group}
                known = {n: v.value for n, v in values.items() if isinstance(v, Interval) and not math.isnan(v.value)}
                if len(known) > 1:
                    top = round(_BEST[column.better](known.values()), column.digits)
                    best |= {(n, place) for n, value in known.items() if round(value, column.digits) == top}
        return best

    def numeric(self) -> list[bool]:
        """Return for each column whether it holds numbers, by its first value; an empty one does not."""
        samples = (
            next((row[column.key] for row in self.rows if row.get(column.key) is not None), "")
            for column in self.columns
        )
        return [not isinstance(sample, str) for sample in samples]


def make_table(key: str, rows: Sequence[Row], titles: Mapping[str, str] | None = None, **words: object) -> Table:
    """Return a table whose columns are the keys of its rows; ``trust`` is left out where no model was checked.

    Caption and headings stand in ``tables.yaml`` under the key; ``titles`` are headings that are not known beforehand,
    and the words fill in the braces of both. A column that is named after a metric, and has no heading, has its label.
    """
    texts: dict[str, Any] = {**template_texts("tables")["*"], **template_texts("tables")[key], **(titles or {})}
    keys = dict.fromkeys(name for row in rows for name in row)
    if all(row.get("trust") is None for row in rows):
        keys.pop("trust", None)
    columns = []
    for name in keys:
        column = Column(name, "")
        default = name.replace("_", " ").capitalize()
        if metric_of(column.metric) or is_metric_column(name):
            default = texts.get(name.removesuffix(column.metric) + "metric", "{label}")
        text = texts.get(name, default)
        options: dict[str, Any] = {"title": text} if isinstance(text, str) else {"title": default, **text}
        title = options["title"].format(label=describe_metric(column.metric), **words)
        columns.append(
            Column(name, title, options.get("digits", 3), options.get("signed", False), options.get("better", ""))
        )
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
    return " ".join(_cell_texts(interval, Column("", "", digits, signed)))


def _cell_texts(value: Value, column: Column) -> tuple[str, str]:
    if isinstance(value, Interval):
        shown, low, high = (
            number_text(part, digits=column.digits, signed=column.signed)
            for part in (value.value, value.low, value.high)
        )
        if math.isnan(value.low):
            single = value.count == 1 and not math.isnan(value.value)
            return shown, f"— (n = {value.count})" if single else "[no interval]"
        return shown, f"[{low}, {high}]"
    if isinstance(value, float):
        return number_text(value, digits=column.digits, signed=column.signed), ""
    return "" if value is None else str(value), ""


def _latex(text: str) -> str:
    return " ".join(text.split()).translate(_LATEX)


def _markdown(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
