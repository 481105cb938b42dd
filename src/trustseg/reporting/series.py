"""What each figure shows, as plain numbers: series, bands, axes and looks; ``drawing`` draws them in two ways."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import polars as pl

from trustseg.reporting.labels import parts_of, template_texts
from trustseg.reporting.results import Results
from trustseg.statistics import Interval

__all__ = [
    "DASHES",
    "GRID",
    "RULE",
    "SYMBOLS",
    "Chart",
    "Line",
    "Panel",
    "Style",
    "chart",
    "curve",
    "drop_part",
    "styles",
]

# Okabe & Ito's colour-blind-safe palette after a grey; a selection keeps its colour in every figure.
_COLOURS: Final = (
    *("#5b6470", "#E69F00", "#0072B2", "#CC79A7", "#009E73"),
    *("#D55E00", "#56B4E9", "#B8A000", "#7A4FA3", "#000000"),
)
_SHADES: Final = (0.0, 0.45, -0.45, 0.7, -0.7)  # of variants that differ in neither selection nor head
# The names of dashes and symbols in Plotly -> those in Matplotlib, and how the legend of a page draws them.
DASHES: Final[Mapping[str, tuple[Any, str]]] = {
    "solid": ("-", "none"),
    "dash": ("--", "6 4"),
    "dot": (":", "2 3"),
    "dashdot": ("-.", "6 3 2 3"),
    "longdash": ((0, (8, 3)), "9 4"),
}
SYMBOLS: Final[Mapping[str, tuple[str, str]]] = {
    "circle": ("o", "●"),
    "square": ("s", "■"),
    "diamond": ("D", "◆"),
    "triangle-up": ("^", "▲"),
    "cross": ("X", "✚"),
}
GRID: Final = "#e6e9ed"
RULE: Final = "#9aa3ad"  # lines that mark a value
_MOST_BANDS: Final = 3  # in a panel; the colours of more mix


@dataclass(frozen=True, slots=True)
class Style:
    """How a variant is drawn, in Plotly's words: colour by selection, dash by head, shade and symbol among equals."""

    colour: str
    dash: str
    symbol: str


_PALE: Final = Style("#d3d9df", "solid", "circle")


