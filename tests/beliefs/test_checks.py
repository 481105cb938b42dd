import math

import pytest
import torch

from trustseg.beliefs import Belief, Bernoulli, Beta, Mixture, check_belief
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
