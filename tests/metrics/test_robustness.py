"""Undetected harm case by case, and survival against brackets of known budgets."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.policies import policy_with

from trustseg.errors import ConfigError, ShapeError
from trustseg.metrics import survivors, undetected_harm

NAN = math.nan


@pytest.mark.parametrize(
    ("clean_dice", "dice", "score", "empty", "false_positive", "expected"),
    [
        (0.9, 0.5, 0.1, False, 0.0, True),
        (0.9, 0.5, 0.25, False, 0.0, True),  # a score at the threshold is kept
        (0.9, 0.5, 0.3, False, 0.0, False),
        (0.75, 0.625, 0.1, False, 0.0, True),  # falls by exactly the 0.125 asked for
        (0.75, 0.6875, 0.1, False, 0.5, False),  # false positives count only where the mask is empty
        (0.5, 0.9, 0.1, False, 0.0, False),
        (0.9, 0.5, -math.inf, False, NAN, True),
        (0.9, 0.5, math.inf, False, NAN, False),
        (NAN, 0.0, 0.1, True, 0.01, True),
        (NAN, 0.0, 0.1, True, 0.0099, False),
        (NAN, NAN, 0.1, True, 0.0, False),
        (NAN, 0.0, 0.3, True, 0.5, False),
        (0.9, 0.1, 0.1, True, 0.0, False),
    ],
)
def test_undetected_harm(
    clean_dice: float, dice: float, score: float, empty: bool, false_positive: float, expected: bool
) -> None:
    got = undetected_harm(
        torch.tensor([clean_dice]),
        torch.tensor([dice]),
        torch.tensor([score]),
        torch.tensor([empty]),
        torch.tensor([false_positive]),
        threshold=0.25,
        drop=0.125,
    )
    assert got.tolist() == [expected]
    assert got.dtype == torch.bool


def test_kept_is_what_a_policy_keeps() -> None:
    scores = torch.tensor([-math.inf, 0.1, 0.2, 0.3, math.inf])
    one, zero = torch.ones(5), torch.zeros(5)
    for threshold in (-math.inf, 0.1, 0.2, 1.0, math.inf):
        policy = policy_with(threshold=threshold)
        harmed = undetected_harm(one, zero, scores, zero.bool(), zero, threshold=threshold)
        assert harmed.tolist() == (~policy.review(scores.numpy())).tolist()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dice": torch.zeros(3)}, r"must be \(B,\)"),
        ({name: torch.zeros(1, 1) for name in ("clean_dice", "dice", "scores")}, r"must be \(B,\)"),
        ({"scores": torch.tensor([0.1, NAN])}, "is NaN"),
        ({"dice": torch.tensor([0.1, NAN])}, "mark images without foreground as empty"),
        ({"clean_dice": torch.tensor([0.1, NAN])}, "is NaN"),
        ({"empty": torch.tensor([False, True]), "false_positive_fraction": torch.tensor([0.0, NAN])}, "is NaN"),
        ({"threshold": NAN}, "threshold is nan"),
    ],
)
def test_refuses(changes: dict[str, object], words: str) -> None:
    values: dict[str, object] = {
        "clean_dice": torch.ones(2),
        "dice": torch.zeros(2),
        "scores": torch.zeros(2),
        "empty": torch.zeros(2, dtype=torch.bool),
        "false_positive_fraction": torch.zeros(2),
        "threshold": 0.2,
    }
    with pytest.raises((ConfigError, ShapeError), match=words):
        undetected_harm(**(values | changes))  # type: ignore[arg-type,type-var]  # on purpose


def test_a_worked_case() -> None:
    # one broken already, two brackets that overlap, one censored
    holds, breaks = torch.tensor([0.0, 1.0, 2.0, 8.0]), torch.tensor([0.0, 4.0, 3.0, math.inf])
    lower, upper = survivors(holds, breaks, torch.tensor([0, 1, 2, 3, 4, 8]))
    assert lower.double().mean(dim=0).tolist() == [0.75, 0.75, 0.5, 0.25, 0.25, 0.25]
    assert upper.double().mean(dim=0).tolist() == [0.75, 0.75, 0.75, 0.5, 0.25, 0.25]


bracket = st.one_of(
    st.just((0.0, 0.0)),  # broken already
    st.tuples(st.integers(0, 6), st.sampled_from([1, 2, 4, math.inf])).map(lambda pair: (pair[0], sum(pair))),
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
        ([math.inf], [math.inf]),
    ],
)
def test_brackets_that_are_none_are_refused(holds: list[float], breaks: list[float]) -> None:
    with pytest.raises(ShapeError):
        survivors(np.array(holds), np.array(breaks), np.zeros(1))
