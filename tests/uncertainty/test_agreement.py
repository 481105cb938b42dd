"""Foretold Dice against loops, a calibrated coin and hand-made members."""

from itertools import combinations

import pytest
import torch

from trustseg.beliefs import Bernoulli, Beta, Mixture
from trustseg.errors import BeliefError
from trustseg.uncertainty import pairwise_disagreement
from trustseg.uncertainty.aggregation import soft_dice_confidence


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_expected_dice_by_hand() -> None:
    probability = torch.tensor([[[[0.9, 0.6], [0.3, 0.5]]]])
    # Predicted are the first two: 2 (0.9 + 0.6) / (2.3 + 2).
    assert soft_dice_confidence(probability, probability).item() == pytest.approx(1 - 3 / 4.3)


def test_expected_dice_comes_true_where_p_is_calibrated() -> None:
    probability = torch.sigmoid(3 * draw(1, 1, 60, 70) - 1).double()
    generator = torch.Generator().manual_seed(1)
    predicted = (probability > 0.5).double()
    overlaps, sizes = 0.0, 0.0
    for _ in range(200):
        masks = torch.bernoulli(probability, generator=generator)
        overlaps += 2 * float((masks * predicted).sum())
        sizes += float(masks.sum() + predicted.sum())
    assert soft_dice_confidence(probability, probability).item() == pytest.approx(1 - overlaps / sizes, abs=2e-3)


@pytest.mark.parametrize("value", [0.0, 1e-30, 0.3, 0.5])
def test_an_empty_prediction_scores_most(value: float) -> None:
    probability = torch.full((2, 1, 3, 5), value)
    assert soft_dice_confidence(probability, probability).tolist() == [1, 1]


def test_pairwise_disagreement_equals_loops() -> None:
    members = [Bernoulli(draw(3, 1, 5, 7, seed=seed) - 1) for seed in range(4)]
    members[1] = Beta(1 + draw(3, 1, 5, 7, seed=8).exp(), 2 + draw(3, 1, 5, 7, seed=9).exp())  # type: ignore[call-overload]  # a mixed list
    got = pairwise_disagreement(Mixture(members))
    for k in range(3):
        sets = [{tuple(place) for place in (member.probability[k, 0] > 0.5).nonzero().tolist()} for member in members]
        dices = [2 * len(a & b) / (len(a) + len(b)) for a, b in combinations(sets, 2)]
        assert got[k].item() == pytest.approx(1 - sum(dices) / len(dices))


def test_empty_predictions_agree_with_each_other_only() -> None:
    empty, full = Bernoulli(torch.full((1, 1, 2, 2), -3.0)), Bernoulli(torch.full((1, 1, 2, 2), 3.0))
    half = Bernoulli(torch.zeros(1, 1, 2, 2))  # p = 1/2 exactly is background
    assert pairwise_disagreement(Mixture([empty, half, empty])).tolist() == [0]
    assert pairwise_disagreement(Mixture([empty, full])).tolist() == [1]
    assert pairwise_disagreement(Mixture([full, full, full])).tolist() == [0]
    assert pairwise_disagreement(Mixture([empty, empty, full])).item() == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("belief", "got"),
    [(Bernoulli(torch.zeros(1, 1, 1, 1)), "a Bernoulli"), (Mixture([Bernoulli(torch.zeros(1, 1, 1, 1))]), "1 member")],
)
def test_other_beliefs_are_refused(belief: Bernoulli | Mixture, got: str) -> None:
    with pytest.raises(BeliefError, match=f"at least 2 members, got {got}; use MCDropout"):
        pairwise_disagreement(belief)
