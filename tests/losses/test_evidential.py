"""Evidential losses against golden vectors, quadrature, logit gradients, population optima and exact determinants."""

import math
from collections.abc import Callable
from fractions import Fraction
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
from trustseg.losses import LOSSES, fisher_squared_error, kl_to_uniform, losses_of, vacuity_correction
from trustseg.losses.evidential import _log_determinant

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


@pytest.mark.parametrize("prior", [0.1, 0.999, 2.0])
def test_divergence_with_another_prior_is_refused(prior: float) -> None:
    with pytest.raises(BeliefError, match=f"prior weight 1, got {prior}; set the prior to 1"):
        kl_to_uniform(Beta(pixel(3.0), pixel(3.0), prior), pixel(1.0))


@pytest.mark.parametrize(
    ("alpha", "beta", "y"), [(1.0, 1.0, 1), (4.0, 1.0, 1), (2.5, 7.0, 0), (50.0, 2.0, 0), (0.5, 0.7, 1)]
)
@pytest.mark.parametrize("weight", [0.0, 0.05, 1.0])
def test_fisher_equals_the_papers_form_for_two_classes(alpha: float, beta: float, y: int, weight: float) -> None:
    strength = alpha + beta
    loss = 0.0
    product, shared = 1.0, 1.0
    for concentration, target in ((alpha, y), (beta, 1 - y)):
        information = float(special.polygamma(1, concentration))
        error = (target - concentration / strength) ** 2
        variance = concentration * (strength - concentration) / (strength**2 * (strength + 1))
        loss += information * (error + variance)
        product *= information
        shared -= float(special.polygamma(1, strength)) / information
    loss -= weight * float(torch.log(torch.tensor(product * shared, dtype=torch.float64)))
    got = fisher_squared_error(Beta(pixel(alpha), pixel(beta)), pixel(y), determinant_weight=weight)
    assert got.item() == pytest.approx(loss, rel=1e-7)


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 2e-5), (torch.float64, 2e-8)])
def test_the_determinant_keeps_its_digits(dtype: torch.dtype, atol: float) -> None:
    # Whole numbers: psi'(n) = pi^2 / 6 minus a sum, in 60 digits by fractions; near n = 10^6 by its series.
    pi_squared_over_6 = Fraction("1.644934066848226436472415166646025189218949901206798437735558")

    def trigamma(n: int) -> Fraction:
        if n > 500:
            i = Fraction(1, n)
            return i + i**2 / 2 + i**3 / 6 - i**5 / 30 + i**7 / 42 - i**9 / 30
        return pi_squared_over_6 - sum(Fraction(1, k * k) for k in range(1, n))

    for a in (1, 2, 5, 6, 7, 15, 17, 40, 1000, 10**6):
        for b in (1, 3, 16, 300, 10**6):
            exact = trigamma(a) * trigamma(b) - trigamma(a + b) * (trigamma(a) + trigamma(b))
            expected = torch.tensor(float(exact), dtype=torch.float64).log().item()
            got = _log_determinant(torch.tensor(float(a), dtype=dtype), torch.tensor(float(b), dtype=dtype)).item()
            assert got == pytest.approx(expected, abs=atol), (a, b)


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
def test_vacuity_correction_by_hand(alpha: float, beta: float, y: int, prior: float, expected: float) -> None:
    got = vacuity_correction(Beta(pixel(alpha), pixel(beta), prior), pixel(y)).item()
    assert got == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("logit", [-15.0, -10.0, -5.0, 0.0, 3.0])
def test_the_slope_is_the_vacuity_times_that_of_log_softplus(logit: float) -> None:
    free = pixel(logit).requires_grad_()
    belief = Beta(1 + softplus(free), 1 + softplus(pixel(-5.0)))
    (slope,) = torch.autograd.grad(vacuity_correction(belief, pixel(1)).sum(), free)
    expected = -belief.vacuity().item() / (1 + math.exp(-logit)) / math.log1p(math.exp(logit))
    assert slope.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("y", [0.0, 1.0])
def test_vacuity_correction_is_finite_from_no_evidence_to_a_million(y: float) -> None:
    steps = torch.cat([torch.zeros(1), torch.logspace(-9, 6, 31)])
    grid = (1 + torch.cartesian_prod(steps, steps)).view(-1, 2, 1, 1, 1).requires_grad_()
    loss = vacuity_correction(Beta(grid[:, 0], grid[:, 1]), torch.full((len(grid), 1, 1, 1), y))
    (gradient,) = torch.autograd.grad(loss.sum(), grid)
    assert loss.isfinite().all()
    assert (loss <= 16).all()
    assert gradient.isfinite().all()
