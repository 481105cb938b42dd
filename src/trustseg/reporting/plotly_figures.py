"""Charts as Plotly figures, for the page."""

from collections.abc import Iterable
from html import escape
from typing import Any, Final

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from trustseg.reporting.series import Chart, Line, Panel

__all__ = ["draw_plotly"]

_INK: Final = "#1f2933"
_GRID: Final = "#e6e9ed"
_RULE: Final = "#9aa3ad"
_FONT: Final = {
    "family": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif",
    "size": 13,
    "color": _INK,
}
_PANEL_PX: Final = 300
_SMALL_PANEL_PX: Final = 130
_TITLE_PX: Final = 34
_LEGEND_ROW_PX: Final = 24
_LABEL_PX: Final = 64
_LEGEND_ENTRY_PX: Final = 7.5
_PAGE_PX: Final = 960


def draw_plotly(chart: Chart) -> str:
    """Return a chart as Plotly's JSON, safe inside a script element: no ``<`` in it.

    Text from data is escaped, because Plotly reads a subset of HTML in names and hover texts.
    """
    rows = -(-len(chart.panels) // chart.columns)
    legend = _legend_rows(chart.entries) * _LEGEND_ROW_PX if chart.entries else 0
    panel_px, label_px = (_SMALL_PANEL_PX, _LABEL_PX // 3) if chart.small else (_PANEL_PX, _LABEL_PX)
    inner = panel_px * rows + label_px * (rows - 1)
    if chart.horizontal:
        inner = max(_PANEL_PX, 40 * max(len(panel.y_ticks) for panel in chart.panels))
    figure = make_subplots(
        rows=rows,
        cols=chart.columns,
        subplot_titles=[escape(panel.title) for panel in chart.panels],
        horizontal_spacing=0.03 if chart.horizontal else 0.22 / chart.columns,
        vertical_spacing=(label_px + _TITLE_PX) / inner if rows > 1 else 0.0,
    )
    shown: set[str] = set()
    for place, panel in enumerate(chart.panels):
        at = {"row": place // chart.columns + 1, "col": place % chart.columns + 1}
        for line in panel.lines:
            first = line.entry not in shown and line.entry in chart.entries
            shown.add(line.entry)
            for trace in _traces(line, panel.x_label, horizontal=chart.horizontal, legend=first):
                figure.add_trace(trace, **at)
        _axes(figure, panel, at, labels=not chart.horizontal or at["col"] == 1)
    figure.update_layout(
        template="none",
        height=inner + _TITLE_PX + legend + _LABEL_PX,
        margin={"l": 8 if chart.horizontal else 64, "r": 16, "t": _TITLE_PX + legend, "b": _LABEL_PX},
        font=_FONT,
        legend={"orientation": "h", "x": 0, "xanchor": "left", "y": 1 + _TITLE_PX / inner, "yanchor": "bottom"},
        hoverlabel={"bgcolor": "white", "font": _FONT, "align": "left"},
        hovermode="closest",
        paper_bgcolor="white",
        plot_bgcolor="white",
    )
    figure.update_annotations(font={**_FONT, "size": 14})
    return str(figure.to_json()).replace("<", "\\u003c")


def _traces(line: Line, label: str, *, horizontal: bool, legend: bool) -> list[go.Scatter]:
    """Return the band, if there is one, and the line."""
    look, has_interval = line.look, len(line.low) > 0
    entry: dict[str, Any] = {"legendgroup": escape(line.entry), "name": escape(line.entry)}
    spans = [f" [{low:.3f}, {high:.3f}]" for low, high in zip(line.low, line.high, strict=True)] or [""] * len(line.x)
    notes = [f"<br>{escape(text)}" for text in line.texts] or [""] * len(line.x)
    texts = [f"{span}{note}" for span, note in zip(spans, notes, strict=True)]
    value = "%{x:.3f}" if horizontal else f"{escape(label)}: %{{x:.4g}}<br>%{{y:.3f}}"
    hover = f"<b>{escape(line.name)}</b><br>{value}{'%{text}' if any(texts) else ''}<extra></extra>"
    bars: dict[str, Any] = {"text": texts} if any(texts) else {}
    if horizontal and has_interval:
        plus = [high - x for high, x in zip(line.high, line.x, strict=True)]
        minus = [x - low for low, x in zip(line.low, line.x, strict=True)]
        bars["error_x"] = {"array": plus, "arrayminus": minus, "thickness": 2.5, "width": 0, "color": look.colour}
    cloud = line.mode == "markers" and not horizontal and len(line.x) > 1
    size = 6 if cloud else 11 if horizontal and not line.label else 9 if line.mode == "markers" else 7
    scatter = go.Scatter(
        x=_short(line.x),
        y=_short(line.y),
        mode=line.mode,
        line={"color": look.colour, "dash": look.dash, "width": 2.2},
        marker={"color": look.colour, "symbol": look.symbol, "size": size, "opacity": 0.65 if cloud else 1},
        showlegend=legend,
        cliponaxis=False,
        hovertemplate=hover,
        **bars,
        **entry,
    )
    return [_band(line, entry), scatter] if has_interval and not horizontal else [scatter]


def _band(line: Line, entry: dict[str, Any]) -> go.Scatter:
    red, green, blue = (int(line.look.colour[place : place + 2], 16) for place in (1, 3, 5))
    return go.Scatter(
        x=_short([*line.x, *reversed(line.x)]),
        y=_short([*line.low, *reversed(line.high)]),
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},0.09)",
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
        **entry,
    )


def _short(values: Iterable[float]) -> list[float]:
    """Return values with the four digits that a figure can show."""
    return [float(f"{value:.4g}") for value in values]


def _axes(figure: go.Figure, panel: Panel, at: dict[str, int], *, labels: bool) -> None:
    common = {"showline": True, "linecolor": _RULE, "gridcolor": _GRID, "zeroline": False, "ticks": "outside"}
    common |= {"tickcolor": _RULE, "automargin": True, "title_standoff": 10, "title_font_size": 13}
    figure.update_xaxes(title_text=escape(panel.x_label), range=panel.x_range, **common, **at)
    ticks: dict[str, Any] = {}
    if panel.y_ticks:
        texts = [escape(text) for text in panel.y_ticks.values()]
        ticks = {"tickmode": "array", "tickvals": list(panel.y_ticks), "ticktext": texts, "showticklabels": labels}
    figure.update_yaxes(title_text=escape(panel.y_label), range=panel.y_range, **ticks, **common, **at)
    if panel.diagonal:
        values = [float(value) for line in panel.lines for value in (*line.x, *line.y)]
        low, high = panel.x_range or (min(values), max(values))
        rule = {"color": _RULE, "width": 1, "dash": "dot"}
        figure.add_shape(type="line", x0=low, y0=low, x1=high, y1=high, line=rule, layer="below", **at)
    if panel.zero:
        figure.add_vline(x=0, line={"color": _RULE, "width": 1.5}, layer="below", **at)


def _legend_rows(names: list[str]) -> int:
    widest = max((len(name) for name in names), default=0) * _LEGEND_ENTRY_PX + 50
    return -(-len(names) // max(1, int(_PAGE_PX / widest)))
