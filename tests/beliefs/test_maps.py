"""What holds for every belief: its checks, its measures by name, their types and shapes, and the change of its maps."""

import math

import pytest
import torch
from tests.beliefs.given import value
from torch import Tensor

from trustseg.beliefs import Belief, Bernoulli, Beta, Mixture, check_belief, mapped
from trustseg.errors import BeliefError

ONES = torch.ones(1, 1, 2, 3)


def spoiled(value: float) -> torch.Tensor:
    values = ONES.clone()
    values[0, 0, 1, 2] = value
    return values


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_evidence_that_cannot_be_is_named(value: float) -> None:
    with pytest.raises(BeliefError, match=f"alpha of a belief holds {value:g} .*expected finite numbers above 0"):
        check_belief(Beta(spoiled(value), ONES))
    with pytest.raises(BeliefError, match="beta of a belief"):
        check_belief(Mixture([Beta(ONES, ONES), Beta(ONES, spoiled(value))]))


def test_a_point_belief_may_be_certain_but_not_nan() -> None:
    check_belief(Bernoulli(spoiled(-math.inf)))
    with pytest.raises(BeliefError, match=r"logits of a belief holds nan \(and 0 more"):
        check_belief(Bernoulli(spoiled(math.nan)))


@pytest.mark.parametrize("belief", [Bernoulli(ONES), Beta(ONES, 1e6 * ONES), Mixture([Bernoulli(ONES)])])
def test_a_sound_belief_passes(belief: Belief) -> None:
    check_belief(belief)


def turned(values: Tensor) -> Tensor:
    return values.flip(0).mT


def test_all_maps_of_a_belief_change_alike() -> None:
    maps = torch.arange(1.0, 13.0).view(2, 1, 2, 3)
    point, evidential = mapped(Bernoulli(maps), turned), mapped(Beta(maps, 2 * maps, 0.5), turned)
    assert isinstance(point, Bernoulli)
    assert isinstance(evidential, Beta)
    assert torch.equal(point.logits, turned(maps))
    assert torch.equal(evidential.alpha, turned(maps))
    assert torch.equal(evidential.beta, turned(2 * maps))
    assert evidential.prior == 0.5
    assert mapped(Beta(maps, maps), lambda values: values[:0]).probability.shape == (0, 1, 2, 3)
    with pytest.raises(BeliefError, match="one member at a time"):
        mapped(Mixture([Bernoulli(maps)]), turned)


@pytest.mark.parametrize(
    "belief", [Bernoulli(ONES), Beta(ONES, ONES), Mixture([Bernoulli(ONES)])], ids=lambda b: type(b).__name__
)
def test_a_measure_that_is_not_there_names_those_that_are(belief: Belief) -> None:
    known = ", ".join(belief.measures)
    for missing in {*Beta.measures, "probability", "logits", "__class__", "no_such"} - set(belief.measures):
        with pytest.raises(BeliefError) as error:
            belief.uncertainty(missing)
        assert missing in str(error.value)
        assert known in str(error.value)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_is_promoted(half: torch.dtype) -> None:
    maps = torch.full((1, 1, 2, 3), 2.0, dtype=half)
    for belief in (Bernoulli(maps), Beta(maps, maps), Mixture([Bernoulli(maps), Beta(maps, maps)])):
        assert belief.probability.dtype == torch.float32
        for name in belief.measures:
            assert belief.uncertainty(name).dtype == torch.float32


def test_float64_is_left_alone_and_shapes_are_kept() -> None:
    maps = torch.full((2, 1, 3, 5), 2.0, dtype=torch.float64)
    for belief in (Bernoulli(maps), Beta(maps, maps), Mixture([Bernoulli(maps), Beta(maps, maps)])):
        for name in ("probability", *belief.measures):
            assert value(belief, name).dtype == torch.float64
            assert value(belief, name).shape == maps.shape
