"""The named measures against formulas written out with scipy, their ranges and their contract."""

import inspect
import math

import pytest
import torch
from torch import Tensor

from trustseg.beliefs import Belief, Bernoulli, Beta, Mixture
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


def test_beta_1_1_by_hand() -> None:
    ones = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    expected = dict(UPPER_BOUNDS, aleatoric_variance=1 / 6, expected_entropy=1 / 2, dissonance=0.0)
    for name, measure in MEASURES.items():
        assert measure(Beta(ones, ones)).item() == pytest.approx(expected[name], abs=1e-15), name


@every_measure
@pytest.mark.parametrize("shape", SIZES)
def test_shape_and_range(name: str, shape: tuple[int, ...]) -> None:
    rounding = 1e-6
    scaled = (evidence_of(shape, scale=scale) for scale in (0.0, 1e-3, 1.0, 1e6))
    for belief in (belief for evidence in scaled for belief in beliefs_with(name, evidence)):
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
def test_nan_is_passed_on(name: str) -> None:
    evidence = evidence_of((1, 1, 1, 2))
    evidence[:, :, :, :, 0] = math.nan
    for belief in beliefs_with(name, evidence):
        assert MEASURES[name](belief).isnan().flatten().tolist() == [True, False]


@every_measure
def test_docstring_names_its_beliefs_and_its_source(name: str) -> None:
    text = inspect.getdoc(MEASURES[name]) or ""
    kinds = [kind.__name__ for kind in (Bernoulli, Beta, Mixture) if name in kind.measures]
    assert ("For every belief." if len(kinds) == 3 else f"For a {' or a '.join(kinds)}.") in text
    assert "Reference:" in text
