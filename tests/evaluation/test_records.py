"""One batch whose rows can be worked by hand."""

import math

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from trustseg.beliefs import Belief, Bernoulli, Beta
from trustseg.config import EvaluationConfig
from trustseg.errors import BeliefError, ShapeError
from trustseg.evaluation.conditions import CLEAN, Condition
from trustseg.evaluation.records import REFERENCED, TABLES, Recorder, Tables
from trustseg.metrics import area_error, surface_dice, uncertainty_keys

CONFIG = EvaluationConfig(measures=("entropy", "vacuity"), aggregations=("mean",))
CASES = pl.DataFrame(
    {
        "name": ["left", "right"],
        "patient": ["p", "p"],
        "group": ["p", "p"],
        "reference": ["mask", "mask"],
    }
)
MASKS = torch.tensor([[[[1.0, 1.0, 0.0, 0.0]]], [[[0.0, 0.0, 0.0, 0.0]]]])
INF = math.inf


def recorded(
    belief: Belief,
    images: Tensor,
    changed: Tensor,
    masks: Tensor,
    *,
    condition: Condition = CLEAN,
    config: EvaluationConfig = CONFIG,
) -> Tables:
    recorder = Recorder(condition, config, groups=["p"], device=torch.device("cpu"))
    recorder.add(belief, images, masks, CASES[: len(masks)], changed=changed)
    return recorder.tables()


def tables_for(logits: list[list[float]], *, change: float = 0.0) -> Tables:
    images = torch.full((2, 1, 1, 4), 0.5)
    belief = Bernoulli(torch.tensor(logits).view(2, 1, 1, 4))
    return recorded(belief, images, images + change, MASKS, condition=Condition("fgsm", 0.1))


def test_a_row_by_hand() -> None:
    tables = tables_for([[INF, -INF, 0.0, INF], [-INF, -INF, -INF, -INF]], change=0.1)
    left, right = tables["records"].rows(named=True)
    assert (left["image"], left["patient"], left["condition"], left["eps"]) == ("left", "p", "fgsm", 0.1)
    assert (left["pixels"], left["mask_px"], left["predicted_px"], left["intersection_px"]) == (4, 2, 2, 1)
    assert (left["dice"], left["iou"]) == pytest.approx((0.5, 1 / 3))
    assert left["brier"] == pytest.approx((0 + 1 + 0.25 + 1) / 4)  # p exactly 1, 0, 1/2, 1
    assert left["nll"] == INF  # sure, and wrong
    assert left["u_entropy_mean"] == pytest.approx(math.log(2) / 4)
    assert left["u_vacuity_mean"] is left["strength_median"] is left["strength_p99"] is None
    assert (left["linf"], left["l2"]) == pytest.approx((0.1, 0.2))
    assert math.isnan(right["dice"])
    assert (right["brier"], right["nll"], right["harm"]) == (0, 0, 0)


def test_tied_pixels_share_a_bin() -> None:
    histograms = tables_for([[INF, -INF, 0.0, INF], [-INF] * 4])["histograms"]
    zero, full = (int(uncertainty_keys(torch.tensor([u]), resolution="coarse")) for u in (0.0, math.log(2)))
    rows = histograms.group_by("bin").agg(pl.col("count", "wrong", "brier").sum()).sort("bin").rows()
    assert rows == [(zero, 7, 2, 2.0), (full, 1, 0, 0.25)]
    assert histograms.select("patient", "measure", "condition", "eps").unique().rows() == [
        ("p", "entropy", "fgsm", 0.1)
    ]


def test_probabilities_of_zero_and_one_lie_in_the_outer_bins() -> None:
    calibration = tables_for([[INF, -INF, 0.0, INF], [-INF] * 4])["calibration"]
    whole = calibration.filter(pl.col("region") == "whole")
    rows = whole.group_by("bin").agg(pl.col("count", "sum_probability", "sum_reference").sum()).sort("bin")
    filled = rows.filter(pl.col("count") > 0).rows()
    assert filled == [(0, 5, 0.0, 1.0), (7, 1, 0.5, 0.0), (14, 2, 2.0, 1.0)]


