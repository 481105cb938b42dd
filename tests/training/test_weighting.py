"""Pixel weights by hand; weights of 1 change nothing; every loss can be weighted."""

import math
from functools import partial

import pytest
import torch

from trustseg.beliefs import Bernoulli, Beta, Mixture
from trustseg.errors import BeliefError
from trustseg.losses import Balance, binary_cross_entropy, kl_to_uniform, losses_of, vacuity_correction
from trustseg.training.weighting import pixel_weights, weighted_mean

GENERATOR = torch.Generator().manual_seed(8)
ALPHA, BETA = 1 + 4 * torch.rand(2, 3, 1, 5, 4, generator=GENERATOR)
BELIEF = Beta(ALPHA, BETA)
MASKS = (torch.rand(3, 1, 5, 4, generator=GENERATOR) < 0.4).float()
MASKS[0] = 0
KINDS = ["entropy", "margin", "vacuity", "mutual_information", "dissonance"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_mean_is_one_and_nothing_is_negative(kind: str, share: float) -> None:
    weights = pixel_weights(BELIEF, MASKS, kind=kind, share=share)
    assert weights.shape == MASKS.shape
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.mean(dim=(1, 2, 3)), torch.ones(3))
    if share == 0:
        assert torch.equal(weights, torch.ones_like(weights))


@pytest.mark.parametrize("kind", ["entropy", "vacuity", "mutual_information", "dissonance"])
def test_the_unsure_weigh_more(kind: str) -> None:
    weights = pixel_weights(BELIEF, MASKS, kind=kind, share=1.0)
    uncertainty = BELIEF.uncertainty(kind)
    torch.testing.assert_close(weights, uncertainty / uncertainty.mean(dim=(1, 2, 3), keepdim=True))


def test_the_margin_by_hand() -> None:
    """One pixel right, one undecided, one wrong."""
    belief = Bernoulli(torch.tensor([2.0, 0.0, -2.0]).view(1, 1, 1, 3))
    weights = pixel_weights(belief, torch.ones(1, 1, 1, 3), kind="margin", share=1.0).flatten()
    p = 1 / (1 + math.exp(-2))
    doubts = [1 / (1 + math.exp(10 * (margin + 0.5))) for margin in (2 * p - 1, 0, 1 - 2 * p)]
    assert weights.tolist() == pytest.approx([doubt / (sum(doubts) / 3) for doubt in doubts], rel=1e-4)


def test_edges() -> None:
    """No doubt anywhere, certain pixels beside an undecided one, and one pixel."""
    none = Beta(torch.full((1, 1, 2, 2), 5.0), torch.ones(1, 1, 2, 2))  # evidence on one side: no dissonance
    assert torch.equal(pixel_weights(none, MASKS[:1, :, :2, :2], kind="dissonance", share=1.0), torch.ones(1, 1, 2, 2))
    certain = Bernoulli(torch.tensor([math.inf, -math.inf, 0.0]).view(1, 1, 1, 3))
    for kind in ("entropy", "margin"):
        assert pixel_weights(certain, torch.ones(1, 1, 1, 3), kind=kind, share=1.0).isfinite().all()
    one = Beta(torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 1))
    assert pixel_weights(one, torch.ones(1, 1, 1, 1), kind="vacuity", share=1.0).item() == 1
    assert pixel_weights(Beta(ALPHA[:0], BETA[:0]), MASKS[:0], kind="vacuity", share=1.0).shape == (0, 1, 5, 4)


def test_no_gradient_goes_through_the_weights() -> None:
    alpha = ALPHA.clone().requires_grad_()
    assert not pixel_weights(Beta(alpha, BETA), MASKS, kind="vacuity", share=1.0).requires_grad


def test_a_bernoulli_has_no_vacuity() -> None:
    with pytest.raises(BeliefError, match="has no 'vacuity'"):
        pixel_weights(Bernoulli(ALPHA), MASKS, kind="vacuity", share=1.0)


@pytest.mark.parametrize("balance", ["none", "image"])
@pytest.mark.parametrize("loss", [*losses_of("data").values(), kl_to_uniform, vacuity_correction])
def test_weights_of_one_change_nothing(loss: partial[torch.Tensor], balance: Balance) -> None:
    got = weighted_mean(loss, BELIEF, MASKS, torch.ones_like(MASKS), balance=balance)
    torch.testing.assert_close(got, loss(BELIEF, MASKS, balance=balance))


def test_weights_select_pixels() -> None:
    belief = Bernoulli(torch.tensor([[[[0.0, 3.0]]]]))
    weights = torch.tensor([[[[2.0, 0.0]]]])
    got = weighted_mean(binary_cross_entropy, belief, torch.ones(1, 1, 1, 2), weights)
    assert got.item() == pytest.approx(math.log(2))


def test_a_mixture_cannot_be_weighted() -> None:
    with pytest.raises(BeliefError, match="change one member at a time"):
        weighted_mean(binary_cross_entropy, Mixture([BELIEF]), MASKS, MASKS)
