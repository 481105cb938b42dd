"""Charts drawn twice from the same data: by Plotly for a page, a figure for each panel, and by Matplotlib for print.

Plotly's panels can stand side by side or below each other. Matplotlib's global state (pyplot) is not used.
"""

import io
import json
import textwrap
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from trustseg.files import replacing
from trustseg.reporting.series import DASHES, GRID, RULE, SYMBOLS, Chart, Line, Panel
from trustseg.tables import write_csv

__all__ = ["draw_plotly", "save_figure", "write_figure"]

_INK: Final = "#1f2933"
_FONT: Final = {
    "family": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif",
    "size": 13,
    "color": _INK,
}
_PANEL_PX: Final = 290
_SMALL_PANEL_PX: Final = 130
_ROW_PX: Final = 40
_TITLE_PX: Final = 34
_AXIS_PX: Final = 52
_TICK_LETTERS: Final = 22  # of a line of a row's name, which leaves room for the row on a telephone
_SETTINGS: Final[Any] = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.edgecolor": "#6b7680",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # TrueType, which journals ask for
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
}
_DPI: Final = 300  # what journals ask for


def draw_plotly(chart: Chart) -> str:
    """Return the panels of a chart as a JSON list of Plotly's figures, safe inside a script element: no ``<`` in it.

    Text from data is escaped, because Plotly reads a subset of HTML in names and hover texts.
    """
    panels = [json.loads(str(_plotly(chart, panel).to_json())) for panel in chart.panels]
    return json.dumps(panels, separators=(",", ":")).replace("<", "\\u003c")


def _plotly(chart: Chart, panel: Panel) -> go.Figure:
    figure = go.Figure()
    for line in panel.lines:
        for trace in _traces(line, panel.x_label, horizontal=chart.horizontal):
            figure.add_trace(trace)
    _plotly_axes(figure, panel)
    inner = _SMALL_PANEL_PX if chart.small else max(_PANEL_PX, _ROW_PX * len(panel.y_ticks))
    bottom = _AXIS_PX if panel.x_label else _AXIS_PX // 2
    figure.update_layout(
        template="none",
        title={"text": escape(panel.title), "font_size": 14, "x": 0.5, "y": 1, "yanchor": "top", "pad": {"t": 8}},
        height=inner + _TITLE_PX + bottom,
        margin={"l": 8, "r": 12, "t": _TITLE_PX, "b": bottom},
        font=_FONT,
        showlegend=False,
        hoverlabel={"bgcolor": "white", "font": _FONT, "align": "left"},
        hovermode="closest",
        paper_bgcolor="white",
        plot_bgcolor="white",
    )
    return figure


def _traces(line: Line, label: str, *, horizontal: bool) -> list[go.Scatter]:
    style, has_interval = line.style, len(line.low) > 0
    spans = [f" [{low:.3f}, {high:.3f}]" for low, high in zip(line.low, line.high, strict=True)] or [""] * len(line.x)
    notes = [f"<br>{escape(text)}" for text in line.texts] or [""] * len(line.x)
    texts = [f"{span}{note}" for span, note in zip(spans, notes, strict=True)]
    value = "%{x:.3f}" if horizontal else f"{escape(label)}: %{{x:.4g}}<br>%{{y:.3f}}"
    hover = f"<b>{escape(line.name)}</b><br>{value}{'%{text}' if any(texts) else ''}<extra></extra>"
    bars: dict[str, Any] = {"text": texts} if any(texts) else {}
    if horizontal and has_interval:
        plus = [high - x for high, x in zip(line.high, line.x, strict=True)]
        minus = [x - low for low, x in zip(line.low, line.x, strict=True)]
        bars["error_x"] = {"array": plus, "arrayminus": minus, "thickness": 2.5, "width": 0, "color": style.colour}
    cloud = line.mode == "markers" and not horizontal and len(line.x) > 1
    size = 6 if cloud else 11 if horizontal and not line.label else 9 if line.mode == "markers" else 7
    scatter = go.Scatter(
        x=_short(line.x),
        y=_short(line.y),
        mode=line.mode,
        name=escape(line.entry),
        line={"color": style.colour, "dash": style.dash, "width": 2.2},
        marker={"color": style.colour, "symbol": style.symbol, "size": size, "opacity": 0.65 if cloud else 1},
        cliponaxis=False,
        hovertemplate=hover,
        **bars,
    )
    return [_band(line), scatter] if has_interval and not horizontal else [scatter]


def _band(line: Line) -> go.Scatter:
    red, green, blue = (int(line.style.colour[place : place + 2], 16) for place in (1, 3, 5))
    return go.Scatter(
        x=_short([*line.x, *reversed(line.x)]),
        y=_short([*line.low, *reversed(line.high)]),
        name=escape(line.entry),
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},0.12)",
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
    )


def _short(values: Iterable[float]) -> list[float]:
    """Return values with the four digits that a figure can show."""
    return [float(f"{value:.4g}") for value in values]


