import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trustseg.errors import ShapeError
from trustseg.metrics import survivors

NEVER = math.inf


def test_a_worked_case() -> None:
    # one broken already, two brackets that overlap, one censored
    holds, breaks = torch.tensor([0.0, 1.0, 2.0, 8.0]), torch.tensor([0.0, 4.0, 3.0, NEVER])
    lower, upper = survivors(holds, breaks, torch.tensor([0, 1, 2, 3, 4, 8]))
    assert lower.double().mean(dim=0).tolist() == [0.75, 0.75, 0.5, 0.25, 0.25, 0.25]
    assert upper.double().mean(dim=0).tolist() == [0.75, 0.75, 0.75, 0.5, 0.25, 0.25]


bracket = st.one_of(
    st.just((0.0, 0.0)),  # broken already
    st.tuples(st.integers(0, 6), st.sampled_from([1, 2, 4, NEVER])).map(lambda pair: (pair[0], sum(pair))),
)


@given(st.lists(bracket, max_size=9))
def test_each_curve_is_the_share_above_one_end_of_the_brackets(ends: list[tuple[float, float]]) -> None:
    holds, breaks = np.array(ends, dtype=np.float64).reshape(-1, 2).T
    grid = np.arange(0, 15) / 2
    lower, upper = survivors(holds, breaks, grid)
    assert lower.shape == upper.shape == (len(ends), 15)
    assert (lower <= upper).all()
    # the largest budget each image may truly need is its upper end, the smallest just above its lower end
    assert np.array_equal(upper, [[value > eps for eps in grid] for value in breaks] or np.empty((0, 15)))
    least = np.where(breaks > 0, holds + 1e-9, 0.0)
    assert np.array_equal(lower, [[value > eps for eps in grid] for value in least] or np.empty((0, 15)))


@pytest.mark.parametrize(
    ("holds", "breaks"),
    [
        ([0.0], [1.0, 2.0]),
        ([[0.0]], [[1.0]]),
        ([-1.0], [1.0]),
        ([2.0], [1.0]),
        ([math.nan], [1.0]),
        ([1.0], [math.nan]),
        ([NEVER], [NEVER]),
    ],
)
def test_refuses(holds: list[float], breaks: list[float]) -> None:
    with pytest.raises(ShapeError):
        survivors(np.array(holds), np.array(breaks), np.zeros(1))
