"""Betas against golden vectors, quadrature and definitions evaluated with 50 digits."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy import integrate, special, stats
from tests.beliefs.given import TOLERANCE, beta, value
from tests.vectors import load_vectors
from torch import Tensor

from trustseg.beliefs import Beta
from trustseg.errors import ShapeError


def evidence_grid(dtype: torch.dtype) -> Tensor:
    """Return (N, 2) pairs of alpha, beta: one-sided, two-sided and balanced evidence from 1e-3 to 1e6."""
    steps = torch.logspace(-3, 6, 46, dtype=torch.float64)
    zero = torch.zeros_like(steps)
    pairs = [
        torch.stack([steps, zero], dim=1),
        torch.stack([steps, zero + 1e-3], dim=1),
        torch.stack([steps, 1.1 * steps], dim=1),
        torch.cartesian_prod(steps[::5], steps[::5]),
    ]
    one_way = torch.cat(pairs)
    return (1 + torch.cat([one_way, one_way.flip(1)])).to(dtype)


def exact(alpha: float, beta: float) -> dict[str, Any]:
    """Return the entropies of Beta(alpha, beta) by their definitions, with 50 digits."""
    mp = pytest.importorskip("mpmath")
    with mp.workdps(50):
        a, b = mp.mpf(alpha), mp.mpf(beta)
        s = a + b
        entropy = -a / s * mp.log(a / s) - b / s * mp.log(b / s)
        expected = mp.psi(0, s + 1) - a / s * mp.psi(0, a + 1) - b / s * mp.psi(0, b + 1)
        log_beta = mp.loggamma(a) + mp.loggamma(b) - mp.loggamma(s)
        differential = log_beta - (a - 1) * mp.psi(0, a) - (b - 1) * mp.psi(0, b) + (s - 2) * mp.psi(0, s)
        return {
            "entropy": entropy,
            "expected_entropy": expected,
            "mutual_information": entropy - expected,
            "differential_entropy": differential,
        }


class TestBeta:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    @pytest.mark.parametrize("kind", ["measures", "prior_measures"])
    def test_vectors(self, kind: str, dtype: torch.dtype) -> None:
        rtol, atol = TOLERANCE[dtype]
        for case in load_vectors("evidential")[kind]["cases"]:
            belief = beta(case["alpha"], case["beta"], prior=case.get("prior", 1.0), dtype=dtype)
            for name, expected in case["expect"].items():
                assert value(belief, name).item() == pytest.approx(expected, rel=rtol, abs=atol), (case, name)

    @pytest.mark.parametrize("pair", [(1.0, 1.0), (4.0, 1.3), (2.5, 9.0), (40.0, 60.0)])
    def test_measures_equal_quadrature(self, pair: tuple[float, float]) -> None:
        density = stats.beta(*pair).pdf

        def mean_of(function: Callable[[float], float]) -> float:
            return float(integrate.quad(lambda t: function(t) * density(t), 0, 1, epsabs=1e-12, limit=200)[0])

        p = mean_of(lambda t: t)
        expected = {
            "probability": p,
            "variance": p * (1 - p),
            "epistemic_variance": mean_of(lambda t: (t - p) ** 2),
            "aleatoric_variance": mean_of(lambda t: t * (1 - t)),
            "entropy": special.entr(p) + special.entr(1 - p),
            "expected_entropy": mean_of(lambda t: special.entr(t) + special.entr(1 - t)),
            "differential_entropy": stats.beta(*pair).entropy(),
        }
        expected["mutual_information"] = expected["entropy"] - expected["expected_entropy"]
        for name, reference in expected.items():
            assert value(beta(*pair), name).item() == pytest.approx(reference, abs=1e-9), name

    @pytest.mark.parametrize(
        ("dtype", "mutual_rtol", "differential_atol"), [(torch.float32, 7e-6, 3e-6), (torch.float64, 1e-13, 4e-13)]
    )
    def test_numerics_from_little_to_much_evidence(
        self, dtype: torch.dtype, mutual_rtol: float, differential_atol: float
    ) -> None:
        grid = evidence_grid(dtype)
        belief = Beta(grid[:, 0], grid[:, 1])
        got = {name: belief.uncertainty(name).tolist() for name in Beta.measures}
        for i, (a, b) in enumerate(grid.tolist()):
            reference = exact(a, b)
            mutual = reference["mutual_information"]
            assert abs(got["mutual_information"][i] - mutual) <= mutual_rtol * mutual, (a, b)
            for name, atol in (("differential_entropy", differential_atol), ("expected_entropy", differential_atol)):
                assert abs(got[name][i] - reference[name]) <= atol, (name, a, b)
            assert abs(got["entropy"][i] - reference["entropy"]) <= differential_atol / 5, (a, b)

    def test_forms_join_where_the_series_begins(self) -> None:
        for dtype, switch, atol in ((torch.float32, 8.0, 5e-6), (torch.float64, 30.0, 1e-12)):
            below = torch.tensor([switch], dtype=dtype)
            above = torch.nextafter(below, torch.tensor([math.inf], dtype=dtype))
            for name in ("mutual_information", "differential_entropy"):
                left, right = (Beta(x, torch.ones_like(x)).uncertainty(name) for x in (below, above))
                torch.testing.assert_close(left, right, rtol=0, atol=atol)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("name", Beta.measures)
    def test_finite_values_and_gradients(self, name: str, dtype: torch.dtype) -> None:
        grid = torch.cat([evidence_grid(dtype), torch.tensor([[1.0, 1.0], [1e8, 1.0], [0.01, 0.02]], dtype=dtype)])
        grid.requires_grad_()
        measured = Beta(grid[:, 0], grid[:, 1], prior=0.01).uncertainty(name)
        (gradient,) = torch.autograd.grad(measured.sum(), grid)
        assert measured.isfinite().all()
        assert gradient.isfinite().all()

    @pytest.mark.parametrize("name", [m for m in Beta.measures if m != "dissonance"])
    def test_gradcheck_on_both_sides_of_the_series(self, name: str) -> None:
        pairs = torch.tensor([[1.2, 3.0], [20.0, 29.0], [31.0, 2.0], [400.0, 50.0]], dtype=torch.float64)
        assert torch.autograd.gradcheck(
            lambda x: Beta(x[:, 0], x[:, 1]).uncertainty(name), pairs.requires_grad_(), atol=1e-6
        )

    def test_vacuity_and_dissonance_split_the_smaller_probability(self) -> None:
        # Exact for every prior weight w: 2 w / S + 2 (min(alpha, beta) - w) / S = 2 min(p, q).
        grid = evidence_grid(torch.float64)
        for prior in (1.0, 0.25):
            belief = Beta(grid[:, 0], grid[:, 1], prior)
            smaller = torch.minimum(belief.alpha, belief.beta) / belief.strength
            torch.testing.assert_close(belief.vacuity() + belief.dissonance(), 2 * smaller, rtol=1e-12, atol=0)
            assert (belief.vacuity() <= 2 * smaller * (1 + 1e-12)).all()

    def test_log_odds_are_those_of_the_mean(self) -> None:
        torch.testing.assert_close(beta(8.0, 2.0).log_odds, torch.tensor([math.log(4.0)], dtype=torch.float64))
        assert beta(9.0, 2.0, dtype=torch.float32).probability.item() == pytest.approx(0.818182, abs=1e-6)

    def test_bad_parameters_are_refused(self) -> None:
        with pytest.raises(ShapeError, match=r"\(1,\) and \(2,\); take both"):
            Beta(torch.ones(1), torch.ones(2))
        for prior in (0.0, -1.0, math.nan):
            with pytest.raises(ShapeError, match="above 0"):
                Beta(torch.ones(1), torch.ones(1), prior)
