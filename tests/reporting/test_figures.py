"""The figures: numbers that equal the tables, looks and legends, every series drawn and no markup of the data."""

import io
import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from tests.reporting.given import CLEAN, EVIDENTIAL, odd_chart

from trustseg.metrics import risk_coverage_curve as curve_of_tensors
from trustseg.reporting import series
from trustseg.reporting.charts import mean_risk_coverage, mean_sparsification, uncertainty_change_chart
from trustseg.reporting.drawing import draw_plotly, write_figure
from trustseg.reporting.image_rankings import ImageScores
from trustseg.reporting.labels import template_texts
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.series import Chart, Line, Panel, Style, styles


def test_robustness_curves_equal_the_evidence(data: ReportData, charts: dict[str, Chart]) -> None:
    titles = [panel.title for panel in charts["robustness_dice"].panels]
    assert titles == ["FGSM, classical", "FGSM, evidential", "PGD, classical", "PGD, evidential"]
    panel = charts["robustness_dice"].panels[3]
    entries = ["no adversarial training", "random selection", "uncertain selection"]
    assert [line.entry for line in panel.lines] == entries
    assert {line.style.dash for line in panel.lines} == {"solid"}
    line = next(line for line in panel.lines if line.name == EVIDENTIAL)
    assert list(line.x) == pytest.approx([0, 1, 2, 4, 8], abs=1e-3)
    interval = data.score(EVIDENTIAL, ("pgd", data.eps), "dice")
    assert (line.y[3], line.low[3], line.high[3]) == (interval.value, interval.low, interval.high)


def test_epochs_are_counted_from_1(charts: dict[str, Chart]) -> None:
    assert {min(line.x) for panel in charts["training"].panels for line in panel.lines} == {1}


def test_images_are_numbered_where_they_are_not_to_be_named(data: ReportData, charts: dict[str, Chart]) -> None:
    names = set(data.results.records["image"])
    for chart, named in ((charts["uncertainty_change"], True), (uncertainty_change_chart(data, names=False), False)):
        texts = {text for panel in chart.panels for line in panel.lines for text in line.texts}
        assert texts
        assert (texts <= names) == named
        assert texts.isdisjoint(names) != named


def test_area_of_the_gap_is_ause(data: ReportData, charts: dict[str, Chart]) -> None:
    """The defining identity of AUSE, through two independent ways from the histograms to the page."""
    gap = next(panel for panel in charts["sparsification"].panels if panel.title == "clean: gap to the oracle")
    for line in gap.lines:
        variant = line.name.split(" (")[0]
        area = np.trapezoid(line.y, line.x)
        assert area == pytest.approx(data.score(variant, CLEAN, "ause").value, abs=0.01)


def test_the_curve_of_a_variant_is_the_mean_over_seeds(data: ReportData) -> None:
    variant, place = EVIDENTIAL, CLEAN
    cells = data.results.cells_of(variant)
    alone = [
        mean_sparsification(replace(data, results=replace(data.results, cells=tuple(held))), variant, place)
        for seed in sorted({cell.seed for cell in cells})
        if (held := [cell for cell in cells if cell.seed == seed])
    ]
    assert len(alone) == 2
    for both, one, other in zip(mean_sparsification(data, variant, place), *alone, strict=True):
        np.testing.assert_allclose(both, (one + other) / 2)


def test_risk_coverage_of_each_seed_is_that_on_tensors() -> None:
    noise = np.random.default_rng(1)
    uncertainty, risk = noise.normal(size=(2, 30)), noise.uniform(size=(2, 30))
    held = ImageScores([f"{k:02d}" for k in range(30)], np.arange(30).astype(str), uncertainty, risk)
    grid, curve = mean_risk_coverage(held)
    exact = [curve_of_tensors(torch.from_numpy(u), torch.from_numpy(r)) for u, r in zip(uncertainty, risk, strict=True)]
    np.testing.assert_allclose(grid, exact[0].coverage)
    np.testing.assert_allclose(curve, (exact[0].risk + exact[1].risk) / 2)


