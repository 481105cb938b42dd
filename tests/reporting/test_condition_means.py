"""Means, differences and areas of a table against the bootstrap of single columns and against integrals."""

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.reporting.fake_results import write_study

from trustseg.reporting import image_scores, load_results
from trustseg.reporting.condition_means import DICE, ValueTable, area_weights, values_under, weighted_means
from trustseg.statistics import bootstrap_difference


def _sheet(*, seed: int = 0, images: int = 40, conditions: int = 3) -> ValueTable:
    noise = np.random.default_rng(seed)
    values = noise.uniform(size=(images, conditions))
    values[noise.uniform(size=values.shape) < 0.1] = np.nan
    patients = np.array([f"p{number % 11}" for number in range(images)])
    return ValueTable([f"{number:02d}" for number in range(images)], patients, values)


def test_means_are_those_of_each_column_with_the_same_draws() -> None:
    sheet = _sheet()
    for column, found in enumerate(weighted_means(sheet, np.eye(3), draws=200)):
        values = sheet.values[:, column]
        expected = bootstrap_difference(values, np.zeros_like(values), sheet.patients, draws=200)
        assert found.value == pytest.approx(expected.value, abs=1e-12)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
        assert found.count == len(sheet.images) - expected.undefined


def test_a_difference_of_columns_is_paired() -> None:
    sheet = _sheet()
    sheet.values[np.isnan(sheet.values)] = 0.5
    found = weighted_means(sheet, np.array([[1.0, -1.0, 0.0]]), draws=200)[0]
    expected = bootstrap_difference(sheet.values[:, 0], sheet.values[:, 1], sheet.patients, draws=200)
    assert (found.value, found.low, found.high) == pytest.approx((expected.value, expected.low, expected.high))


def test_no_value_is_no_interval() -> None:
    sheet = ValueTable(["a", "b"], np.array(["p", "q"]), np.full((2, 1), np.nan))
    found = weighted_means(sheet, np.eye(1), draws=20)[0]
    assert math.isnan(found.value)
    assert math.isnan(found.low)
    assert found.count == 0


@pytest.mark.parametrize("upto", [1.0, 2.5, 4.0])
def test_area_is_the_integral_of_the_broken_line(upto: float) -> None:
    eps, means = [0.0, 1.0, 2.0, 4.0], np.array([0.9, 0.7, 0.4, 0.1])
    grid = np.linspace(0, upto, 200_001)
    integral = np.trapezoid(np.interp(grid, eps, means), grid) / upto
    assert float(area_weights(eps, upto) @ means) == pytest.approx(integral, abs=1e-9)
    assert area_weights(eps, upto).sum() == pytest.approx(1)


def test_values_under_averages_seeds_and_leaves_empty_masks_out(tmp_path: Path) -> None:
    results = load_results(
        write_study(tmp_path / "study", heads=("beta",), selections=("none",), images=12, gallery=False)
    )
    places = [("clean", 0.0), ("pgd", 4 / 255), ("pgd", 0.9)]
    sheet = values_under(results, "evidential, no adversarial training", places, DICE)
    for column, place in enumerate(places[:2]):
        frame = image_scores.per_image(results, "evidential, no adversarial training", place)
        assert sheet.images == frame["image"].to_list()
        expected = frame["dice"].fill_null(float("nan")).to_numpy()
        np.testing.assert_allclose(sheet.values[:, column], expected)
    empty = results.records.filter(pl.col("mask_px") == 0)["image"].unique()
    assert all(np.isnan(sheet.values[sheet.images.index(name)]).all() for name in empty)
    assert np.isnan(sheet.values[:, 2]).all()  # was not measured
