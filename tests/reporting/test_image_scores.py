"""Scores of images against values worked by hand and against plain resampling."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from trustseg.deferral.ranking import AURC
from trustseg.metrics import aurc_from_counts
from trustseg.reporting import image_scores
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.results import Results
from trustseg.reporting.score_tables import mask_metrics
from trustseg.statistics import Interval, spearman


def _results(rows: list[dict[str, object]]) -> Results:
    """Results with nothing but records: one variant unless a row says otherwise."""
    usual = {"variant": "a", "condition": "clean", "eps": 0.0, "fold": 0, "seed": 0, "patient": "p"}
    usual |= {
        "pixels": 100,
        "mask_px": 10,
        "predicted_px": 10,
        "intersection_px": 5,
        "dice": 0.5,
        "iou": 1 / 3,
        "u": 0.1,
    }
    return Results(Path(), {}, (), (), pl.DataFrame([usual | row for row in rows]))


def test_seeds_are_averaged_per_image_and_undefined_is_left_out() -> None:
    rows = [
        {"image": "x", "seed": 0, "dice": 0.2},
        {"image": "x", "seed": 1, "dice": 0.6},
        {"image": "y", "seed": 0, "dice": float("nan")},
        {"image": "y", "seed": 1, "dice": 0.0},
        {"image": "z", "seed": 0, "dice": float("nan")},
    ]
    frame = image_scores.per_image(_results(rows), "a", ("clean", 0.0))
    assert frame["image"].to_list() == ["x", "y", "z"]
    assert frame["dice"].to_list() == [pytest.approx(0.4), 0.0, None]
    mean = image_scores.mean_of(_results(rows), "a", ("clean", 0.0), "dice", draws=10)
    assert mean.value == pytest.approx(0.2)
    assert mean.undefined == 1


def test_empty_references_are_told_by_area_and_never_by_dice() -> None:
    """Clean nothing is predicted on y and its Dice is undefined; attacked it would be 0. Both leave x alone."""
    rows: list[dict[str, object]] = [
        {"image": "x", "condition": "clean"},
        {
            "image": "y",
            "condition": "clean",
            "mask_px": 0,
            "predicted_px": 0,
            "dice": float("nan"),
            "iou": float("nan"),
        },
        {"image": "x", "condition": "pgd", "eps": 0.01},
        {"image": "y", "condition": "pgd", "eps": 0.01, "mask_px": 0, "predicted_px": 25, "dice": 0.0, "iou": 0.0},
    ]
    results = _results(rows)
    for place, area in ((("clean", 0.0), 0.0), (("pgd", 0.01), 0.25)):
        mean = image_scores.mean_of(results, "a", place, "dice", draws=5)
        assert (mean.value, mean.count, mean.undefined) == (0.5, 1, 1)
        assert image_scores.read_scores(results, "a", place, "u").images == ["x"]
        found = image_scores.false_positive_area(results, "a", place, draws=5)
        assert (found.value, found.count) == (area, 1)
    positive = _results([{"image": "x"}])
    assert np.isnan(image_scores.false_positive_area(positive, "a", ("clean", 0.0), draws=5).value)


def test_pooled_dice_and_iou_obey_their_identity() -> None:
    rows: list[dict[str, object]] = [
        {"image": "x", "mask_px": 8, "predicted_px": 4, "intersection_px": 4},
        {"image": "y", "mask_px": 0, "predicted_px": 4, "intersection_px": 0},
    ]
    dice = image_scores.pooled(_results(rows), "a", ("clean", 0.0), union=False, draws=10).value
    iou = image_scores.pooled(_results(rows), "a", ("clean", 0.0), union=True, draws=10).value
    assert dice == pytest.approx(8 / 16)
    assert iou == pytest.approx(dice / (2 - dice))


def _random_scores(seed: int = 0, images: int = 12) -> image_scores.ImageScores:
    generator = np.random.default_rng(seed)
    uncertainty = generator.integers(0, 5, (2, images)).astype(float)
    risk = generator.random((2, images))
    uncertainty[0, 3] = np.nan
    return image_scores.ImageScores([str(i) for i in range(images)], np.array(["p"] * images), uncertainty, risk)


def _repeated_aurc(uncertainty: np.ndarray, risk: np.ndarray) -> float:
    known = np.isfinite(uncertainty)
    _, block = np.unique(uncertainty[known], return_inverse=True)
    return float(aurc_from_counts(np.bincount(block), np.bincount(block, risk[known])))


def test_image_ranking_equals_ranking_of_the_repeated_images() -> None:
    scores = _random_scores()
    statistic = image_scores.image_ranking(scores, AURC)
    for rows in (np.arange(12), np.array([0, 0, 0, 3, 5, 5, 11])):
        expected = np.mean([_repeated_aurc(scores.uncertainty[s, rows], scores.risk[s, rows]) for s in range(2)])
        times = np.bincount(rows, minlength=12).astype(np.float64)
        assert statistic(times[None]) == pytest.approx([float(expected)], rel=1e-12)


def test_rank_correlation_equals_the_one_of_plain_resampling() -> None:
    scores = _random_scores(1)
    expected = np.mean([spearman(scores.uncertainty[s], scores.risk[s]) for s in range(2)])
    found = image_scores.rank_correlation(scores, draws=20)
    assert found.value == pytest.approx(float(expected), rel=1e-12)


def test_shift_by_hand() -> None:
    rows = [
        {"image": image, "condition": condition, "eps": eps, "u": u, "patient": image}
        for condition, eps, us in (("clean", 0.0, (0.1, 0.2, 0.3)), ("pgd", 0.01, (0.4, 0.1, 0.3)))
        for image, u in zip("xyz", us, strict=True)
    ]
    shift = image_scores.uncertainty_shift(_results(rows), "a", ("pgd", 0.01), "u", draws=20)
    assert shift.change.value == pytest.approx(0.2 / 3)
    assert shift.share_lower.value == pytest.approx(1 / 3)
    # Of the nine pairs (attacked, clean): 0.4 wins 3, 0.1 ties one, 0.3 wins 2 and ties one.
    assert shift.detection.value == pytest.approx(6 / 9)


def test_nothing_defined_is_undefined_not_an_error() -> None:
    results = _results([{"image": "x", "dice": float("nan")}])
    scores = image_scores.read_scores(results, "a", ("clean", 0.0), "u")
    assert scores.images == []
    assert np.isnan(image_scores.risk_area(scores, draws=5).value)
    assert np.isnan(image_scores.rank_correlation(scores, draws=5).value)


def test_further_metrics_are_means_over_images_with_foreground(data: ReportData) -> None:
    hd95 = pl.when(pl.col("mask_px") > 0).then(pl.col("dice") * 10).otherwise(1e6)
    measured = replace(
        data, results=replace(data.results, records=data.results.records.with_columns(metric_hausdorff_95=hd95))
    )
    table = mask_metrics(measured, draws=5)
    assert table.columns[2].title == "HD95, px ↓"
    for row in table.rows[::2]:
        found = row["metric_hausdorff_95"]
        assert isinstance(found, Interval)
        assert found.value == pytest.approx(10 * data.score(str(row["variant"]), ("clean", 0.0), "dice").value)
    assert mask_metrics(data, draws=5).rows == ()