def test_images_whose_score_or_risk_is_unknown_are_left_out() -> None:
    uncertainty, risk = np.array([[0.1, np.nan, 0.3, 0.2]]), np.array([[0.0, 0.9, 0.5, np.nan]])
    grid, curve = mean_risk_coverage(ImageScores(list("abcd"), np.array(list("pqrs")), uncertainty, risk))
    assert grid.tolist() == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert curve.tolist() == pytest.approx([0.0, 0.0, 0.125, 0.25])


LOOK = Style("#0072B2", "dash", "square")


def test_one_colour_per_selection_and_one_dash_per_head(data: ReportData) -> None:
    found = data.styles
    classical, random = found["classical, no adversarial training"], found["evidential, random selection"]
    assert found[EVIDENTIAL].colour == classical.colour
    assert found[EVIDENTIAL].dash == random.dash != classical.dash
    assert len({style.colour for style in found.values()}) == 3
    assert len(set(found.values())) == 6


def test_unknown_selections_and_heads_still_differ(data: ReportData) -> None:
    cell = data.results.cells[0]
    cells = [cell.model_copy(update=dict.fromkeys(("variant", "selection", "head"), name)) for name in ("new", "newer")]
    found = list(styles(replace(data.results, cells=(cell, *cells))).values())
    assert len({style.colour for style in found}) == len({style.dash for style in found}) == 3


def test_variants_of_one_selection_and_head_differ_in_shade_and_symbol(data: ReportData) -> None:
    cell = data.results.cells[0]
    cells = [cell.model_copy(update={"variant": f"{cell.variant} {eps}"}) for eps in range(1, 5)]
    found = styles(replace(data.results, cells=tuple(cells)))
    assert len(found) == 4
    assert len({style.colour for style in found.values()}) == len({style.symbol for style in found.values()}) == 4
    assert len({style.dash for style in found.values()}) == 1
    assert found[cells[0].variant].colour == data.styles[cell.variant].colour


def test_a_legend_names_each_entry_once() -> None:
    lines = (Line("a", [], [], LOOK), Line("b, interval", [], [], LOOK, label="b"), Line("b", [], [], LOOK, label="b"))
    panel = Panel("p", "x", "y", lines)
    found = Chart("k", "t", "r", (panel, panel))
    assert found.legend == {"a": LOOK, "b": LOOK}
    assert list(replace(found, horizontal=True).legend) == ["b"]  # a row says what it is


def test_more_bands_than_can_be_told_apart_become_small_multiples() -> None:
    lines = [Line(name, [0.0, 1.0], [0.1, 0.2], LOOK, [0.0, 0.1], [0.2, 0.3]) for name in "abcd"]
    target = Line("target", [0.0, 1.0], [0.5, 0.5], LOOK)
    few, many = (series.chart("training", [Panel("p", "x", "y", (*lines[:count], target))]) for count in (3, 4))
    assert len(few.panels) == 1
    assert [panel.title for panel in many.panels] == ["p: a", "p: b", "p: c", "p: d"]
    for shown, panel in zip(lines, many.panels, strict=True):
        assert [line for line in panel.lines if len(line.low)] == [shown]
        assert {line.name for line in panel.lines} == {*"abcd", "target"}
    assert len(many.frame()) == 4 * 2 + 4 * 2  # each band once, and the target in each panel


def test_points_of_a_frame_have_six_digits_and_their_own_interval() -> None:
    lines = (
        Line("a", [1.0, 2.0], [0.12345678, math.nan], LOOK, [0.1, 0.2], [0.3, 0.4]),
        Line("b", [1234567.0], [0.0], LOOK),
        Line("c", [], [], LOOK),
    )
    frame = Chart("k", "t", "r", (Panel("one", "x", "y", lines), Panel("two", "x", "y", lines[1:]))).frame()
    assert frame.columns == ["panel", "series", "x", "y", "low", "high"]
    assert frame.rows()[0] == ("one", "a", 1.0, 0.123457, 0.1, 0.3)
    assert frame["y"].is_nan().to_list() == [False, True, False, False]
    assert frame.rows()[2:] == [("one", "b", 1234570.0, 0.0, None, None), ("two", "b", 1234570.0, 0.0, None, None)]
    assert Chart("k", "t", "r", ()).frame().schema == frame.schema


