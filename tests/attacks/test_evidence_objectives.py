"""Objectives on evidence against quadrature and slopes by hand."""

import math
from collections.abc import Callable

import pytest
import torch
from scipy import integrate, stats
from torch import Tensor

from trustseg.attacks.evidence_objectives import digamma, evidence_margin, pixel_mean
from trustseg.beliefs import Bernoulli, Beta, Mixture
from trustseg.errors import BeliefError


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (5.5, 2.0), (2.0, 30.0)])
@pytest.mark.parametrize("y", [0, 1])
def test_digamma_is_the_expected_cross_entropy(alpha: float, beta: float, y: int) -> None:
    def integrand(theta: float) -> float:
        return float(-math.log(theta if y else 1 - theta) * stats.beta.pdf(theta, alpha, beta))

    pixel = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    got = digamma(Beta(alpha * pixel, beta * pixel), y * pixel, 0.0).item()
    assert got == pytest.approx(integrate.quad(integrand, 0, 1)[0], rel=1e-6)


def test_evidence_margin_does_not_fade_with_evidence() -> None:
    for evidence in (1.0, 1e4):
        alpha = torch.full((1, 1, 1, 1), 1 + evidence, requires_grad=True)
        beta = torch.ones(1, 1, 1, 1)
        values = evidence_margin(Beta(alpha, beta), torch.ones(1, 1, 1, 1), 0.0)
        assert values.item() == -evidence
        assert torch.autograd.grad(values.sum(), alpha)[0].item() == -1


def test_evidence_margin_by_hand() -> None:
    alpha = torch.tensor([[[[3.0, 1.0, 2.0]]], [[[1.0, 1.0, 1.0]]]])
    beta = torch.tensor([[[[1.0, 5.0, 2.0]]], [[[4.0, 1.0, 2.0]]]])
    masks = torch.tensor([[[[1.0, 1.0, 0.0]]], [[[0.0, 0.0, 0.0]]]])
    assert evidence_margin(Beta(alpha, beta), masks).tolist() == pytest.approx([(-2 + 4 + 0) / 3, (-3 + 0 - 1) / 3])


def test_each_image_has_its_own_mean() -> None:
    alpha, beta = (1 + 9 * torch.rand(3, 1, 5, 3, dtype=torch.float64) for _ in range(2))
    masks = (torch.rand(3, 1, 5, 3) > 0.5).double()
    masks[1], masks[2] = 0, 1
    for objective in (digamma, evidence_margin):
        together = objective(Beta(alpha, beta), masks)
        alone = [objective(Beta(alpha[[row]], beta[[row]]), masks[[row]]).item() for row in range(3)]
        assert together.tolist() == pytest.approx(alone)
    values = torch.tensor([[[[1.0, 4.0]]], [[[0.0, -2.0]]]])
    assert pixel_mean(values, torch.ones_like(values).bool()).tolist() == [2.5, -1.0]


@pytest.mark.parametrize("objective", [digamma, evidence_margin])
def test_other_beliefs_are_refused(objective: Callable[..., Tensor]) -> None:
    other = Bernoulli(torch.zeros(1, 1, 2, 2))
    for belief in (other, Mixture([other, other])):
        with pytest.raises(BeliefError, match=f"needs a Beta belief, got a {type(belief).__name__}; choose 'cross_"):
            objective(belief, torch.ones(1, 1, 2, 2))
