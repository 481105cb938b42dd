"""The vacuity correction by hand, its gradient through softplus, and its edges."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from trustseg.beliefs import Bernoulli, Beta
from trustseg.errors import BeliefError, ConfigError, ShapeError
from trustseg.losses import vacuity_correction


def pixel(value: float, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.full((1, 1, 1, 1), value, dtype=dtype)


@pytest.mark.parametrize(
    ("alpha", "beta", "y", "prior", "expected"),
    [
        (1.5, 1.0, 1, 1.0, -0.8 * math.log(0.5)),
        (1.0, 1.5, 0, 1.0, -0.8 * math.log(0.5)),
        (5.0, 3.0, 1, 1.0, -0.25 * math.log(4)),
        (0.5, 0.3, 1, 0.1, -0.25 * math.log(0.4)),
        (2.0, 40.0, 1, 1.0, 0.0),  # evidence 1
    ],
)
def test_by_hand(alpha: float, beta: float, y: int, prior: float, expected: float) -> None:
    got = vacuity_correction(Beta(pixel(alpha), pixel(beta), prior), pixel(y)).item()
    assert got == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("logit", [-15.0, -10.0, -5.0, 0.0, 3.0])
def test_the_slope_is_the_vacuity_times_that_of_log_softplus(logit: float) -> None:
    free = pixel(logit).requires_grad_()
    belief = Beta(1 + softplus(free), 1 + softplus(pixel(-5.0)))
    (slope,) = torch.autograd.grad(vacuity_correction(belief, pixel(1)).sum(), free)
    expected = -belief.vacuity().item() / (1 + math.exp(-logit)) / math.log1p(math.exp(logit))
    assert slope.item() == pytest.approx(expected, rel=1e-6)


def test_pixels_without_evidence_are_revived_in_float32() -> None:
    logits = torch.tensor([-15.0, -12.0, -10.0, -8.0]).view(4, 1, 1, 1).requires_grad_()
    belief = Beta(1 + softplus(logits), torch.ones(4, 1, 1, 1))
    (slopes,) = torch.autograd.grad(vacuity_correction(belief, torch.ones(4, 1, 1, 1)).sum(), logits)
    assert (slopes < -0.6).all()
    assert (slopes > -1.3).all()


@pytest.mark.parametrize("y", [0.0, 1.0])
def test_finite_from_no_evidence_to_a_million(y: float) -> None:
    steps = torch.cat([torch.zeros(1), torch.logspace(-9, 6, 31)])
    grid = (1 + torch.cartesian_prod(steps, steps)).view(-1, 2, 1, 1, 1).requires_grad_()
    loss = vacuity_correction(Beta(grid[:, 0], grid[:, 1]), torch.full((len(grid), 1, 1, 1), y))
    (gradient,) = torch.autograd.grad(loss.sum(), grid)
    assert loss.isfinite().all()
    assert (loss <= 16).all()
    assert gradient.isfinite().all()


def test_the_vacuity_is_held_constant() -> None:
    right, wrong = pixel(3.0).requires_grad_(), pixel(2.0).requires_grad_()
    found = torch.autograd.grad(vacuity_correction(Beta(right, wrong), pixel(1)), [right, wrong])
    assert [slope.item() for slope in found] == pytest.approx([-0.4 / 2, 0])


def test_balance_and_refusals() -> None:
    belief = Beta(torch.tensor([[[[1.5, 2.0, 2.0]]]]), torch.tensor([[[[1.0, 1.5, 1.5]]]]))
    masks = torch.tensor([[[[1.0, 0.0, 0.0]]]])
    first, other = -0.8 * math.log(0.5), -(2 / 3.5) * math.log(0.5)
    assert vacuity_correction(belief, masks).item() == pytest.approx((first + 2 * other) / 3, rel=1e-5)
    assert vacuity_correction(belief, masks, balance="image").item() == pytest.approx((first + other) / 2, rel=1e-5)
    with pytest.raises(BeliefError, match="vacuity_correction needs a Beta belief, got a Bernoulli"):
        vacuity_correction(Bernoulli(pixel(0)), pixel(1))
    with pytest.raises(ShapeError, match="must have one shape"):
        vacuity_correction(belief, masks[0])
    with pytest.raises(ConfigError, match="unknown balance"):
        vacuity_correction(belief, masks, balance="pixel")  # type: ignore[arg-type]  # a wrong name on purpose