def test_every_figure_has_its_words() -> None:
    for key in template_texts("figures"):
        found = series.chart(key, [], metric="x", target="x", attack="x", most="x", eps="x", tau="x", aims="x")
        assert len(found.reading.split()) > 20
        assert "{" not in found.title + found.reading


def test_plotly_draws_every_series_and_lets_no_markup_through(charts: dict[str, Chart]) -> None:
    for chart in charts.values():
        text = draw_plotly(chart)
        assert "<" not in text
        drawn = [{trace["name"] for trace in figure["data"]} for figure in json.loads(text)]
        assert drawn == [{line.entry for line in panel.lines} for panel in chart.panels]
    traces = [trace for figure in json.loads(draw_plotly(charts["uncertainty_change"])) for trace in figure["data"]]
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
    style = Style("#102030", "dot", "circle")
    line = Line("<i>", [1.0, 2.0], [0.25, 0.5], style, [0.125, 0.25], [0.5, 1.0], texts=["a & b", "c"])
    panel = Panel("", "up to <", "y", (line,))
    band, curve = json.loads(draw_plotly(Chart("k", "t", "r", (panel,), 1)))[0]["data"]
    assert (band["x"], band["y"]) == ([1, 2, 2, 1], [0.125, 0.25, 1.0, 0.5])
    assert band["fillcolor"] == "rgba(16,32,48,0.12)"
    assert curve["text"] == [" [0.125, 0.500]<br>a &amp; b", " [0.250, 1.000]<br>c"]
    assert curve["hovertemplate"].startswith("<b>&lt;i&gt;</b><br>up to &lt;: ")
    lying = Line("n", [0.25, 0.5], [1.0, 2.0], style, [0.125, 0.25], [0.5, 1.0], label="row")
    panel = Panel("", "x", "", (lying,), y_ticks={1.0: "one", 2.0: "two"})
    (bars,) = json.loads(draw_plotly(Chart("k", "t", "r", (panel,), 1, horizontal=True)))[0]["data"]
    assert (bars["error_x"]["array"], bars["error_x"]["arrayminus"]) == ([0.25, 0.5], [0.125, 0.25])
    assert bars["name"] == "row"


def test_axes_have_their_limits_ticks_and_rules() -> None:
    line = Line("n", [0.0, 4.0], [1.0, 3.0], Style("#102030", "solid", "circle"))
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
    with Image.open(io.BytesIO(picture)) as drawn:
        assert drawn.size[0] > 700
        assert drawn.info["dpi"] == pytest.approx((300, 300), abs=1)
    assert picture == again
    assert (tmp_path / "one" / "odd.pdf").read_bytes() == (tmp_path / "two" / "odd.pdf").read_bytes()


def coloured(picture: bytes, colour: tuple[int, int, int]) -> int:
    """Return the number of pixels of about this colour."""
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)
    return int((np.abs(pixels - colour).max(axis=-1) < 40).sum())


def test_a_line_has_its_colour_and_stays_within_the_limits(tmp_path: Path) -> None:
    line = Line("n", [0.0, 1.0], [0.25, 0.75], Style("#ff0000", "solid", "circle"))
    seen, cut = (
        write_figure(Chart(f"n{k}", "t", "r", (Panel("", "x", "y", (line,), y_range=limits),), 1), tmp_path)
        for k, limits in enumerate(((0.0, 1.0), (2.0, 3.0)))
    )
    assert coloured(seen, (255, 0, 0)) > coloured(cut, (255, 0, 0)) > 0  # the legend is left
    assert coloured(seen, (0, 0, 255)) == 0
