"""The Fisher-weighted squared error against the paper's own form and exact determinants."""

from fractions import Fraction

import pytest
import torch
from scipy import special

from trustseg.beliefs import Beta
from trustseg.losses import bayes_risk_squared_error, fisher_squared_error
from trustseg.losses.fisher import _inverse_trigamma_excess, _log_determinant

PAIRS = [(1.0, 1.0, 1), (4.0, 1.0, 1), (2.5, 7.0, 0), (50.0, 2.0, 0), (0.5, 0.7, 1)]


def pixel(value: float) -> torch.Tensor:
    return torch.full((1, 1, 1, 1), value, dtype=torch.float64)


@pytest.mark.parametrize(("alpha", "beta", "y"), PAIRS)
@pytest.mark.parametrize("weight", [0.0, 0.05, 1.0])
def test_equals_the_papers_form_for_two_classes(alpha: float, beta: float, y: int, weight: float) -> None:
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


def test_large_equal_evidence_is_the_squared_error_over_it() -> None:
    # psi'(x) -> 1 / x, so that both classes weigh 1 / x.
    belief = Beta(pixel(1e5), pixel(1e5))
    got = fisher_squared_error(belief, pixel(1), determinant_weight=0).item()
    assert got == pytest.approx(bayes_risk_squared_error(belief, pixel(1)).item() / 1e5, rel=1e-4)


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_two_forms_meet(dtype: torch.dtype) -> None:
    switch = 16.0 if dtype == torch.float64 else 6.0
    around = torch.tensor([switch * (1 - 1e-6), switch * (1 + 1e-6)], dtype=dtype)
    below, above = _inverse_trigamma_excess(around).tolist()
    assert above == pytest.approx(below, abs=1e-5 if dtype == torch.float32 else 1e-7)


def test_the_determinant_holds_evidence_back() -> None:
    # At fixed p the squared error falls as evidence grows; with the determinant it rises again.
    scales = torch.logspace(0, 4, 30, dtype=torch.float64).view(-1, 1, 1, 1)
    belief, ones = Beta(3 * scales, scales), torch.ones_like(scales)
    free = fisher_squared_error(belief, ones, determinant_weight=0)
    held = fisher_squared_error(belief, ones, determinant_weight=0.05)
    assert (free.diff() < 0).all()
    assert 0 < int(held.argmin()) < 29
