"""Conformal control against a loop over thresholds, enumeration and simulation."""

import importlib
import math
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, logit

from trustseg.deferral import apply_false_negative_control, expected_share, fit_false_negative_control
from trustseg.errors import ConfigError, DataError, ShapeError

Maps = list[NDArray[np.float32]]


def cohort(rng: np.random.Generator, count: int, *, levels: int = 1000) -> tuple[Maps, list[NDArray[np.bool_]]]:
    """Small probability maps in steps of 1 / levels, and masks that are more likely where p is high."""
    maps = [(rng.integers(0, levels + 1, (3, 5)) / levels).astype(np.float32) for _ in range(count)]
    return maps, [rng.random(p.shape) < p for p in maps]


@pytest.mark.parametrize("at_most", [0.1, 0.25, 0.6])
def test_the_largest_threshold_by_a_loop_in_fractions(at_most: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        maps, masks = cohort(rng, 24, levels=8)
        patients = [f"p{number % 17}" for number in range(24)]
        positive = sorted({name for name, mask in zip(patients, masks, strict=True) if mask.any()})
        best = -1.0
        for level in range(9):
            losses = []
            for name in positive:
                shares = [
                    Fraction(int((mask & (p < level / 8)).sum()), int(mask.sum()))
                    for p, mask, owner in zip(maps, masks, patients, strict=True)
                    if owner == name and mask.any()
                ]
                losses.append(sum(shares, Fraction(0)) / len(shares))
            if (sum(losses) + 1) / Fraction(len(positive) + 1) <= Fraction(str(at_most)):
                best = level / 8
        control = fit_false_negative_control(maps, masks, patients, at_most=at_most)
        # Between two levels nothing changes, so the largest value of p in a mask stands for them all.
        assert control.threshold == best
        assert (control.patients, control.images) == (len(positive), sum(mask.any() for mask in masks))


def test_the_expected_share_by_a_loop_over_pixels() -> None:
    for p in cohort(np.random.default_rng(2), 20, levels=7)[0]:
        chance = expit(logit(p.astype(np.float64)) / 1.5)
        slow = [[chance[p < each].sum() / chance.sum() for each in row] for row in p]
        np.testing.assert_allclose(expected_share(p), slow, atol=1e-12)
    assert (expected_share(np.zeros((2, 3))) == 0).all()
    assert (expected_share(np.ones((2, 3))) == 0).all()


def test_an_adaptive_control_thresholds_the_expected_share_of_the_whole_image() -> None:
    maps, masks = cohort(np.random.default_rng(3), 24)
    ignored = [np.where(np.arange(15).reshape(3, 5) % 4 == 0, np.nan, mask) for mask in masks]
    adaptive = fit_false_negative_control(maps, ignored, range(24), at_most=0.2, adaptive=True)
    plain = fit_false_negative_control([expected_share(p) for p in maps], ignored, range(24), at_most=0.2)
    assert (adaptive.threshold, adaptive.price) == (plain.threshold, plain.price)
    whole = apply_false_negative_control(adaptive, maps, masks, range(24))
    assert whole["set_px"].to_list() == [int(adaptive.mask(p).sum()) for p in maps]


@pytest.mark.oracle
@pytest.mark.parametrize("adaptive", [False, True])
def test_the_threshold_of_mapie(adaptive: bool) -> None:
    pytest.importorskip("mapie", minversion="1.6", exc_type=ImportError)
    control = importlib.import_module("mapie.risk_control")
    maps, masks = cohort(np.random.default_rng(4), 30)
    found = fit_false_negative_control(maps, masks, range(30), at_most=0.237, adaptive=adaptive)
    compared = np.array([expected_share(p).ravel() if adaptive else p.ravel() for p in maps])
    values = np.unique(compared)
    settings = {"risk": "recall", "method": "crc", "target_level": 1 - 0.237}
    between = np.r_[-1.0, (values[1:] + values[:-1]) / 2]  # its sets are open
    mapie = control.MultiLabelClassificationController(np.asarray, predict_params=between, **settings)
    best = float(
        mapie.calibrate(compared, np.array([mask.ravel() for mask in masks]).astype(int)).best_predict_param[0]
    )
    assert found.threshold == values[values > best].min()


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("at_most", [0.25, 0.4])
def test_the_bound_holds_over_every_choice_of_the_new_patient(at_most: float, adaptive: bool) -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        maps, masks = cohort(rng, 6, levels=6)
        masks = [mask | (np.arange(15).reshape(3, 5) == 7) for mask in masks]
        rates = []
        for new in range(6):
            rest = [number for number in range(6) if number != new]
            known = [maps[number] for number in rest], [masks[number] for number in rest]
            control = fit_false_negative_control(*known, rest, at_most=at_most, adaptive=adaptive)
            table = apply_false_negative_control(control, [maps[new]], [masks[new]], [new])
            rates.append(float(table["false_negative_rate"][0]))
        assert np.mean(rates) <= at_most + 1e-12


def test_too_few_patients_say_how_many_are_needed() -> None:
    maps, masks = [np.full((2, 2), 0.5)] * 8, [np.ones((2, 2))] * 8
    with pytest.raises(DataError, match="8 calibration patients have foreground, at least 9 are needed"):
        fit_false_negative_control(maps, masks, range(8), at_most=0.1)
    with pytest.raises(DataError, match=r"1 calibration patients .* at least 19"):
        fit_false_negative_control(maps, masks, [0] * 8, at_most=0.05)
    with pytest.raises(DataError, match="0 calibration patients"):
        fit_false_negative_control([], [], [])
    with pytest.raises(DataError, match="0 calibration patients"):
        fit_false_negative_control(maps, [np.zeros((2, 2))] * 8, range(8))
    assert fit_false_negative_control(maps + maps[:1], masks + masks[:1], range(9), at_most=0.1).threshold == 0.5


def test_price_false_area_and_undefined_rates() -> None:
    maps, masks = [np.array([[0.9, 0.8, 0.1]])] * 4, [np.array([[1, 0, 0]])] * 4
    control = fit_false_negative_control(maps, masks, "abcd", at_most=0.2)
    assert (control.threshold, control.price) == (0.9, 1.0)
    new = [np.array([[0.9, 0.95, 0.2]]), np.array([[1.0, 0.95, 0.0]]), np.array([[0.5, 0.95, 0.0]])]
    table = apply_false_negative_control(control, new, [[[1, 0, 0]], [[0, 0, 0]], [[1, 1, 1]]], "xyz")
    assert table["set_px"].to_list() == [2, 2, 1]
    assert table["mask_px"].to_list() == [1, 0, 3]
    rates = table["false_negative_rate"].to_list()
    assert rates[0] == 0.0
    assert math.isnan(rates[1])
    assert rates[2] == pytest.approx(2 / 3)
    assert apply_false_negative_control(control, [], [], []).shape == (0, 5)


def test_probabilities_of_exactly_zero_and_one() -> None:
    sure = fit_false_negative_control([[1.0, 0.0]] * 4, [[1, 0]] * 4, "abcd", at_most=0.2)
    assert (sure.threshold, sure.price) == (1.0, 1.0)
    blind = fit_false_negative_control([[0.0, 0.0]] * 4, [[1, 0]] * 4, "abcd", at_most=0.2)
    assert (blind.threshold, blind.price) == (0.0, 2.0)  # to miss nothing everything is predicted


@pytest.mark.parametrize(
    ("maps", "masks", "at_most", "words"),
    [
        *(([[0.5]], [[1]], at_most, "at_most is") for at_most in (0.0, 1.0, math.nan)),
        ([[0.5]], [[1], [1]], 0.1, "1 probability maps, 2 masks and 1 patients"),
        ([[0.5, 0.5]], [[1]], 0.1, r"image 0 has probabilities \(2,\) and a mask \(1,\)"),
        ([[0.5, 0.5]], [[0, 255]], 0.1, "mask of image 0 holds values other than 0 and 1"),
        *(([[value]], [[1]], 0.1, "image 0 hold NaN or values outside") for value in (math.nan, 1.5, -0.1)),
    ],
)
def test_bad_input_gets_its_sentence(
    maps: list[list[float]], masks: list[list[int]], at_most: float, words: str
) -> None:
    with pytest.raises((ConfigError, ShapeError), match=words):
        fit_false_negative_control(maps, masks, "a", at_most=at_most)
