"""Evidential losses against golden vectors, quadrature, logit gradients and population optima."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, optimize, special, stats
from tests.vectors import load_vectors
from torch import Tensor
from torch.nn.functional import softplus

from trustseg.beliefs import Beta
from trustseg.errors import BeliefError
from trustseg.losses import LOSSES, kl_to_uniform, losses_of

EVIDENTIAL = ("type_ii_likelihood", "bayes_risk_cross_entropy", "bayes_risk_squared_error", "kl_to_uniform")


def pixel(value: float, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.full((1, 1, 1, 1), value, dtype=dtype)


@pytest.mark.parametrize(("dtype", "rtol", "atol"), [(torch.float64, 1e-9, 1e-12), (torch.float32, 1e-4, 1e-6)])
def test_vectors(dtype: torch.dtype, rtol: float, atol: float) -> None:
    for case in load_vectors("evidential")["losses"]["cases"]:
        belief = Beta(pixel(case["alpha"], dtype), pixel(case["beta"], dtype))
        for name, expected in case["expect"].items():
            got = LOSSES[name](belief, pixel(case["y"])).item()
            assert got == pytest.approx(expected, rel=rtol, abs=atol), (case, name)


@pytest.mark.parametrize("y", [0, 1])
@pytest.mark.parametrize("pair", [(1.0, 1.0), (1.5, 4.0), (7.0, 2.5)])
def test_losses_equal_quadrature(pair: tuple[float, float], y: int) -> None:
    def mean_of(function: Callable[[float], float], a: float, b: float) -> float:
        density = stats.beta(a, b).pdf
        return float(integrate.quad(lambda t: function(t) * density(t), 0, 1, epsabs=1e-12, limit=200)[0])

    def chance(t: float) -> float:
        return t if y else 1 - t

    misleading = (1.0, pair[1]) if y else (pair[0], 1.0)
    expected = {
        "type_ii_likelihood": -math.log(mean_of(chance, *pair)),
        "bayes_risk_cross_entropy": mean_of(lambda t: -math.log(chance(t)), *pair),
        "bayes_risk_squared_error": mean_of(lambda t: 2 * (y - t) ** 2, *pair),
        "kl_to_uniform": -stats.beta(*misleading).entropy(),
    }
    for name, reference in expected.items():
        got = LOSSES[name](Beta(pixel(pair[0]), pixel(pair[1])), pixel(y)).item()
        assert got == pytest.approx(reference, abs=1e-9), name


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_logit_gradients(dtype: torch.dtype) -> None:
    rtol = 2e-6 if dtype == torch.float64 else 1e-3
    for case in load_vectors("evidential")["logit_gradients"]["cases"]:
        logit = pixel(case["logit_one"], dtype).requires_grad_()
        belief = Beta(1 + softplus(logit), 1 + softplus(pixel(case["logit_zero"], dtype)))
        for name, expected in case["expect"].items():
            (got,) = torch.autograd.grad(
                LOSSES[name](belief, pixel(case["y"])).sum(), logit, retain_graph=True, allow_unused=True
            )
            slope = 0.0 if got is None else got.item()
            assert slope == pytest.approx(expected, rel=rtol, abs=1e-9 if dtype == torch.float64 else 1e-6), name


def test_logit_gradients_by_hand() -> None:
    # d/dalpha ln(S / alpha) = -beta / (alpha S), times the sigmoid of the logit.
    logit = pixel(0.0).requires_grad_()
    belief = Beta(1 + softplus(logit), pixel(2.0))
    (got,) = torch.autograd.grad(LOSSES["type_ii_likelihood"](belief, pixel(1)).sum(), logit)
    alpha = 1 + math.log(2)
    assert got.item() == pytest.approx(-0.5 * 2 / (alpha * (alpha + 2)))


def population_optimum(loss: str, kl_weight: float, positive_rate: float) -> tuple[float, float]:
    """Return the alpha, beta that minimise the expected loss when P(y = 1) is known and data are endless."""
    chance = torch.tensor([positive_rate, 1 - positive_rate], dtype=torch.float64)
    masks = torch.tensor([1.0, 0.0], dtype=torch.float64).view(2, 1, 1, 1)

    def objective(logs: "np.ndarray[Any, np.dtype[np.float64]]") -> tuple[float, Any]:
        logs_ = torch.tensor(logs, requires_grad=True)
        alpha, beta = logs_.exp()
        belief = Beta(alpha.expand(2, 1, 1, 1), beta.expand(2, 1, 1, 1))
        risk = (chance * (losses_of("data")[loss](belief, masks) + kl_weight * kl_to_uniform(belief, masks))).sum()
        return risk.item(), torch.autograd.grad(risk, logs_)[0].numpy()

    found = optimize.minimize(
        objective,
        np.log([5.0, 3.0]),
        jac=True,
        bounds=[(0, None)] * 2,
        method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-10},
    )
    return float(np.exp(found.x[0])), float(np.exp(found.x[1]))


def test_population_optima() -> None:
    for case in load_vectors("evidential")["population_optima"]["cases"]:
        alpha, beta = population_optimum(case["loss"], case["kl_weight"], case["positive_rate"])
        assert alpha == pytest.approx(case["expect"]["alpha"], rel=1e-4), case
        assert beta == pytest.approx(case["expect"]["beta"], rel=1e-4), case


@pytest.mark.parametrize(("weight", "rate"), [(0.1, 0.9), (1.0, 0.9), (0.01, 0.99)])
def test_population_optimum_of_type_ii_has_a_closed_form(weight: float, rate: float) -> None:
    root = math.sqrt(rate**2 + 4 * weight * (1 + weight) * (1 - rate) ** 2)
    expected = (rate + root) / (2 * (1 - rate) * (1 + weight))
    assert population_optimum("type_ii_likelihood", weight, rate) == pytest.approx((expected, 1.0), rel=1e-4)


def test_the_default_loss_keeps_evidence_on_both_sides() -> None:
    alpha, beta = population_optimum("bayes_risk_cross_entropy", 0.1, 0.9)
    assert (alpha, beta) == pytest.approx((12.916331158, 1.518512508), rel=1e-4)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 2e-5), (torch.float64, 1e-11)])
def test_divergence_keeps_its_digits_near_no_evidence(dtype: torch.dtype, rtol: float) -> None:
    wrong = 1 + torch.logspace(-6, 6, 241, dtype=torch.float64).to(dtype)
    got = kl_to_uniform(
        Beta(torch.ones_like(wrong).view(-1, 1, 1, 1), wrong.view(-1, 1, 1, 1)), torch.ones(241, 1, 1, 1)
    )
    # ln(1 + e) - e / (1 + e) is the integral of t / (1 + t)^2 from 0 to e; its series for small e, term by term.
    e = wrong.double() - 1
    terms = torch.stack([(-1) ** k * (k - 1) / k * e**k for k in range(2, 40)]).sum(0)
    reference = torch.where(e < 0.3, terms, torch.log1p(e) - e / (1 + e))
    torch.testing.assert_close(got.double(), reference, rtol=rtol, atol=0)


@pytest.mark.parametrize("name", EVIDENTIAL)
@pytest.mark.parametrize("y", [0, 1])
def test_finite_values_and_gradients_for_any_evidence(name: str, y: int) -> None:
    steps = torch.cat([torch.zeros(1), torch.logspace(-6, 6, 25), torch.tensor([1e12])])
    grid = (1 + torch.cartesian_prod(steps, steps)).view(-1, 2, 1, 1, 1).requires_grad_()
    loss = LOSSES[name](Beta(grid[:, 0], grid[:, 1]), torch.full((len(grid), 1, 1, 1), float(y)))
    (gradient,) = torch.autograd.grad(loss.sum(), grid)
    assert loss.isfinite().all()
    assert (loss >= 0).all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", EVIDENTIAL)
def test_classes_are_treated_alike(name: str) -> None:
    generator = torch.Generator().manual_seed(2)
    alpha, beta = 1 + 9 * torch.rand(2, 3, 1, 2, 2, generator=generator)
    masks = (torch.rand(3, 1, 2, 2, generator=generator) < 0.5).float()
    there, back = LOSSES[name](Beta(alpha, beta), masks), LOSSES[name](Beta(beta, alpha), 1 - masks)
    torch.testing.assert_close(there, back, rtol=0, atol=0)


def test_bayes_cross_entropy_exceeds_that_of_the_mean() -> None:
    evidence = torch.logspace(-3, 4, 50, dtype=torch.float64).view(-1, 1, 1, 1)
    belief = Beta(1 + evidence, 1 + evidence.flip(0))
    ones = torch.ones_like(evidence)
    assert (LOSSES["bayes_risk_cross_entropy"](belief, ones) > LOSSES["type_ii_likelihood"](belief, ones)).all()


def test_type_ii_does_not_see_the_strength() -> None:
    masks = pixel(1.0)
    losses = [LOSSES["type_ii_likelihood"](Beta(pixel(3 * k), pixel(k)), masks).item() for k in (1.0, 10.0, 1e5)]
    assert losses == pytest.approx([losses[0]] * 3)


@pytest.mark.parametrize("prior", [0.1, 0.999, 2.0])
def test_divergence_with_another_prior_is_refused(prior: float) -> None:
    with pytest.raises(BeliefError, match=f"prior weight 1, got {prior}; set the prior to 1"):
        kl_to_uniform(Beta(pixel(3.0), pixel(3.0), prior), pixel(1.0))


def test_divergence_of_special_function_form() -> None:
    # KL(Beta(1, m) || Beta(1, 1)) through log-beta and digamma.
    m = 7.5
    reference = special.betaln(1, 1) - special.betaln(1, m) + (m - 1) * (special.psi(m) - special.psi(1 + m))
    assert kl_to_uniform(Beta(pixel(m), pixel(3.0)), pixel(0)).item() == pytest.approx(reference)
