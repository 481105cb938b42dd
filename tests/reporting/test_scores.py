"""Scores of images and of pixels against values worked by hand, plain resampling, integrals and unmerged histograms."""

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from tests.reporting.given import CLEAN, EVIDENTIAL, bare_results, one_run, with_records

from trustseg.metrics import (
    METRICS,
    aurc_from_counts,
    ause,
    calibration_error_from_counts,
    dice_terms,
    iou_terms,
    nause_from_counts,
    uncertainty_keys,
)
from trustseg.reporting import image_rankings, image_scores
from trustseg.reporting.cell_tables import calibration_of, histograms_of
from trustseg.reporting.image_rankings import ImageScores
from trustseg.reporting.pixel_scores import (
    PatientTable,
    estimate,
    merge_bins,
    minority_of,
    pixel_table,
)
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.results import Results, load_results
from trustseg.reporting.score_tables import mask_metrics
from trustseg.reporting.value_tables import DICE, ValueTable, area_weights, values_under, weighted_means
from trustseg.statistics import bootstrap_difference, spearman

NAN = math.nan


def _brier(results: Results, measure: str) -> PatientTable:
    return pixel_table(results, EVIDENTIAL, CLEAN, METRICS["ause_brier"], measure=measure)


def test_seeds_are_averaged_per_image_and_undefined_is_left_out() -> None:
    results = bare_results(
        [
            {"image": "x", "seed": 0, "dice": 0.2},
            {"image": "x", "seed": 1, "dice": 0.6},
            {"image": "y", "seed": 0, "dice": NAN},
            {"image": "y", "seed": 1, "dice": 0.0},
            {"image": "z", "seed": 0, "dice": NAN},
        ]
    )
    frame = image_scores.per_image(results, "a", CLEAN)
    assert frame["image"].to_list() == ["x", "y", "z"]
    assert frame["dice"].to_list() == [pytest.approx(0.4), 0.0, None]
    table = values_under(results.records, "a", [CLEAN, ("pgd", 0.9)], DICE)
    np.testing.assert_allclose(table.values, [[0.4, NAN], [0.0, NAN], [NAN, NAN]])
    mean = image_scores.mean_of(results, "a", CLEAN, "dice")
    assert mean.value == pytest.approx(0.2)
    assert mean.undefined == 1


def test_empty_references_are_told_by_area_and_never_by_dice() -> None:
    """Clean nothing is predicted on y and its Dice is undefined; attacked it would be 0. Both leave x alone."""
    rows: list[dict[str, object]] = [
        {"image": "x"},
        {"image": "y", "mask_px": 0, "predicted_px": 0, "dice": NAN, "iou": NAN},
        {"image": "x", "condition": "pgd", "eps": 0.01},
        {"image": "y", "condition": "pgd", "eps": 0.01, "mask_px": 0, "predicted_px": 25, "dice": 0.0, "iou": 0.0},
    ]
    results = bare_results(rows)
    for place, area in ((CLEAN, 0.0), (("pgd", 0.01), 0.25)):
        mean = image_scores.mean_of(results, "a", place, "dice")
        assert (mean.value, mean.count, mean.undefined) == (0.5, 1, 1)
        assert values_under(results.records, "a", [place], DICE).values[0] == 0.5
        assert np.isnan(values_under(results.records, "a", [place], DICE).values[1])
        assert image_rankings.read_scores(results, "a", place, "u").images == ["x"]
        found = image_scores.false_positive_area(results, "a", place)
        assert (found.value, found.count) == (area, 1)
    positive = bare_results(rows[:1])
    assert np.isnan(image_scores.false_positive_area(positive, "a", CLEAN).value)


def test_pooled_dice_and_iou_obey_their_identity() -> None:
    rows: list[dict[str, object]] = [
        {"image": "x", "mask_px": 8, "predicted_px": 4, "intersection_px": 4},
        {"image": "y", "mask_px": 0, "predicted_px": 4, "intersection_px": 0},
    ]
    dice, iou = (
        image_scores.pooled_of(bare_results(rows).records, terms, draws=10).value for terms in (dice_terms, iou_terms)
    )
    assert dice == pytest.approx(8 / 16)
    assert iou == pytest.approx(dice / (2 - dice))


