"""How an interval comes from draws, and how it reads."""

import math

import numpy as np
import pytest
from scipy import stats

from trustseg.errors import ConfigError
from trustseg.statistics import Interval
from trustseg.statistics.interval import percentile_interval


def test_text_of_an_interval() -> None:
    interval = Interval(0.61234, 0.5441, 0.6709, count=80, patients=40)
    assert interval.text() == f"{interval}" == "0.612 [0.544, 0.671]"
    assert interval.text(1) == "0.6 [0.5, 0.7]"
    assert f"{interval:.1%}" == "61.2% [54.4%, 67.1%]"
    assert not interval.few_patients


def test_undefined_is_said_in_words() -> None:
    assert f"{Interval(math.nan, math.nan, math.nan, count=0, patients=0)}" == "undefined"
    alone = Interval(0.5, math.nan, math.nan, count=3, patients=19)
    assert f"{alone:+.2f}" == "+0.50 [no interval]"
    assert alone.few_patients
    assert not Interval(0.5, 0.4, 0.6, count=3, patients=20).few_patients


def test_the_ends_are_those_of_the_middle_95_percent() -> None:
    draws = np.random.default_rng(0).permutation(np.arange(1001.0))
    found = percentile_interval(500.0, draws, owner=np.arange(100_000), undefined=2)
    assert (found.value, found.low, found.high) == pytest.approx((500.0, 25.0, 975.0), rel=1e-3)
    assert (found.count, found.patients, found.undefined, found.undefined_draws) == (100_000, 100_000, 2, 0)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
def test_the_ends_are_those_of_the_confidence(confidence: float) -> None:
    draws = np.random.default_rng(0).permutation(np.arange(1001.0))
    found = percentile_interval(500.0, draws, owner=np.arange(100_000), confidence=confidence)
    assert (found.low, found.high) == pytest.approx((500 * (1 - confidence), 500 * (1 + confidence)), abs=0.5)
    few = percentile_interval(0.0, draws - 500, owner=np.arange(20), confidence=confidence)
    widened = stats.t.ppf((1 + confidence) / 2, 19) / stats.norm.ppf((1 + confidence) / 2) * math.sqrt(20 / 19)
    assert few.high == pytest.approx(500 * confidence * widened, rel=1e-3)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, math.nan])
def test_a_confidence_that_is_no_share_is_refused(confidence: float) -> None:
    with pytest.raises(ConfigError, match="confidence"):
        percentile_interval(0.0, np.arange(3.0), owner=np.arange(3), confidence=confidence)


def test_few_patients_and_unequal_ones_widen() -> None:
    draws = np.random.default_rng(0).normal(size=20_001)
    halves = []
    for owner in (np.arange(20), np.repeat(np.arange(20), np.arange(1, 21))):
        found = percentile_interval(0.0, draws, owner=owner)
        halves.append((found.high - found.low) / 2)
    effective = 210**2 / sum(size**2 for size in range(1, 21))
    for half, count in zip(halves, (20, effective), strict=True):
        assert half == pytest.approx(stats.t.ppf(0.975, count - 1) * math.sqrt(20 / 19), rel=0.02)


@pytest.mark.parametrize(("missing", "defined"), [(0, True), (5, True), (6, False), (100, False)])
def test_more_than_5_percent_of_undefined_draws_leave_no_interval(missing: int, defined: bool) -> None:
    draws = np.concatenate([np.full(missing, np.nan), np.full(100 - missing, 0.25)])
    found = percentile_interval(0.25, draws, owner=np.arange(30))
    assert found.undefined_draws == missing
    assert [found.low, found.high] == pytest.approx([0.25, 0.25] if defined else [math.nan] * 2, nan_ok=True)


def test_an_undefined_value_has_no_interval() -> None:
    found = percentile_interval(math.nan, np.ones(10), owner=np.arange(3))
    assert math.isnan(found.low)
    assert math.isnan(found.high)
