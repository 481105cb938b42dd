"""Charts as Plotly figures, one for each panel, so that a page can put them side by side or below each other."""

import json
import textwrap
from collections.abc import Iterable
from html import escape
from typing import Any, Final

import plotly.graph_objects as go

from trustseg.reporting.series import GRID, RULE, Chart, Line, Panel

__all__ = ["draw_plotly"]

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


def draw_plotly(chart: Chart) -> str:
    """Return the panels of a chart as a JSON list of Plotly's figures, safe inside a script element: no ``<`` in it.

    Text from data is escaped, because Plotly reads a subset of HTML in names and hover texts.
    """
    panels = [json.loads(str(_figure(chart, panel).to_json())) for panel in chart.panels]
    return json.dumps(panels, separators=(",", ":")).replace("<", "\\u003c")


def _figure(chart: Chart, panel: Panel) -> go.Figure:
    figure = go.Figure()
    for line in panel.lines:
        for trace in _traces(line, panel.x_label, horizontal=chart.horizontal):
            figure.add_trace(trace)
    _axes(figure, panel)
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
    """Return the band, if there is one, and the line."""
    look, has_interval = line.look, len(line.low) > 0
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
        name=escape(line.entry),
        line={"color": look.colour, "dash": look.dash, "width": 2.2},
        marker={"color": look.colour, "symbol": look.symbol, "size": size, "opacity": 0.65 if cloud else 1},
        cliponaxis=False,
        hovertemplate=hover,
        **bars,
    )
    return [_band(line), scatter] if has_interval and not horizontal else [scatter]


def _band(line: Line) -> go.Scatter:
    red, green, blue = (int(line.look.colour[place : place + 2], 16) for place in (1, 3, 5))
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


def _axes(figure: go.Figure, panel: Panel) -> None:
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
