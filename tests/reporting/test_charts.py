"""The series of the charts: numbers that equal the tables, one colour per regime, one dash per head."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from trustseg.reporting.charts import all_charts
from trustseg.reporting.evidence import Evidence
from trustseg.reporting.paper_figures import write_figure
from trustseg.reporting.plotly_figures import draw_plotly
from trustseg.reporting.series import Chart, Line, Look, Panel, looks

KEYS = [
    "differences",
    "robustness_dice",
    "robustness_iou",
    "sparsification",
    "risk_coverage",
    "reliability",
    "shift",
    "training",
]


@pytest.fixture(scope="module")
def charts(evidence: Evidence) -> dict[str, Chart]:
    return all_charts(evidence)


def test_every_chart_is_there_and_explained(charts: dict[str, Chart]) -> None:
    assert list(charts) == KEYS
    assert all(len(chart.reading.split()) > 20 for chart in charts.values())


def test_one_colour_per_regime_and_one_dash_per_head(evidence: Evidence) -> None:
    found = looks(evidence.results)
    assert found["beta, none"].colour == found["bernoulli, none"].colour
    assert found["beta, none"].dash == found["beta, random"].dash != found["bernoulli, none"].dash
    assert len({look.colour for look in found.values()}) == 3
    assert len(set(found.values())) == 6


def test_robustness_curves_equal_the_evidence(evidence: Evidence, charts: dict[str, Chart]) -> None:
    titles = [panel.title for panel in charts["robustness_dice"].panels]
    assert titles == ["FGSM, bernoulli", "FGSM, beta", "PGD, bernoulli", "PGD, beta"]
    panel = charts["robustness_dice"].panels[3]
    assert [line.entry for line in panel.lines] == ["none", "random", "uncertain"]
    assert {line.look.dash for line in panel.lines} == {"solid"}
    line = next(line for line in panel.lines if line.name == "beta, none")
    assert list(line.x) == pytest.approx([0, 1, 2, 4, 8], abs=1e-3)
    interval = evidence.robustness["beta, none", ("pgd", evidence.choices.eps)]["dice"]
    assert (line.y[3], line.low[3], line.high[3]) == (interval.value, interval.low, interval.high)


def test_area_of_the_gap_is_ause(evidence: Evidence, charts: dict[str, Chart]) -> None:
    """The defining identity of AUSE, through two independent ways from the histograms to the page."""
    gap = next(panel for panel in charts["sparsification"].panels if panel.title == "clean: gap to the oracle")
    for line in gap.lines:
        variant = line.name.split(" (")[0]
        area = np.trapezoid(line.y, line.x)
        assert area == pytest.approx(evidence.scores[variant, ("clean", 0.0)]["ause"].value, abs=0.01)


def test_risk_coverage_ends_at_the_mean_risk(evidence: Evidence, charts: dict[str, Chart]) -> None:
    for line in charts["risk_coverage"].panels[0].lines:
        dice = evidence.scores[line.name.split(" (")[0], ("clean", 0.0)]["dice"].value
        assert line.x[-1] == 1.0
        assert line.y[-1] == pytest.approx(1 - dice, abs=0.02)


def test_a_chart_as_a_frame_has_every_point(charts: dict[str, Chart]) -> None:
    for chart in charts.values():
        assert len(chart.frame()) == sum(len(line.x) for panel in chart.panels for line in panel.lines)


def test_plotly_draws_every_series_and_lets_no_markup_through(charts: dict[str, Chart]) -> None:
    for chart in charts.values():
        text = draw_plotly(chart)
        assert "<" not in text
        names = {trace["name"] for trace in json.loads(text)["data"]}
        assert names == {line.entry for panel in chart.panels for line in panel.lines}
    shift = json.loads(draw_plotly(charts["shift"]))
    hovers = [hover for trace in shift["data"] for hover in trace["text"]]
    assert all(trace["hovertemplate"].startswith(r"<b>") for trace in shift["data"])
    assert [trace["name"] for trace in shift["data"] if trace["showlegend"]] == ["none", "random", "uncertain"]
    assert any("&lt;img src=x onerror=alert(1)&gt;" in hover for hover in hovers)
    assert not any("<img" in hover for hover in hovers)


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
def test_both_draw_odd_series(tmp_path: Path, horizontal: bool) -> None:
    """One point, no points, NaN, a dollar sign, and an interval of width 0."""
    look = Look("#0072B2", "dash", "square")
    lines = (
        Line("cost in $ and $", [1.0], [0.5], look, [0.5], [0.5], mode="markers", texts=["one"]),
        Line("empty", [], [], look),
        Line("gap", [0.0, 1.0], [float("nan"), 0.5], look),
    )
    panel = Panel("a $ title", "x", "y", lines, y_ticks={0.5: "half"}, diagonal=True, zero=True)
    chart = Chart("odd", "Odd", "How to read it.", (panel, panel, panel), 2, horizontal=horizontal)
    assert json.loads(draw_plotly(chart))["data"]
    assert write_figure(chart, tmp_path)


def test_unknown_regimes_and_heads_still_differ() -> None:
    from trustseg.reporting.series import _assign

    found = _assign(["none", "new", "newer", "new"], {"none": "grey"}, ("red", "blue"))
    assert found == {"none": "grey", "new": "red", "newer": "blue"}


def test_points_at_the_ends_of_a_probability_are_seen_whole(charts: dict[str, Chart]) -> None:
    for panel in charts["reliability"].panels:
        for limits in (panel.x_range, panel.y_range):
            assert limits is not None
            assert limits[0] < 0
            assert limits[1] > 1


def test_epochs_are_counted_from_1(evidence: Evidence, charts: dict[str, Chart]) -> None:
    for panel in charts["training"].panels:
        for line in panel.lines:
            assert min(line.x) >= 1
    assert min(charts["training"].panels[0].lines[0].x) == 1
