"""The series of the charts: numbers that equal the tables."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.reporting.given import CLEAN, EVIDENTIAL

from trustseg.metrics import risk_coverage_curve as curve_of_tensors
from trustseg.reporting.charts import mean_risk_coverage, mean_sparsification, shift
from trustseg.reporting.image_scores import ImageScores
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.series import Chart


def test_robustness_curves_equal_the_evidence(data: ReportData, charts: dict[str, Chart]) -> None:
    titles = [panel.title for panel in charts["robustness_dice"].panels]
    assert titles == ["FGSM, classical", "FGSM, evidential", "PGD, classical", "PGD, evidential"]
    panel = charts["robustness_dice"].panels[3]
    entries = ["no adversarial training", "random selection", "uncertain selection"]
    assert [line.entry for line in panel.lines] == entries
    assert {line.look.dash for line in panel.lines} == {"solid"}
    line = next(line for line in panel.lines if line.name == EVIDENTIAL)
    assert list(line.x) == pytest.approx([0, 1, 2, 4, 8], abs=1e-3)
    interval = data.robustness[EVIDENTIAL, ("pgd", data.choices.eps)]["dice"]
    assert (line.y[3], line.low[3], line.high[3]) == (interval.value, interval.low, interval.high)


def test_epochs_are_counted_from_1(charts: dict[str, Chart]) -> None:
    assert {min(line.x) for panel in charts["training"].panels for line in panel.lines} == {1}


def test_images_are_numbered_where_they_are_not_to_be_named(data: ReportData, charts: dict[str, Chart]) -> None:
    names = set(data.results.records["image"])
    for chart, named in ((charts["shift"], True), (shift(data, names=False), False)):
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
        assert area == pytest.approx(data.scores[variant, CLEAN]["ause"].value, abs=0.01)


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
