"""What all beliefs share: measures by name, and the types and shapes of what they give."""

import pytest
import torch
from tests.beliefs.given import value

from trustseg.beliefs import Belief, Bernoulli, Beta, Mixture
from trustseg.errors import BeliefError

ONE_PIXEL = torch.zeros(1, 1, 1, 1)
BELIEFS = [Bernoulli(ONE_PIXEL), Beta(ONE_PIXEL + 2, ONE_PIXEL + 3), Mixture([Bernoulli(ONE_PIXEL)])]


@pytest.mark.parametrize("belief", BELIEFS, ids=lambda b: type(b).__name__)
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
