"""Rank correlation against SciPy and against residuals of ranks."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trustseg.statistics import spearman, spearman_of_blocks

NAN = float("nan")


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=30))
def test_spearman_against_scipy(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, dtype=np.float64).T
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert math.isnan(spearman(x, y))
    else:
        assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


def test_partial_spearman_against_residuals() -> None:
    rng = np.random.default_rng(4)
    area = rng.random(300)
    x, y = area + 0.3 * rng.random(300), area + 0.3 * rng.random(300)
    ranks = [stats.rankdata(column) for column in (x, y, area)]
    left = [ranks[i] - np.polyval(np.polyfit(ranks[2], ranks[i], 1), ranks[2]) for i in range(2)]
    assert spearman(x, y) > 0.8
    assert spearman(x, y, given=area) == pytest.approx(np.corrcoef(*left)[0, 1], abs=1e-12)
    assert math.isnan(spearman(x, y, given=2 * x))


def test_spearman_leaves_nan_rows_out() -> None:
    assert spearman([1, 2, NAN, 3], [3, 2, 0, 1]) == pytest.approx(-1.0)
    assert math.isnan(spearman([1.0], [1.0]))


def test_spearman_of_blocks_equals_spearman_of_repeated_items() -> None:
    generator = np.random.default_rng(2)
    first, second, times = (generator.integers(0, high, 30) for high in (6, 8, 4))
    found = spearman_of_blocks(first, second, times)
    assert found == pytest.approx(spearman(np.repeat(first, times), np.repeat(second, times)), rel=1e-12)
    assert np.isnan(spearman_of_blocks([0, 0], [0, 1], [1, 1]))
    assert np.isnan(spearman_of_blocks([0, 1], [0, 1], [0, 0]))
    assert np.isnan(spearman_of_blocks([], [], []))
