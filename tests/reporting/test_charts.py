"""The series of the charts: numbers that equal the tables."""

import pytest

from trustseg.reporting.charts import shift
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.series import Chart

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


def test_robustness_curves_equal_the_evidence(data: ReportData, charts: dict[str, Chart]) -> None:
    titles = [panel.title for panel in charts["robustness_dice"].panels]
    assert titles == ["FGSM, bernoulli", "FGSM, beta", "PGD, bernoulli", "PGD, beta"]
    panel = charts["robustness_dice"].panels[3]
    assert [line.entry for line in panel.lines] == ["none", "random", "uncertain"]
    assert {line.look.dash for line in panel.lines} == {"solid"}
    line = next(line for line in panel.lines if line.name == "beta, none")
    assert list(line.x) == pytest.approx([0, 1, 2, 4, 8], abs=1e-3)
    interval = data.robustness["beta, none", ("pgd", data.choices.eps)]["dice"]
    assert (line.y[3], line.low[3], line.high[3]) == (interval.value, interval.low, interval.high)


def test_epochs_are_counted_from_1(data: ReportData, charts: dict[str, Chart]) -> None:
    for panel in charts["training"].panels:
        for line in panel.lines:
            assert min(line.x) >= 1
    assert min(charts["training"].panels[0].lines[0].x) == 1


def test_images_are_numbered_where_they_are_not_to_be_named(data: ReportData, charts: dict[str, Chart]) -> None:
    names = set(data.results.records["image"])
    for chart, named in ((charts["shift"], True), (shift(data, names=False), False)):
        texts = {text for panel in chart.panels for line in panel.lines for text in line.texts}
        assert texts
        assert (texts <= names) == named
        assert texts.isdisjoint(names) != named
