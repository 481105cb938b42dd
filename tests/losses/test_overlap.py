"""Soft Dice, held against masks worked by hand."""

import math

import pytest
import torch

from trustseg.beliefs import Bernoulli, Beta
from trustseg.errors import ConfigError
from trustseg.losses import soft_dice

MASKS = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]], [[[1.0, 1.0], [1.0, 0.0]]]])


def certain(masks: torch.Tensor) -> Bernoulli:
    return Bernoulli(torch.where(masks > 0.5, math.inf, -math.inf))


def test_worked_by_hand() -> None:
    # p = 1/2 everywhere: 1 - (2 * 0.5 + 1) / (2 + 1 + 1) and 1 - (2 * 1.5 + 1) / (2 + 3 + 1).
    assert soft_dice(Bernoulli(torch.zeros_like(MASKS)), MASKS).tolist() == pytest.approx([1 / 2, 1 / 3])
    # p = 3/4: 1 - (2 * 0.75 + 0.5) / (3 + 1 + 0.5) and 1 - (2 * 2.25 + 0.5) / (3 + 3 + 0.5).
    belief = Beta(torch.full_like(MASKS, 6.0), torch.full_like(MASKS, 2.0))
    assert soft_dice(belief, MASKS, smooth=0.5).tolist() == pytest.approx([5 / 9, 3 / 13])


def test_perfect_and_opposite() -> None:
    assert soft_dice(certain(MASKS), MASKS).tolist() == [0, 0]
    assert soft_dice(certain(1 - MASKS), MASKS).tolist() == pytest.approx([1 - 1 / 5, 1 - 1 / 5])


def test_empty_mask_pulls_the_probability_down() -> None:
    empty = torch.zeros(1, 1, 3, 2)
    assert soft_dice(certain(empty), empty).item() == 0
    logits = torch.zeros(1, 1, 3, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(soft_dice(Bernoulli(logits), empty).sum(), logits)
    assert (gradient > 0).all()


def test_evidence_at_a_fixed_mean_changes_nothing() -> None:
    alpha, beta = 1 + 3 * MASKS, 4 - 3 * MASKS
    expected = soft_dice(Beta(alpha, beta), MASKS)
    for factor in (10.0, 1e6):
        torch.testing.assert_close(soft_dice(Beta(factor * alpha, factor * beta), MASKS), expected)


@pytest.mark.parametrize("smooth", [0.0, -1.0, math.nan])
def test_no_smoothing_is_refused(smooth: float) -> None:
    with pytest.raises(ConfigError, match="above 0"):
        soft_dice(certain(MASKS), MASKS, smooth=smooth)
