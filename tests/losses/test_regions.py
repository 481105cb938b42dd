"""Region losses, held against their definitions and another implementation."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from segmentation_models_pytorch.losses import LovaszLoss, TverskyLoss
from torch import Tensor

from trustseg.beliefs import Bernoulli, Beta
from trustseg.errors import ConfigError
from trustseg.losses import (
    binary_cross_entropy,
    boundary,
    focal_cross_entropy,
    focal_tversky,
    losses_of,
    lovasz,
    soft_dice,
    tversky,
)

MASKS = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]], [[[1.0, 1.0], [1.0, 0.0]]]])
QUARTER = Bernoulli(torch.full_like(MASKS, math.log(1 / 3)))  # p = 1/4


def drawn(seed: int, *shape: int) -> tuple[Bernoulli, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator, dtype=torch.float64)
    return Bernoulli(logits), (torch.rand(shape, generator=generator) < 0.4).double()


def test_worked_by_hand() -> None:
    # TP, FP, FN of p = 1/4: 1/4, 3/4, 3/4 and 3/4, 1/4, 9/4; prices 0.3 and 0.7, smoothing by 1.
    first, second = 0.75 / (1.25 + 0.75), (0.075 + 1.575) / (1.75 + 0.075 + 1.575)
    assert tversky(QUARTER, MASKS).tolist() == pytest.approx([first, second])
    assert focal_tversky(QUARTER, MASKS).tolist() == pytest.approx([first**0.75, second**0.75])
    # Sorted errors 3/4, 1/4, 1/4, 1/4: the IoU falls to 0 with the first, and to 2/3, 1/3, 0 with the first three.
    assert lovasz(QUARTER, MASKS).tolist() == pytest.approx([0.75, 0.75])
    # Distances 1, 1, 1, sqrt 2 of the background of the first, and of the foreground of the second.
    near, far = 0.25, 0.75
    expected = [(far + 2 * near + math.sqrt(2) * near) / 4, (2 * far + math.sqrt(2) * far + near) / 4]
    assert boundary(QUARTER, MASKS).tolist() == pytest.approx(expected)
    assert focal_cross_entropy(QUARTER, torch.ones_like(MASKS)).tolist() == pytest.approx([0.75**2 * math.log(4)] * 2)


def choquet(errors: list[float], mask: list[int]) -> float:
    """Return the integral over t of one minus the IoU of a prediction that is wrong where the error is at least t."""
    levels = sorted({0.0, *errors})
    area = 0.0
    for low, high in pairwise(levels):
        wrong = {i for i, error in enumerate(errors) if error >= high}
        union = wrong | {i for i, y in enumerate(mask) if y}
        area += (high - low) * len(wrong) / len(union)
    return area


@given(st.lists(st.tuples(st.floats(0.01, 0.99), st.booleans()), min_size=1, max_size=7))
def test_lovasz_is_the_integral_over_its_level_sets(pixels: list[tuple[float, bool]]) -> None:
    p, mask = [each for each, _ in pixels], [int(each) for _, each in pixels]
    belief = Bernoulli(torch.tensor(p, dtype=torch.float64).logit().view(1, 1, 1, -1))
    got = lovasz(belief, torch.tensor(mask, dtype=torch.float64).view(1, 1, 1, -1))
    assert got.item() == pytest.approx(choquet([abs(a - b) for a, b in zip(p, mask, strict=True)], mask), abs=1e-9)


@pytest.mark.oracle
@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_segmentation_models(seed: int) -> None:
    belief, masks = drawn(seed, 1, 1, 9, 7)
    theirs = TverskyLoss("binary", alpha=0.2, beta=0.9, smooth=0.5)(belief.logits, masks)
    torch.testing.assert_close(tversky(belief, masks, alpha=0.2, beta=0.9, smooth=0.5).squeeze(), theirs)
    as_errors = Bernoulli(torch.where(belief.logits > 0, math.inf, -math.inf))  # where hinge and error agree up to 2
    theirs = LovaszLoss("binary", per_image=True)(2 * as_errors.probability - 1, masks)
    torch.testing.assert_close(2 * lovasz(as_errors, masks).squeeze(), theirs, check_dtype=False)


def test_special_cases() -> None:
    belief, masks = drawn(0, 3, 1, 5, 4)
    torch.testing.assert_close(tversky(belief, masks, alpha=0.5, beta=0.5), soft_dice(belief, masks, smooth=2.0))
    torch.testing.assert_close(focal_tversky(belief, masks, gamma=1.0), tversky(belief, masks))
    torch.testing.assert_close(focal_cross_entropy(belief, masks, gamma=0.0), binary_cross_entropy(belief, masks))


@pytest.mark.parametrize("name", losses_of("region"))
def test_right_is_nothing_and_has_a_finite_gradient(name: str) -> None:
    for masks in (MASKS, torch.zeros_like(MASKS), torch.ones_like(MASKS)):
        logits = (200 * (2 * masks - 1)).requires_grad_()
        loss = losses_of("region")[name](Bernoulli(logits), masks)
        (gradient,) = torch.autograd.grad(loss.sum(), logits)
        assert loss.tolist() == pytest.approx([0, 0], abs=1e-6)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("name", losses_of("region"))
def test_an_empty_mask_pulls_the_probability_down(name: str) -> None:
    logits = torch.randn(1, 1, 3, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = losses_of("region")[name](Bernoulli(logits), torch.zeros(1, 1, 3, 2))
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert (gradient >= 0).all()
    assert gradient.max() > 0


@pytest.mark.parametrize(
    ("loss", "options", "words"),
    [
        (soft_dice, {"smooth": 0.0}, "above 0"),
        (soft_dice, {"smooth": math.nan}, "above 0"),
        (tversky, {"alpha": -1.0}, "alpha"),
        (focal_tversky, {"gamma": 0.5}, "gamma"),
        (focal_cross_entropy, {"gamma": -1.0}, "gamma"),
    ],
)
def test_options_out_of_range_are_refused(loss: Callable[..., Tensor], options: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        loss(*drawn(0, 1, 1, 2, 2), **options)


def test_soft_dice_by_hand() -> None:
    # p = 1/2 everywhere: 1 - (2 * 0.5 + 1) / (2 + 1 + 1) and 1 - (2 * 1.5 + 1) / (2 + 3 + 1).
    assert soft_dice(Bernoulli(torch.zeros_like(MASKS)), MASKS).tolist() == pytest.approx([1 / 2, 1 / 3])
    # p = 3/4: 1 - (2 * 0.75 + 0.5) / (3 + 1 + 0.5) and 1 - (2 * 2.25 + 0.5) / (3 + 3 + 0.5).
    belief = Beta(torch.full_like(MASKS, 6.0), torch.full_like(MASKS, 2.0))
    assert soft_dice(belief, MASKS, smooth=0.5).tolist() == pytest.approx([5 / 9, 3 / 13])
