"""Tie blocks against loops over items, each order of ties averaged by hand."""

import math
from fractions import Fraction
from itertools import accumulate

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trustseg.metrics.ranking import error_of_kept
from trustseg.metrics.tie_blocks import (
    Blocks,
    checked_ranking,
    kept_grid,
    tie_blocks,
)

SOME = Blocks(torch.tensor([2.0, 0.0, 3.0, 1.0]).double(), torch.tensor([0.5, 0.0, 1.5, 1.0]).double())
items = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 2, 4])), min_size=1, max_size=12)


def blocks_of(pairs: list[tuple[int, int]]) -> tuple[Blocks, list[Fraction]]:
    """Return the tie blocks of (uncertainty, error) pairs, and the expected error of the k-th surest item."""
    means = {
        key: Fraction(sum(error for other, error in pairs if other == key), sum(other == key for other, _ in pairs))
        for key, _ in pairs
    }
    uncertainty, error = (torch.tensor([pair[place] for pair in pairs]).double() for place in (0, 1))
    return tie_blocks(uncertainty, error), [means[key] for key, _ in sorted(pairs)]


def test_a_block_for_each_distinct_value_in_rising_order() -> None:
    order = torch.tensor([0.3, -1.0, 0.3, math.inf, 0.3])
    counts, sums = tie_blocks(order, torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0]).double())
    assert counts.tolist() == [1, 3, 1]
    assert sums.tolist() == [2, 21, 8]
    assert counts.dtype == sums.dtype == torch.float64
    assert tie_blocks(torch.zeros(0), torch.zeros(0).double()).counts.shape == (0,)


@settings(deadline=None, max_examples=60)
@given(items)
def test_error_and_risk_of_the_kept(pairs: list[tuple[int, int]]) -> None:
    blocks, expected = blocks_of(pairs)
    totals = [float(total) for total in accumulate(expected)]
    found = error_of_kept(*blocks, torch.arange(1, len(pairs) + 1).double())
    assert found.tolist() == pytest.approx(totals)


def test_between_two_items_the_error_grows_linearly() -> None:
    kept = torch.tensor([0.5, 1.5, 2.0, 3.25, 5.5, 6.0]).double()
    assert error_of_kept(*SOME, kept).tolist() == pytest.approx([0.125, 0.375, 0.5, 1.125, 2.5, 3.0])


@pytest.mark.parametrize("count", [1, 2, 7, 100])
@pytest.mark.parametrize("points", [None, 1, 2, 3, 7, 99, 100, 1000])
def test_a_grid_rises_to_all_items(count: int, points: int | None) -> None:
    grid = kept_grid(count, points)
    assert len(grid) == (count if points is None else min(points, count))
    assert grid[-1] == count
    assert grid[0] >= 1
    assert bool((grid.diff() >= 1).all())
    assert torch.equal(grid, grid.round())
    assert float((grid.diff() - count / len(grid)).abs().max() if len(grid) > 1 else 0) < 1  # evenly


def test_a_grid_keeps_at_least_its_share() -> None:
    assert kept_grid(7, 3).tolist() == [3, 5, 7]  # thirds of 7, rounded up
    assert kept_grid(100, 99).tolist()[:3] == [2, 3, 4]


def test_what_is_ranked_is_flat_and_in_types_that_tell_values_apart() -> None:
    uncertainty = torch.tensor([[0.1, math.inf]], dtype=torch.bfloat16, requires_grad=True)
    flat, error = checked_ranking(uncertainty, torch.tensor([[True, False]]))
    assert (flat.dtype, error.dtype) == (torch.float32, torch.float64)
    assert error.tolist() == [1, 0]
    assert flat.shape == (2,)
    assert not flat.requires_grad
    assert checked_ranking(torch.tensor([2**24 + 1]), torch.zeros(1))[0].tolist() == [2**24 + 1]  # whole numbers stay