@pytest.fixture
def scores() -> ImageScores:
    """Two seeds of twelve images with ties, one of which has no score in the first."""
    generator = np.random.default_rng(0)
    uncertainty, risk = generator.integers(0, 5, (2, 12)).astype(float), generator.random((2, 12))
    uncertainty[0, 3] = NAN
    return ImageScores([str(image) for image in range(12)], np.array(["p"] * 12), uncertainty, risk)


@pytest.mark.parametrize("rows", [range(12), (0, 0, 0, 3, 5, 5, 11)])
def test_a_drawn_ranking_is_that_of_the_repeated_images(scores: ImageScores, rows: tuple[int, ...]) -> None:
    drawn = ImageScores(
        [""] * len(rows), np.arange(len(rows)).astype(str), scores.uncertainty[:, rows], scores.risk[:, rows]
    )
    expected = []
    for uncertainty, risk in zip(drawn.uncertainty, drawn.risk, strict=True):
        known = np.isfinite(uncertainty)
        _, block = np.unique(uncertainty[known], return_inverse=True)
        expected.append(float(aurc_from_counts(np.bincount(block), np.bincount(block, risk[known]))))
    assert image_rankings.ranking_of(drawn, draws=2).value == pytest.approx(np.mean(expected), rel=1e-12)


def test_rank_correlation_is_spearmans(scores: ImageScores) -> None:
    known = np.isfinite(scores.uncertainty)
    expected = [spearman(scores.uncertainty[s, known[s]], scores.risk[s, known[s]]) for s in range(2)]
    found = image_rankings.rank_correlation(scores, draws=20)
    assert found.value == pytest.approx(float(np.mean(expected)), rel=1e-12)


def test_shift_by_hand() -> None:
    rows = [
        {"image": image, "condition": condition, "eps": eps, "u": u, "patient": image}
        for condition, eps, us in (("clean", 0.0, (0.1, 0.2, 0.3)), ("pgd", 0.01, (0.4, 0.1, 0.3)))
        for image, u in zip("xyz", us, strict=True)
    ]
    found = image_rankings.uncertainty_change(bare_results(rows), "a", ("pgd", 0.01), "u")
    # Of the nine pairs (attacked, clean): 0.4 wins 3, 0.1 ties one, 0.3 wins 2 and ties one.
    expected = {"change": 0.2 / 3, "share_lower": 1 / 3, "detection": 6 / 9}
    assert {name: value.value for name, value in found.items()} == pytest.approx(expected)


def test_nothing_defined_is_undefined_not_an_error() -> None:
    scores = image_rankings.read_scores(bare_results([{"image": "x", "dice": NAN}]), "a", CLEAN, "u")
    assert scores.images == []
    assert np.isnan(image_rankings.ranking_of(scores, draws=5).value)
    assert np.isnan(image_rankings.rank_correlation(scores, draws=5).value)


def test_further_metrics_are_means_over_images_with_foreground(data: ReportData) -> None:
    hd95 = pl.when(pl.col("mask_px") > 0).then(pl.col("dice") * 10).otherwise(1e6)
    table = mask_metrics(with_records(data, data.results.records.with_columns(metric_hausdorff_95=hd95)))
    assert table.columns[2].heading == "HD95, px ↓"
    for row in table.frame()[::2].iter_rows(named=True):
        dice = data.score(row["variant"], CLEAN, "dice").value
        assert row["metric_hausdorff_95"] == pytest.approx(10 * dice)
    assert mask_metrics(data).rows == ()


@pytest.fixture
def table() -> ValueTable:
    """Forty images of eleven patients under three conditions, a tenth of the values undefined."""
    noise = np.random.default_rng(0)
    values = noise.uniform(size=(40, 3))
    values[noise.uniform(size=values.shape) < 0.1] = NAN
    return ValueTable([f"{number:02d}" for number in range(40)], np.array([f"p{n % 11}" for n in range(40)]), values)


