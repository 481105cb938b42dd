"""Intervals of areas against a loop over thresholds, the definition of split conformal prediction, and simulation."""

import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from trustseg.deferral import (
    AreaInterval,
    apply_area_interval,
    fit_area_interval,
    fit_false_negative_control,
    load_area_interval,
)
from trustseg.errors import ConfigError, DataError


def cohort(seed: int, count: int) -> tuple[list[NDArray[np.float32]], list[NDArray[np.bool_]]]:
    rng = np.random.default_rng(seed)
    maps = [rng.beta(0.5, 0.5, (4, 6)).astype(np.float32) for _ in range(count)]
    return maps, [rng.random(p.shape) < p ** rng.uniform(0.3, 3) for p in maps]


@pytest.mark.parametrize("at_most", [0.1, 0.25, 0.5])
def test_the_largest_threshold_by_a_loop(at_most: float) -> None:
    maps, masks = cohort(0, 31)
    patients = [number % 23 for number in range(31)]
    candidates = np.unique(np.concatenate([np.float64(p).ravel() for p in maps]))
    candidates = np.unique([*candidates, *(1 - candidates), 0.5])
    needed = math.ceil((23 + 1) * (1 - at_most))
    best = 0.0
    for threshold in candidates[candidates <= 0.5]:
        interval = AreaInterval(threshold=float(threshold), at_most=at_most, patients=23, images=31)
        table = apply_area_interval(interval, maps, masks, patients)
        if table.group_by("patient").agg(pl.col("inside").all())["inside"].sum() >= needed:
            best = float(threshold)
    assert fit_area_interval(maps, masks, patients, at_most=at_most).threshold == best


def test_keeps_its_promise_over_calibration_sets() -> None:
    maps, masks = cohort(1, 4000)
    inside = []
    for start in range(0, 4000, 40):  # 39 patients for calibration, one to test
        rows = slice(start, start + 39)
        interval = fit_area_interval(maps[rows], masks[rows], range(39), at_most=0.2)
        new = slice(start + 39, start + 40)
        inside += apply_area_interval(interval, maps[new], masks[new], "p")["inside"].to_list()
    assert 0.7 < np.mean(inside) < 0.9  # 0.8 but for 2.5 standard errors


def test_ignored_pixels_are_in_no_area() -> None:
    p, mask = [0.9, 0.8, 0.3, 0.1], [1, math.nan, 0, 0]
    table = apply_area_interval(AreaInterval(threshold=0.3, at_most=0.1, patients=9, images=9), [p], [mask], "a")
    assert table.row(0) == ("a", 3, 1, 1, 1, 2, True)
    fitted = fit_area_interval([p] * 9, [mask] * 9, range(9), at_most=0.1)
    assert fitted == fit_area_interval([[0.9, 0.3, 0.1]] * 9, [[1, 0, 0]] * 9, range(9), at_most=0.1)


def test_an_image_that_is_ignored_is_no_calibration() -> None:
    ignored = [math.nan] * 3
    with pytest.raises(DataError, match="calibration patients: 8"):
        fit_area_interval([[0.2, 0.6, 0.9]] * 9, [[0, 0, 1]] * 8 + [ignored], range(9), at_most=0.1)


@pytest.mark.parametrize("whole", [0, 1])
def test_an_image_that_nothing_foretold_opens_the_interval(whole: int) -> None:
    p = np.full(5, 1.0 - whole, np.float32)
    interval = fit_area_interval([p] * 9, [np.full(5, whole)] * 9, range(9), at_most=0.1)
    assert interval.threshold == 0
    assert interval.limits(np.array([0.0, 0.4, 1.0])) == (0, 3)


def test_refuses_too_few_patients_and_other_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="calibration patients: 8, at least 9 are needed"):
        fit_area_interval([[0.1]] * 8, [[0]] * 8, range(8), at_most=0.1)
    with pytest.raises(ConfigError, match="at_most is 1"):
        fit_area_interval([[0.1]] * 8, [[0]] * 8, range(8), at_most=1)
    with pytest.raises(DataError, match="an image has no patient"):
        fit_area_interval([[0.1]] * 9, [[0]] * 9, [None] * 9, at_most=0.1)
    good = {"threshold": 0.3, "at_most": 0.1, "patients": 9, "images": 9, "model": "m"}
    control = asdict(fit_false_negative_control([[0.4]] * 9, [[1]] * 9, range(9), at_most=0.1))
    for content in ({}, control, good | {"threshold": 0.7}, good | {"patients": 0}, good | {"at_most": "0.1"}):
        (tmp_path / "area.json").write_text(json.dumps(content))
        with pytest.raises(DataError, match=r"area\.json' holds no interval"):
            load_area_interval(tmp_path / "area.json")