def test_regions_hold_the_pixels_of_the_band_and_of_the_mask() -> None:
    masks = torch.zeros(2, 1, 9, 20)
    masks[0, 0, 2:5, 2:9] = 1  # the second image has neither mask nor border
    logits = torch.linspace(-3, 3, 360).reshape(masks.shape)
    images = torch.zeros_like(masks)
    found = recorded(Bernoulli(logits), images, images, masks)
    band = torch.zeros_like(masks, dtype=torch.bool)
    band[0, 0, :, :14] = True  # all within 5 px of the other class: the mask is only 3 px high
    for region, inside in (("whole", torch.ones_like(band)), ("boundary", band), ("foreground", masks > 0)):
        rows = found["calibration"].filter(pl.col("region") == region)
        assert len(rows) == 15
        expected = (inside.sum(), torch.sigmoid(logits)[inside].sum(), masks[inside].sum())
        for name, value in zip(("count", "sum_probability", "sum_reference"), expected, strict=True):
            assert rows[name].sum() == pytest.approx(float(value), rel=1e-5)


def test_tables_have_the_documented_columns() -> None:
    tables = tables_for([[0.0] * 4, [0.0] * 4])
    assert tuple(tables) == TABLES
    of_metrics = ("sensitivity", "precision", "hausdorff_95", "surface_dice", "lesion_f1", "area_error")
    assert tables["records"].columns == [
        *("image", "patient", "condition", "eps", "kind", "severity", "reference", "size"),
        *("pixels", "mask_px", "predicted_px", "intersection_px", "dice", "iou"),
        *(f"metric_{name}" for name in of_metrics),
        *("harm", "brier", "nll", "linf", "l2", "dice_native", "strength_median", "strength_p99"),
        *("u_entropy_mean", "u_vacuity_mean"),
        *("u_entropy_soft_dice_confidence", "u_epistemic_variance_soft_dice_confidence"),
    ]
    assert tables["histograms"].columns == ["condition", "eps", "measure", "patient", "bin", "count", "wrong", "brier"]
    assert tables["calibration"].columns == [
        *("condition", "eps", "region", "patient", "bin", "count", "sum_probability", "sum_reference")
    ]


def test_metrics_are_those_of_the_dictionary_with_their_options() -> None:
    masks = torch.zeros(2, 1, 8, 8)
    masks[0, 0, 2:5, 2:6] = 1
    alpha = 1 + 3 * masks.roll(1, dims=3)
    config = EvaluationConfig(metrics=("area_error", "surface_dice(tolerance=1)"), measures=("entropy",))
    images = torch.zeros(2, 1, 8, 8)
    records = recorded(Beta(alpha, torch.full_like(alpha, 2.0)), images, images, masks, config=config)["records"]
    prediction = masks.roll(1, dims=3)
    expected = {
        "area_error": area_error(prediction, masks),
        "surface_dice_tolerance1": surface_dice(prediction, masks, tolerance=1),
    }
    for column, values in expected.items():
        assert records[f"metric_{column}"].to_list() == pytest.approx(values.tolist(), nan_ok=True)


def test_one_image_of_one_pixel() -> None:
    one = torch.full((1, 1, 1, 1), 3.0)
    pixel = torch.ones(1, 1, 1, 1)
    tables = recorded(Beta(one, one / 3), pixel, pixel, pixel)
    row = tables["records"].row(0, named=True)
    assert (row["dice"], row["linf"], row["u_vacuity_mean"]) == (1, 0, 0.5)
    assert (row["strength_median"], row["strength_p99"]) == (4, 4)
    assert [len(tables[name]) for name in TABLES] == [1, 2, 45]


def test_a_model_that_breaks_down_is_not_recorded() -> None:
    with pytest.raises(ShapeError, match="NaN"):
        tables_for([[math.nan] * 4, [0.0] * 4])


