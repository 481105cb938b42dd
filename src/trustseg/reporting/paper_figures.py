"""Charts as Matplotlib figures, for papers and for pages without scripts; no global state of pyplot is used."""

import io
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from trustseg.files import replacing
from trustseg.reporting.series import DASHES, GRID, RULE, SYMBOLS, Chart, Line, Panel
from trustseg.tables import write_csv

__all__ = ["write_figure"]

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


def write_figure(chart: Chart, folder: Path) -> bytes:
    """Write a chart as PDF and PNG and its points as CSV, named after its key, and return the PNG, for a page."""
    write_csv(chart.frame(), folder / f"{chart.key}.csv")
    with mpl.rc_context(_SETTINGS):
        figure = _draw(chart)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # the layout is found; each file would look for it again
        # Figure.savefig would draw everything once more before each file, in order to measure it.
        with replacing(folder / f"{chart.key}.pdf") as temporary:
            FigureCanvasPdf(figure).print_pdf(temporary, metadata={"CreationDate": None})  # type: ignore[no-untyped-call]  # matplotlib's
        figure.dpi = _DPI
        picture = io.BytesIO()
        FigureCanvasAgg(figure).print_png(picture)  # type: ignore[no-untyped-call]  # matplotlib's
    with replacing(folder / f"{chart.key}.png") as temporary:
        temporary.write_bytes(picture.getvalue())
    return picture.getvalue()


def _draw(chart: Chart) -> Figure:
    rows = -(-len(chart.panels) // chart.columns)
    height = (1.5 if chart.small else 2.9) * rows
    if chart.horizontal:
        height = max(2.6, 0.42 * max(len(panel.y_ticks) for panel in chart.panels) + 0.9)
    names = chart.legend
    longest = max(map(len, names), default=0)
    abreast = 1 if chart.columns == 1 else 3 if longest < 30 else 2
    width = max(3.6 * chart.columns if chart.columns < 3 else 9.6, 0.08 * longest * abreast)
    size = width, height + 0.3 + 0.2 * -(-len(names) // abreast)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    shared = chart.horizontal or chart.small
    axes = figure.subplots(rows, chart.columns, squeeze=False, sharex=chart.small, sharey=shared).ravel()
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
    colour, marker = line.look.colour, SYMBOLS[line.look.symbol][0]
    if horizontal:
        if len(line.low):
            axis.hlines(line.y, line.low, line.high, color=colour, linewidth=2)
        return axis.plot(line.x, line.y, marker, color=colour, markersize=6)[0]
    if len(line.low):
        axis.fill_between(line.x, line.low, line.high, color=colour, alpha=0.09, linewidth=0)
    if line.mode == "markers" and len(line.x) > 1:
        return axis.plot(line.x, line.y, marker, color=colour, markersize=3, alpha=0.65, markeredgewidth=0)[0]
    style, shown = DASHES[line.look.dash][0], marker if "markers" in line.mode else ""
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