@pytest.mark.parametrize("weight", [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [1.0, -1.0, 0.0]])
def test_means_and_paired_differences_have_the_draws_of_a_bootstrap(table: ValueTable, weight: list[float]) -> None:
    if -1.0 in weight:
        table.values[np.isnan(table.values)] = 0.5
    values = table.values[:, np.array(weight) != 0] @ np.array(weight)[np.array(weight) != 0]
    found = weighted_means(table, np.array([weight]), draws=200)[0]
    expected = bootstrap_difference(values, np.zeros_like(values), table.patients, draws=200)
    ends = (expected.value, expected.low, expected.high)
    assert (found.value, found.low, found.high) == pytest.approx(ends, abs=1e-12)
    assert found.count == len(table.images) - expected.undefined


def test_no_value_is_no_interval() -> None:
    found = weighted_means(ValueTable(["a", "b"], np.array(["p", "q"]), np.full((2, 1), NAN)), np.eye(1), draws=20)[0]
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


def test_pixel_ranking_is_the_mean_over_seeds_of_the_whole_test_set(study: Path) -> None:
    results = load_results(study)
    cells = results.cells_of(EVIDENTIAL)
    expected = []
    for seed in (0, 1):
        frame = histograms_of([cell for cell in cells if cell.seed == seed], CLEAN, "vacuity")
        sums = frame.group_by("bin").agg(pl.col("count").sum(), pl.col("wrong").sum()).sort("bin")
        expected.append(float(nause_from_counts(sums["count"].to_numpy(), sums["wrong"].to_numpy())))
    table = pixel_table(results, EVIDENTIAL, CLEAN, METRICS["nause"], measure="vacuity")
    found = estimate(table, draws=50)
    assert found.value == pytest.approx(float(np.mean(expected)), abs=1e-4)
    assert found.patients == 20
    assert found.low <= found.value <= found.high


def test_merging_bins_keeps_totals_and_barely_moves_the_score() -> None:
    generator = np.random.default_rng(0)
    bins = np.arange(5600)
    count = generator.poisson(2000 * np.exp(-bins / 400)) + generator.integers(0, 3, bins.size)
    wrong = generator.binomial(count, np.clip(bins / 6000, 0, 1))
    merged = merge_bins(pl.DataFrame({"bin": bins, "count": count, "wrong": wrong}))
    sums = merged.group_by("bin").agg(pl.col("count").sum(), pl.col("wrong").sum()).sort("bin")
    assert sums["count"].sum() == count.sum()
    assert sums["wrong"].sum() == wrong.sum()
    assert len(sums) <= 1001
    assert sums["bin"].to_list() == list(range(len(sums)))
    small = nause_from_counts(sums["count"].to_numpy(), sums["wrong"].to_numpy())
    assert small == pytest.approx(float(nause_from_counts(count, wrong)), abs=2e-5)
    without_error = pl.DataFrame({"bin": [3, 9], "count": [5, 5], "wrong": [0, 0]})
    assert merge_bins(without_error)["bin"].to_list() == [0, 1]


def test_calibration_error_equals_that_of_the_metric(study: Path) -> None:
    results = load_results(study)
    expected = []
    for seed in (0, 1):
        frame = calibration_of([cell for cell in results.cells_of(EVIDENTIAL) if cell.seed == seed], CLEAN)
        sums = frame.group_by("bin").agg(pl.exclude("patient", "bin", "seed").sum()).sort("bin").drop("bin")
        expected.append(float(calibration_error_from_counts(torch.from_numpy(sums.cast(pl.Float64).to_numpy()))))
    found = estimate(pixel_table(results, EVIDENTIAL, CLEAN, METRICS["ece"]), draws=5)
    assert found.value == pytest.approx(float(np.mean(expected)), rel=1e-12)