def test_ignored_pixels_and_images_without_a_reference() -> None:
    nan = math.nan
    masks = torch.tensor([[[[1.0, 0.0, nan]]], [[[0.0, 0.0, 0.0]]], [[[nan, nan, nan]]], [[[nan, nan, nan]]]])
    belief = Bernoulli(torch.tensor([[[[3.0, 3.0, 3.0]]]]).expand(4, 1, 1, 3))
    references = ["mask", "control", "none", "mask"]  # of the last one every pixel is void
    subgroups = {"group_sex": ["f", None, "m", "f"]}
    cases = pl.DataFrame({"name": list("abcd"), "patient": "p", "group": "p", "reference": references, **subgroups})
    recorder = Recorder(CLEAN, CONFIG, groups=["p"], device=torch.device("cpu"))
    recorder.add(belief, torch.zeros(4, 1, 1, 3), masks, cases, changed=torch.zeros(4, 1, 1, 3))
    tables = recorder.tables()
    assert tables["records"]["group_sex"].to_list() == subgroups["group_sex"]
    part, control, unknown, void = tables["records"].rows(named=True)
    assert (part["pixels"], part["mask_px"], part["predicted_px"], part["intersection_px"]) == (2, 1, 2, 1)
    assert part["dice"] == pytest.approx(2 / 3)
    assert (control["pixels"], control["predicted_px"], control["mask_px"], control["harm"]) == (3, 3, 0, 1)
    assert control["dice"] is control["iou"] is None
    assert (unknown["pixels"], unknown["predicted_px"]) == (3, 3)
    assert all(unknown[name] is None for name in (*REFERENCED, "dice", "metric_precision"))
    assert (void["pixels"], void["predicted_px"]) == (0, 0)
    assert math.isnan(void["dice"])
    assert math.isnan(void["brier"])
    assert math.isnan(void["nll"])
    assert tables["histograms"]["count"].sum() == 5
    assert tables["calibration"].filter(pl.col("region") == "whole")["count"].sum() == 5


def test_of_another_population_only_predictions_and_scores_are_known() -> None:
    one = torch.ones(2, 1, 1, 4)
    elsewhere = Condition("lateral", population="somewhere")
    tables = recorded(Beta(3 * one, one), one, one, 0 * one, condition=elsewhere)
    row = tables["records"].row(0, named=True)
    assert (row["kind"], row["pixels"], row["predicted_px"]) == ("population", 4, 4)
    assert row["u_vacuity_mean"] == pytest.approx(0.5)
    assert all(row[name] is None for name in (*REFERENCED, "iou", "metric_sensitivity"))
    assert len(tables["histograms"]) == len(tables["calibration"]) == 0
    known = tables_for([[0.0] * 4, [0.0] * 4])
    assert all(tables[table].schema == known[table].schema for table in TABLES)  # so that they can be put together


@pytest.mark.parametrize("pixels", [1, 2, 7, 99, 100, 101, 200])
def test_strengths_are_those_of_numpy(pixels: int) -> None:
    alpha = torch.rand(1, 1, 1, pixels, generator=torch.Generator().manual_seed(pixels)) + 1
    row = recorded(Beta(alpha, alpha / 3), alpha, alpha, 0 * alpha)["records"].row(0, named=True)
    strength = (alpha + alpha / 3).double().numpy()
    expected = np.quantile(strength, (0.5, 0.99), method="inverted_cdf")
    assert [row["strength_median"], row["strength_p99"]] == expected.tolist()


def test_batches_add_up_to_the_whole() -> None:
    generator = torch.Generator().manual_seed(0)
    masks = (torch.rand(2, 1, 6, 6, generator=generator) > 0.5).float()
    logits = torch.randn(2, 1, 6, 6, generator=generator)
    parts = Recorder(CLEAN, CONFIG, groups=["p"], device=torch.device("cpu"))
    for row in range(2):
        one = slice(row, row + 1)
        parts.add(Bernoulli(logits[one]), masks[one], masks[one], CASES[one], changed=masks[one])
    whole = recorded(Bernoulli(logits), masks, masks, masks)
    assert all(parts.tables()[table].equals(whole[table]) for table in TABLES)


@pytest.mark.parametrize(("measures", "words"), [((), "no measures"), (("vacuity",), "none of vacuity")])
def test_a_belief_without_the_measures_names_those_it_has(measures: tuple[str, ...], words: str) -> None:
    pixel = torch.zeros(1, 1, 1, 1)
    with pytest.raises(BeliefError, match=rf"{words}; add one of entropy, variance to evaluation\.measures"):
        recorded(Bernoulli(pixel), pixel, pixel, pixel, config=CONFIG.model_copy(update={"measures": measures}))