def _plotly_axes(figure: go.Figure, panel: Panel) -> None:
    common = {"showline": True, "linecolor": RULE, "gridcolor": GRID, "zeroline": False, "ticks": "outside"}
    common |= {"tickcolor": RULE, "automargin": True, "title_standoff": 8, "title_font_size": 13}
    figure.update_xaxes(title_text=escape(panel.x_label), range=panel.x_range, **common)
    ticks: dict[str, Any] = {}
    if panel.y_ticks:
        texts = ["<br>".join(map(escape, textwrap.wrap(text, _TICK_LETTERS))) for text in panel.y_ticks.values()]
        ticks = {"tickmode": "array", "tickvals": list(panel.y_ticks), "ticktext": texts}
    figure.update_yaxes(title_text=escape(panel.y_label), range=panel.y_range, **ticks, **common)
    if panel.diagonal:
        values = [float(value) for line in panel.lines for value in (*line.x, *line.y)]
        low, high = panel.x_range or (min(values), max(values))
        rule = {"color": RULE, "width": 1, "dash": "dot"}
        figure.add_shape(type="line", x0=low, y0=low, x1=high, y1=high, line=rule, layer="below")
    if panel.zero:
        figure.add_vline(x=0, line={"color": RULE, "width": 1.5}, layer="below")


def write_figure(chart: Chart, folder: Path) -> bytes:
    """Write a chart as PDF and PNG and its points as CSV, named after its key, and return the PNG, for a page."""
    write_csv(chart.frame(), folder / f"{chart.key}.csv")
    with mpl.rc_context(_SETTINGS):
        figure = _draw(chart)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # the layout is found; each file would look for it again
        return save_figure(figure, folder / chart.key)


def save_figure(figure: Figure, path: Path) -> bytes:
    """Write a figure as PDF and, in the resolution that journals ask for, as PNG, and return the PNG."""
    # Figure.savefig would draw everything once more before each file, in order to measure it.
    with replacing(path.with_name(f"{path.name}.pdf")) as temporary:
        FigureCanvasPdf(figure).print_pdf(temporary, metadata={"CreationDate": None})  # type: ignore[no-untyped-call]  # matplotlib's
    figure.dpi = _DPI
    picture = io.BytesIO()
    FigureCanvasAgg(figure).print_png(picture)  # type: ignore[no-untyped-call]  # matplotlib's
    with replacing(path.with_name(f"{path.name}.png")) as temporary:
        temporary.write_bytes(picture.getvalue())
    return picture.getvalue()


def _draw(chart: Chart) -> Figure:
    columns = max(1, min(chart.columns, len(chart.panels)))
    rows = -(-len(chart.panels) // columns)
    height = (1.5 if chart.small else 2.9) * rows
    if chart.horizontal:
        height = max(2.6, 0.42 * max(len(panel.y_ticks) for panel in chart.panels) + 0.9)
    names = chart.legend
    longest = max(map(len, names), default=0)
    abreast = 1 if columns == 1 else 3 if longest < 30 else 2
    width = max(3.6 * columns if columns < 3 else 9.6, 0.08 * longest * abreast)
    size = width, height + 0.3 + 0.2 * -(-len(names) // abreast)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    shared = chart.horizontal or chart.small
    axes = figure.subplots(rows, columns, squeeze=False, sharex=chart.small, sharey=shared).ravel()
    handles: dict[str, Line2D] = {}
    for axis, panel in zip(axes, chart.panels, strict=False):
        for line in panel.lines:
            drawn = _draw_line(axis, line, horizontal=chart.horizontal)
            if line.entry in names:
                handles.setdefault(line.entry, drawn)
        _draw_axes(axis, panel)
    for axis in axes[len(chart.panels) :]:
        axis.set_axis_off()
    if handles:
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=abreast)
    return figure


def _draw_line(axis: Axes, line: Line, *, horizontal: bool) -> Line2D:
    colour, marker = line.style.colour, SYMBOLS[line.style.symbol][0]
    if horizontal:
        if len(line.low):
            axis.hlines(line.y, line.low, line.high, color=colour, linewidth=2)
        return axis.plot(line.x, line.y, marker, color=colour, markersize=6)[0]
    if len(line.low):
        axis.fill_between(line.x, line.low, line.high, color=colour, alpha=0.09, linewidth=0)
    if line.mode == "markers" and len(line.x) > 1:
        return axis.plot(line.x, line.y, marker, color=colour, markersize=3, alpha=0.65, markeredgewidth=0)[0]
    style, shown = DASHES[line.style.dash][0], marker if "markers" in line.mode else ""
    size = 4 if len(line.x) > 1 else 7
    return axis.plot(line.x, line.y, linestyle=style, marker=shown, color=colour, markersize=size, linewidth=1.6)[0]


def _draw_axes(axis: Axes, panel: Panel) -> None:
    axis.set_title(panel.title)
    axis.set_xlabel(panel.x_label)
    axis.set_ylabel(panel.y_label)
    if panel.x_range and panel.x_range[0] < panel.x_range[1]:
        axis.set_xlim(*panel.x_range)
    if panel.y_range and panel.y_range[0] < panel.y_range[1]:
        axis.set_ylim(*panel.y_range)
    if panel.y_ticks:
        axis.set_yticks(list(panel.y_ticks), list(panel.y_ticks.values()))
    if panel.diagonal:
        axis.axline((0, 0), slope=1, color=RULE, linewidth=1, linestyle=":", zorder=0)
    if panel.zero:
        axis.locator_params(axis="x", nbins=5)
        axis.axvline(0, color=RULE, linewidth=1.2, zorder=0)
