"""The named measures against formulas written out with scipy, their ranges and their contract."""

import inspect
import math

import pytest
import torch
from scipy import special, stats
from torch import Tensor

from trustseg.beliefs import Belief, Bernoulli, Beta, Mixture
from trustseg.errors import BeliefError
from trustseg.uncertainty import MEASURES

SIZES = [(1, 1, 1, 1), (1, 1, 3, 2), (4, 1, 5, 7)]
# The bounds that hold for every belief; a Beta with prior weight 1 keeps to the tighter UPPER_BOUNDS.
UPPER_BOUNDS = {name: measure.facts.upper_bound for name, measure in MEASURES.items()}
LOOSE_BOUNDS = {**UPPER_BOUNDS, "mutual_information": math.log(2), "epistemic_variance": 1 / 4}

every_measure = pytest.mark.parametrize("name", MEASURES)


def evidence_of(shape: tuple[int, ...], *, scale: float = 1.0, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return scale * torch.randn(2, *shape, generator=generator, dtype=dtype).exp()


def beliefs_from(evidence: Tensor) -> list[Belief]:
    beta = Beta(1 + evidence[0], 1 + evidence[1])
    bernoulli = Bernoulli(evidence[0] - evidence[1])
    return [beta, bernoulli, Mixture([beta, bernoulli])]


def beliefs_with(name: str, evidence: Tensor) -> list[Belief]:
    return [belief for belief in beliefs_from(evidence) if name in belief.measures]


def test_every_closed_form_has_a_name_and_a_bound() -> None:
    assert tuple(MEASURES) == Beta.measures
    assert all(getattr(measure, "__name__", None) == name for name, measure in MEASURES.items())


@every_measure
def test_equals_the_formula_of_a_beta(name: str) -> None:
    alpha, beta = 1 + evidence_of((2, 1, 3, 4), dtype=torch.float64).numpy()
    strength = alpha + beta
    p, q = alpha / strength, beta / strength
    entropy = special.entr(p) + special.entr(q)
    expected_entropy = special.digamma(strength + 1) - p * special.digamma(alpha + 1) - q * special.digamma(beta + 1)
    formulas = {
        "entropy": entropy,
        "variance": p * q,
        "epistemic_variance": stats.beta.var(alpha, beta),
        "aleatoric_variance": p * q - stats.beta.var(alpha, beta),
        "expected_entropy": expected_entropy,
        "mutual_information": entropy - expected_entropy,
        "differential_entropy": stats.beta.entropy(alpha, beta),
        "vacuity": 2 / strength,
        "dissonance": 2 * (alpha.clip(max=beta) - 1) / strength,
    }
    got = MEASURES[name](Beta(torch.from_numpy(alpha), torch.from_numpy(beta)))
    torch.testing.assert_close(got, torch.from_numpy(formulas[name]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["entropy", "variance"])
def test_total_uncertainty_is_that_of_the_mean_for_every_belief(name: str) -> None:
    for belief in beliefs_with(name, evidence_of((2, 1, 3, 4), dtype=torch.float64)):
        p = belief.probability
        expected = p * (1 - p) if name == "variance" else torch.special.entr(p) + torch.special.entr(1 - p)
        torch.testing.assert_close(MEASURES[name](belief), expected)


def test_beta_1_1_by_hand() -> None:
    ones = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    expected = dict(UPPER_BOUNDS, aleatoric_variance=1 / 6, expected_entropy=1 / 2, dissonance=0.0)
    for name, measure in MEASURES.items():
        assert measure(Beta(ones, ones)).item() == pytest.approx(expected[name], abs=1e-15), name


@every_measure
@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("scale", [0.0, 1e-3, 1.0, 1e6])
def test_shape_and_range(name: str, shape: tuple[int, ...], scale: float) -> None:
    rounding = 1e-6
    for belief in beliefs_with(name, evidence_of(shape, scale=scale)):
        measured = MEASURES[name](belief)
        bound = UPPER_BOUNDS[name] if isinstance(belief, Beta) else LOOSE_BOUNDS[name]
        assert measured.shape == shape
        assert measured.dtype == torch.float32
        assert measured.isfinite().all()
        assert measured.max() <= bound + rounding
        assert name == "differential_entropy" or measured.min() >= 0


@every_measure
def test_the_upper_bound_is_reached(name: str) -> None:
    """By a coin flip, either without evidence or with very much of it."""
    evidence = torch.tensor([1.0, 1e7], dtype=torch.float64).view(1, 1, 1, 2)
    assert MEASURES[name](Beta(evidence, evidence)).max().item() == pytest.approx(UPPER_BOUNDS[name], abs=1e-6)


@every_measure
def test_pixels_are_measured_one_by_one(name: str) -> None:
    evidence = evidence_of((3, 1, 4, 5))
    order = torch.tensor([2, 0, 1])
    for whole, turned in zip(beliefs_with(name, evidence), beliefs_with(name, evidence[:, order]), strict=True):
        torch.testing.assert_close(MEASURES[name](turned), MEASURES[name](whole)[order])
    for whole, part in zip(beliefs_with(name, evidence), beliefs_with(name, evidence[:, :1, :, :2, 3:]), strict=True):
        torch.testing.assert_close(MEASURES[name](part), MEASURES[name](whole)[:1, :, :2, 3:])


@every_measure
def test_more_evidence_in_the_same_proportion_is_surer_or_as_sure(name: str) -> None:
    pixel = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    maps = [MEASURES[name](Beta(3 * k * pixel, 2 * k * pixel)).item() for k in (1.0, 4.0, 100.0)]
    rises = {"aleatoric_variance", "expected_entropy", "dissonance"}  # what is not lack of knowledge takes its share
    assert maps == pytest.approx(sorted(maps, reverse=name not in rises), rel=1e-12)


@every_measure
def test_nan_is_passed_on(name: str) -> None:
    evidence = evidence_of((1, 1, 1, 2))
    evidence[:, :, :, :, 0] = math.nan
    for belief in beliefs_with(name, evidence):
        assert MEASURES[name](belief).isnan().flatten().tolist() == [True, False]


@every_measure
def test_a_belief_without_it_says_what_it_has(name: str) -> None:
    for belief in beliefs_from(evidence_of((1, 1, 1, 1))):
        if name not in belief.measures:
            with pytest.raises(BeliefError, match=f"no '{name}'; it gives {', '.join(belief.measures)};"):
                MEASURES[name](belief)


@every_measure
def test_docstring_names_its_beliefs_and_its_source(name: str) -> None:
    text = inspect.getdoc(MEASURES[name]) or ""
    kinds = [kind.__name__ for kind in (Bernoulli, Beta, Mixture) if name in kind.measures]
    assert ("For every belief." if len(kinds) == 3 else f"For a {' or a '.join(kinds)}.") in text
    assert "Reference:" in text