def test_calibration_error_by_hand(tmp_path: Path) -> None:
    """Two bins of 4 and 6 pixels that are off by 0.25 and 0.5: ECE = 0.4 * 0.25 + 0.6 * 0.5."""
    folder = one_run(tmp_path / "study")
    sums = {"bin": [0, 14], "count": [4, 6], "sum_probability": [0.0, 6.0], "sum_reference": [1.0, 3.0]}
    frame = pl.DataFrame(sums).with_columns(condition=pl.lit("clean"), eps=pl.lit(0.0), patient=pl.lit("p"))
    results = load_results(folder)
    frame.write_parquet(results.cells[0].folder / "calibration.parquet")
    table = pixel_table(results, EVIDENTIAL, CLEAN, METRICS["ece"])
    assert estimate(table, draws=5).value == pytest.approx(0.4)


@pytest.mark.parametrize("measure", ["entropy", "variance"])
def test_doubt_is_the_inverse_of_the_measure(measure: str) -> None:
    doubt = np.array([0.0, 1e-12, 1e-4, 0.03, 0.2, 0.4999, 0.5])
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = np.nan_to_num(-doubt * np.log(doubt)) - (1 - doubt) * np.log1p(-doubt)
    values = entropy if measure == "entropy" else doubt * (1 - doubt)
    np.testing.assert_allclose(minority_of(values, measure=measure), doubt, rtol=1e-3)


def _stored(folder: Path, pixels: pl.DataFrame) -> Results:
    """Write histograms of given pixels into a study of one run."""
    results = load_results(one_run(folder))
    keys = ["condition", "eps", "measure", "patient", "bin"]
    frames = [
        pixels.with_columns(
            measure=pl.lit(name),
            condition=pl.lit("clean"),
            eps=pl.lit(0.0),
            bin=pl.Series(uncertainty_keys(torch.tensor(pixels[name].to_list()), resolution="coarse").numpy()),
        )
        for name in ("entropy", "vacuity")
    ]
    table = pl.concat(frames).group_by(keys).agg(pl.len().alias("count"), pl.col("wrong").sum(), pl.col("brier").sum())
    table.write_parquet(results.cells[0].folder / "histograms.parquet")
    return results


def test_equals_the_exact_score(tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    p = generator.beta(0.3, 0.6, 20_000)
    y = generator.random(p.size) < np.clip(p * 1.2 - 0.05, 0, 1)
    entropy = -p * np.log(p) - (1 - p) * np.log1p(-p)
    vacuity = entropy * generator.uniform(0.5, 1, p.size)
    error = (p - y) ** 2
    patients = [f"p{number % 9}" for number in range(p.size)]
    columns = {"patient": patients, "entropy": entropy, "vacuity": vacuity, "brier": error}
    results = _stored(tmp_path / "study", pl.DataFrame(columns | {"wrong": ((p > 0.5) != y).astype(int)}))
    for name, scores in (("entropy", entropy), ("vacuity", vacuity)):
        found = estimate(_brier(results, name), draws=20)
        expected = float(ause(torch.from_numpy(scores), torch.from_numpy(error)))
        assert found.value == pytest.approx(expected, abs=2e-3)
        assert found.low < found.value < found.high


def test_what_was_not_kept_is_undefined(tmp_path: Path) -> None:
    """The order of an oracle of squared errors follows from the entropy or the variance alone."""
    folder = one_run(tmp_path / "study")
    path = next(folder.glob("cells/*/histograms.parquet"))
    pl.read_parquet(path).filter(pl.col("measure") == "vacuity").write_parquet(path)
    results = load_results(folder)
    for measure in ("dissonance", "vacuity"):
        assert np.isnan(estimate(_brier(results, measure), draws=5).value)
    lacking = pixel_table(results, EVIDENTIAL, CLEAN, METRICS["ause"], measure="dissonance")
    assert np.isnan(estimate(lacking, draws=5).value)


def test_no_error_at_all_is_undefined(tmp_path: Path) -> None:
    pixels = pl.DataFrame({"patient": ["a", "b"], "entropy": [0.0] * 2, "vacuity": [0.1] * 2, "wrong": 0, "brier": 0.0})
    results = _stored(tmp_path / "study", pixels)
    assert np.isnan(estimate(_brier(results, "vacuity"), draws=5).value)