@dataclass(frozen=True, slots=True)
class Line:
    """One series: values ``y`` at positions ``x`` with the ends of their intervals, if any.

    Attributes:
        mode: "lines", "lines+markers" or "markers".
        texts: words for each point shown on hover, or none.
        label: name in the legend where it is not ``name``; lines of one label share an entry.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    style: Style
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    mode: str = "lines"
    texts: Sequence[str] = ()
    label: str = ""

    @property
    def entry(self) -> str:
        """The name in the legend."""
        return self.label or self.name

    def transposed(self) -> "Line":
        """Return the line with its values, and their intervals, along x."""
        return replace(self, x=self.y, y=self.x)


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes; limits are None to fit, ``y_ticks`` none for the usual ones.

    Attributes:
        diagonal: draw y = x as a thin grey line.
        zero: draw x = 0 as a thin grey line.
        y_ticks: position -> label.
    """

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    diagonal: bool = False
    zero: bool = False
    y_ticks: Mapping[float, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure: panels in a grid, row by row, with a paragraph that says how to read it.

    Attributes:
        key: file name without suffix, ``[a-z0-9_]``.
        horizontal: intervals run along x (a forest plot); lines with a label get a legend.
        small: many small panels.
    """

    key: str
    title: str
    reading: str
    panels: tuple[Panel, ...]
    columns: int = 2
    horizontal: bool = False
    small: bool = False

    @property
    def legend(self) -> dict[str, Style]:
        """The names in the legend, each with its look; a forest plot whose rows say what they are has none."""
        lines = [line for panel in self.panels for line in panel.lines if line.label or not self.horizontal]
        found: dict[str, Style] = {}
        for line in lines:
            found.setdefault(line.entry, line.style)
        return found

    def frame(self) -> pl.DataFrame:
        """Return every point of every series: ``panel, series, x, y, low, high`` in six digits; null: no interval."""
        rows = [
            (panel.title, line.name, float(x), float(y), *map(float, ends))
            for panel in self.panels
            for line in panel.lines
            if line.style is not _PALE  # repeated from another panel
            for x, y, *ends in zip(line.x, line.y, *((line.low, line.high) if len(line.low) else ()), strict=True)
        ]
        numeric = ("x", "y", "low", "high")
        kinds = {"panel": pl.String, "series": pl.String} | dict.fromkeys(numeric, pl.Float64)
        padded = [(*row, None, None)[:6] for row in rows]
        return pl.DataFrame(padded, schema=kinds, orient="row").with_columns(pl.col(numeric).round_sig_figs(6))


def chart(
    key: str,
    panels: Iterable[Panel],
    columns: int = 2,
    *,
    horizontal: bool = False,
    small: bool = False,
    **words: object,
) -> Chart:
    """Return a figure with the title and the reading of its key in ``figures.yaml``, which the words fill in.

    A panel with more bands than can be told apart becomes small multiples: one for each band, the other lines in grey.
    """
    text = template_texts("figures")[key]
    title, reading = (" ".join(text[part].split()).format(**words) for part in ("title", "reading"))
    drawn = tuple(each for panel in panels for each in ([panel] if horizontal else _multiples(panel)))
    return Chart(key, title, reading, drawn, columns, horizontal, small)


def _multiples(panel: Panel) -> list[Panel]:
    banded = [line for line in panel.lines if len(line.low) > 1]
    if len(banded) <= _MOST_BANDS:
        return [panel]
    found = []
    for shown in banded:
        pale = [replace(line, low=(), high=(), style=_PALE, label="the others") for line in banded if line is not shown]
        lines = [line for line in panel.lines if line is shown or line not in banded]
        title = f"{panel.title}: {shown.entry}" if panel.title else shown.entry
        found.append(replace(panel, title=title, lines=(*pale, *lines)))
    return found


def curve(
    name: str,
    x: Sequence[float],
    intervals: Sequence[Interval],
    style: Style,
    *,
    mode: str = "lines+markers",
    texts: Sequence[str] = (),
    label: str = "",
) -> Line:
    """Return the line through some intervals."""
    y, low, high = ([getattr(interval, end) for interval in intervals] for end in ("value", "low", "high"))
    return Line(name, x, y, style, low, high, mode, texts, label)


def styles(results: Results) -> dict[str, Style]:
    """Return how each variant is drawn in every figure."""
    from trustseg.selection import SELECTIONS  # loads torch

    first = {variant: results.cells_of(variant)[0] for variant in results.variants}
    colours = _assign(["none", *SELECTIONS, *(cell.selection for cell in first.values())], _COLOURS)
    dashes = _assign(["beta", "bernoulli", *results.heads], [*DASHES])
    symbols = list(SYMBOLS)
    found: dict[str, Style] = {}
    for variant, cell in first.items():
        kind = cell.selection, cell.head
        equals = [(other.selection, other.head) for other in list(first.values())[: len(found)]].count(kind)
        colour = _shade(colours[cell.selection], _SHADES[equals % len(_SHADES)])
        found[variant] = Style(colour, dashes[cell.head], symbols[equals % len(symbols)])
    return found


def _shade(colour: str, share: float) -> str:
    """Return a colour mixed with white, or with black where the share is negative.

    Example:
        >>> _shade("#204060", 0.5), _shade("#204060", -0.5)
        ('#8f9faf', '#102030')
    """
    end = 255 if share > 0 else 0
    parts = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return "#" + "".join(f"{int(part + abs(share) * (end - part)):02x}" for part in parts)


def drop_part(variant: str, said: str) -> str:
    """Return the name of a variant without what a panel or an axis says already: a part, or the value of a setting.

    Example:
        >>> drop_part("evidential, random, fraction=0.25", "fraction"), drop_part("evidential", "evidential")
        ('evidential, random', 'evidential')
    """
    parts = parts_of(variant)
    return ", ".join(part for part in parts if part != said and not part.startswith(f"{said}=")) or variant


def _assign(names: Iterable[str], values: Sequence[str]) -> dict[str, str]:
    return {name: values[place % len(values)] for place, name in enumerate(dict.fromkeys(names))}
