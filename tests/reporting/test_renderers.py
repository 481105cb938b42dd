"""Charts on the page: every series, no markup of the data."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from tests.reporting.given import odd_chart

from trustseg.reporting.paper_figures import write_figure
from trustseg.reporting.plotly_figures import draw_plotly
from trustseg.reporting.series import Chart, Line, Look, Panel


def test_plotly_draws_every_series_and_lets_no_markup_through(charts: dict[str, Chart]) -> None:
    for chart in charts.values():
        text = draw_plotly(chart)
        assert "<" not in text
        drawn = [{trace["name"] for trace in figure["data"]} for figure in json.loads(text)]
        assert drawn == [{line.entry for line in panel.lines} for panel in chart.panels]
    traces = [trace for figure in json.loads(draw_plotly(charts["shift"])) for trace in figure["data"]]
    hovers = [hover for trace in traces for hover in trace["text"]]
    assert all(trace["hovertemplate"].startswith(r"<b>") for trace in traces)
    assert any("&lt;img src=x onerror=alert(1)&gt;" in hover for hover in hovers)
    assert not any("<img" in hover for hover in hovers)


@pytest.mark.parametrize("horizontal", [False, True])
def test_odd_series_are_drawn_as_they_are(horizontal: bool) -> None:
    figures = [figure["data"] for figure in json.loads(draw_plotly(odd_chart(horizontal=horizontal)))]
    assert len(figures) == 3
    for drawn in figures:
        traces = [trace for trace in drawn if trace.get("fill") is None]
        assert [trace["name"] for trace in traces] == ["cost in $ and $", "empty", "gap"]
        assert [(trace["x"], trace["y"]) for trace in traces] == [([1], [0.5]), ([], []), ([0, 1], [None, 0.5])]
        assert len(drawn) - len(traces) == (0 if horizontal else 1)  # a band for the interval; bars where it lies down


def test_an_interval_is_drawn_to_its_ends() -> None:
    look = Look("#102030", "dot", "circle")
    line = Line("<i>", [1.0, 2.0], [0.25, 0.5], look, [0.125, 0.25], [0.5, 1.0], texts=["a & b", "c"])
    panel = Panel("", "up to <", "y", (line,))
    band, curve = json.loads(draw_plotly(Chart("k", "t", "r", (panel,), 1)))[0]["data"]
    assert (band["x"], band["y"]) == ([1, 2, 2, 1], [0.125, 0.25, 1.0, 0.5])
    assert band["fillcolor"] == "rgba(16,32,48,0.12)"
    assert curve["text"] == [" [0.125, 0.500]<br>a &amp; b", " [0.250, 1.000]<br>c"]
    assert curve["hovertemplate"].startswith("<b>&lt;i&gt;</b><br>up to &lt;: ")
    lying = Line("n", [0.25, 0.5], [1.0, 2.0], look, [0.125, 0.25], [0.5, 1.0], label="row")
    panel = Panel("", "x", "", (lying,), y_ticks={1.0: "one", 2.0: "two"})
    (bars,) = json.loads(draw_plotly(Chart("k", "t", "r", (panel,), 1, horizontal=True)))[0]["data"]
    assert (bars["error_x"]["array"], bars["error_x"]["arrayminus"]) == ([0.25, 0.5], [0.125, 0.25])
    assert bars["name"] == "row"


def test_axes_have_their_limits_ticks_and_rules() -> None:
    line = Line("n", [0.0, 4.0], [1.0, 3.0], Look("#102030", "solid", "circle"))
    panel = Panel("a < b", "x", "y", (line,), (0, 5), (0, 4), diagonal=True, zero=True, y_ticks={1.0: "one & only"})
    layout = json.loads(draw_plotly(Chart("k", "t", "r", (panel,), 1)))[0]["layout"]
    assert (layout["xaxis"]["range"], layout["yaxis"]["range"]) == ([0, 5], [0, 4])
    assert (layout["yaxis"]["tickvals"], layout["yaxis"]["ticktext"]) == ([1], ["one &amp; only"])
    assert layout["title"]["text"] == "a &lt; b"
    rule, zero = layout["shapes"]
    assert [rule[end] for end in ("x0", "y0", "x1", "y1")] == [0, 0, 5, 5]
    assert (zero["x0"], zero["x1"]) == (0, 0)


def test_matplotlib_writes_pdf_png_and_data(charts: dict[str, Chart], tmp_path: Path) -> None:
    loaded = "matplotlib.pyplot" in sys.modules  # torchmetrics, which other tests import, loads it
    picture = write_figure(charts["robustness_dice"], tmp_path / "figures")
    files = {path.suffix: path for path in (tmp_path / "figures").iterdir()}
    assert set(files) == {".pdf", ".png", ".csv"}
    assert files[".pdf"].read_bytes().startswith(b"%PDF-")
    assert files[".png"].read_bytes() == picture
    assert picture.startswith(b"\x89PNG")
    assert ("matplotlib.pyplot" in sys.modules) == loaded


@pytest.mark.parametrize("horizontal", [False, True])
def test_odd_series_are_written_as_they_are_and_alike(tmp_path: Path, horizontal: bool) -> None:
    chart = odd_chart(horizontal=horizontal)
    picture, again = (write_figure(chart, tmp_path / name) for name in ("one", "two"))
    found = pl.read_csv(tmp_path / "one" / "odd.csv")
    assert found["series"].to_list() == ["cost in $ and $", "gap", "gap"] * 3
    assert found["x"].to_list() == [1, 0, 1] * 3
    assert found["low"].to_list() == [0.5, None, None] * 3
    assert Image.open(io.BytesIO(picture)).size[0] > 700
    assert picture == again
    assert (tmp_path / "one" / "odd.pdf").read_bytes() == (tmp_path / "two" / "odd.pdf").read_bytes()


def coloured(picture: bytes, colour: tuple[int, int, int]) -> int:
    """Return the number of pixels of about this colour."""
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)
    return int((np.abs(pixels - colour).max(axis=-1) < 40).sum())


def test_a_line_has_its_colour_and_stays_within_the_limits(tmp_path: Path) -> None:
    line = Line("n", [0.0, 1.0], [0.25, 0.75], Look("#ff0000", "solid", "circle"))
    seen, cut = (
        write_figure(Chart(f"n{k}", "t", "r", (Panel("", "x", "y", (line,), y_range=limits),), 1), tmp_path)
        for k, limits in enumerate(((0.0, 1.0), (2.0, 3.0)))
    )
    assert coloured(seen, (255, 0, 0)) > coloured(cut, (255, 0, 0)) > 0  # the legend is left
    assert coloured(seen, (0, 0, 255)) == 0
