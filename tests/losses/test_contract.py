"""What every entry of LOSSES keeps to, tested the moment it exists."""

import inspect
import math
from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor

from trustseg.beliefs import Belief, Bernoulli, Beta, Mixture
from trustseg.errors import BeliefError, ConfigError, ShapeError
from trustseg.losses import LOSSES, vacuity_correction

BETA_ONLY = {name for name, loss in LOSSES.items() if loss.facts.needs_beta}
SIZES = [(1, 1, 1, 1), (1, 1, 3, 2), (4, 1, 5, 7)]

every_loss = pytest.mark.parametrize("name", LOSSES)


def beta_from(evidence: Tensor) -> Beta:
    return Beta(1 + evidence[0], 1 + evidence[1])


def draw(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Return evidence (2, *shape) on both sides and masks of this shape."""
    generator = torch.Generator().manual_seed(4)
    evidence = torch.randn(2, *shape, generator=generator, dtype=dtype).exp()
    return evidence, (torch.rand(shape, generator=generator) < 0.3).to(dtype)


def beliefs_for(name: str, evidence: Tensor) -> list[Belief]:
    beta = beta_from(evidence)
    if name in BETA_ONLY:
        return [beta]
    bernoulli = Bernoulli(evidence[0] - evidence[1])
    return [beta, bernoulli, Mixture([beta, bernoulli])]


@every_loss
@pytest.mark.parametrize("shape", SIZES)
def test_one_finite_value_an_image(name: str, shape: tuple[int, ...]) -> None:
    evidence, masks = draw(shape)
    for belief in beliefs_for(name, evidence):
        for reference in (masks, torch.zeros_like(masks), torch.ones_like(masks)):
            loss = LOSSES[name](belief, reference)
            assert loss.shape == shape[:1]
            assert loss.dtype == torch.float32
            assert loss.isfinite().all()
            assert (loss >= 0).all()


@every_loss
def test_batch_split_and_permutation_change_nothing(name: str) -> None:
    evidence, masks = draw((4, 1, 5, 7))
    order = torch.tensor([2, 0, 3, 1])
    for whole, turned in zip(beliefs_for(name, evidence), beliefs_for(name, evidence[:, order]), strict=True):
        expected = LOSSES[name](whole, masks)
        torch.testing.assert_close(LOSSES[name](turned, masks[order]), expected[order])
    for i in range(4):
        for whole, one in zip(beliefs_for(name, evidence), beliefs_for(name, evidence[:, i : i + 1]), strict=True):
            torch.testing.assert_close(LOSSES[name](one, masks[i : i + 1]), LOSSES[name](whole, masks)[i : i + 1])


@every_loss
def test_gradcheck(name: str) -> None:
    evidence, masks = draw((2, 1, 2, 3), torch.float64)
    for i in range(len(beliefs_for(name, evidence))):
        assert torch.autograd.gradcheck(
            lambda e, i=i: LOSSES[name](beliefs_for(name, e)[i], masks), evidence.requires_grad_()
        )


@every_loss
def test_finite_values_and_gradients_in_float32(name: str) -> None:
    masks = torch.stack([torch.zeros(1, 4, 4), torch.ones(1, 4, 4), torch.eye(4)[None]])
    for scale in (0.0, 1e-6, 1.0, 1e6):
        evidence = (scale * torch.rand(2, 3, 1, 4, 4, generator=torch.Generator().manual_seed(5))).requires_grad_()
        for belief in beliefs_for(name, evidence):
            loss = LOSSES[name](belief, masks)
            (gradient,) = torch.autograd.grad(loss.sum(), evidence)
            assert loss.isfinite().all()
            assert gradient.isfinite().all()


@every_loss
def test_nan_is_passed_on(name: str) -> None:
    evidence, masks = draw((2, 1, 2, 2))
    evidence[0, 0] = math.nan
    masks[:] = 0  # the wrong side of the first image is NaN, and so is S
    for belief in beliefs_for(name, evidence):
        assert LOSSES[name](belief, masks).isnan().tolist() == [True, False]


@every_loss
def test_moving_belief_to_the_mask_lowers_it(name: str) -> None:
    _, masks = draw((4, 1, 5, 7))
    right, wrong = Beta(1 + 5 * masks, 6 - 5 * masks), Beta(6 - 5 * masks, 1 + 5 * masks)
    assert (LOSSES[name](right, masks) < LOSSES[name](wrong, masks)).all()


@every_loss
def test_other_masks_are_refused(name: str) -> None:
    evidence, _ = draw((4, 1, 5, 7))
    for belief, shape in product(beliefs_for(name, evidence), [(4, 1, 5, 6), (4, 5, 7), (1, 1, 5, 7), (4, 3, 5, 7)]):
        with pytest.raises(ShapeError, match="must have one shape"):
            LOSSES[name](belief, torch.zeros(shape))


@pytest.mark.parametrize("loss", [*(LOSSES[name] for name in sorted(BETA_ONLY)), vacuity_correction])
def test_evidential_losses_refuse_other_beliefs(loss: Callable[..., Tensor]) -> None:
    evidence, masks = draw((1, 1, 2, 2))
    for belief in (Bernoulli(evidence[0]), Mixture([beta_from(evidence)])):
        with pytest.raises(BeliefError, match=f"{loss.__name__} needs a Beta belief, got a {type(belief).__name__}"):
            loss(belief, masks)


@every_loss
def test_docstring_gives_formula_and_source(name: str) -> None:
    text = inspect.getdoc(LOSSES[name]) or ""
    for part in ("loss = ", "Reference:"):
        assert part in text, part


@pytest.mark.parametrize("loss", [*(each for each in LOSSES.values() if each.takes("balance")), vacuity_correction])
def test_balance_is_the_mean_of_the_means_over_both_classes(loss: Callable[..., Tensor]) -> None:
    evidence, masks = draw((3, 1, 5, 4))
    belief = beta_from(evidence)
    classes = [loss(belief, masks.where(masks == own, math.nan)) for own in (0, 1)]
    torch.testing.assert_close(loss(belief, masks, balance="image"), sum(classes) / 2)
    with pytest.raises(ConfigError, match="unknown balance 'pixel'"):
        loss(belief, masks, balance="pixel")
