"""The loss of a step, put together by hand from the losses of its images; pixel weights by hand."""

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from trustseg.beliefs import Belief, Bernoulli, Beta, Mixture
from trustseg.config.adversarial import AlignmentConfig
from trustseg.errors import BeliefError
from trustseg.losses import (
    ALIGNMENTS,
    Balance,
    binary_cross_entropy,
    evidence_alignment,
    kl_divergence,
    kl_to_uniform,
    losses_of,
    segmentation_loss,
    vacuity_correction,
)
from trustseg.training import MixedBatch
from trustseg.training.step_loss import (
    LabelLoss,
    StepLoss,
    pixel_weights,
    require_finite,
    select_rows,
    step_loss,
    weighted_mean,
)

GENERATOR = torch.Generator().manual_seed(9)
ALPHA, BETA = 1 + 4 * torch.rand(2, 5, 1, 4, 3, generator=GENERATOR)
MASKS = (torch.rand(3, 1, 4, 3, generator=GENERATOR) < 0.4).float()
UNSURE = Beta(ALPHA[:3], BETA[:3])
KINDS = ["entropy", "margin", "vacuity", "mutual_information", "dissonance"]
EVIDENTIAL = LabelLoss(
    "bayes_risk_cross_entropy", kl_weight=0.3, vacuity_weight=0.1, region_weight=0.7, balance="image"
)
CLASSICAL = LabelLoss("binary_cross_entropy")


def belief_of(head: str) -> Belief:
    return Beta(ALPHA, BETA) if head == "beta" else Bernoulli(ALPHA - BETA)


def appended(weight: float = 0.5) -> MixedBatch:
    """Three clean images, then the second and the third again, attacked."""
    attacked = torch.tensor([1, 2])
    masks = torch.cat([MASKS, MASKS[attacked]])
    weights = torch.tensor([1.0, 1, 1, weight, weight])
    return MixedBatch(torch.zeros_like(masks), masks, weights, torch.arange(3), attacked)


def labels_of(head: str) -> LabelLoss:
    return EVIDENTIAL if head == "beta" else CLASSICAL


def terms(belief: Belief, masks: Tensor) -> Tensor:
    return segmentation_loss(
        belief,
        masks,
        data_term="bayes_risk_cross_entropy",
        kl_weight=0.3,
        vacuity_weight=0.1,
        region_weight=0.7,
        balance="image",
    )


def test_mixed_by_hand() -> None:
    mixed, belief = appended(), belief_of("beta")
    losses = terms(belief, mixed.masks)
    found = step_loss(belief, mixed, EVIDENTIAL)
    torch.testing.assert_close(found.total, (losses[:3].sum() + 0.5 * losses[3:].sum()) / 4)
    torch.testing.assert_close(found.clean, losses[:3])
    torch.testing.assert_close(found.adversarial, losses[3:])


def test_alignments_by_hand() -> None:
    mixed, belief = appended(), belief_of("beta")
    clean, attacked = select_rows(belief, torch.tensor([1, 2])), select_rows(belief, slice(3, None))
    options = AlignmentConfig(kl_weight=2.0, squared_weight=3.0, cross_entropy_weight=4.0, strength_weight=5.0)
    evidence = partial(evidence_alignment, clean, attacked, squared_weight=3, cross_entropy_weight=4)
    expected = {
        "trades": 2 * kl_divergence(clean, attacked),
        "ev_at": evidence(strength_weight=0),
        "strength": evidence(strength_weight=5),
    }
    assert expected.keys() == ALIGNMENTS.keys()
    for kind, alignment in expected.items():
        found = step_loss(belief, mixed, EVIDENTIAL, kind=kind, alignment=options)
        torch.testing.assert_close(found.adversarial, alignment)
        labels = terms(belief, mixed.masks)[:3]
        torch.testing.assert_close(found.total, (labels.sum() + 0.5 * alignment.sum()) / 3)


@pytest.mark.parametrize("kind", ["mixed", *ALIGNMENTS])
@pytest.mark.parametrize("weight", ["entropy", "margin"])
@pytest.mark.parametrize("head", ["bernoulli", "beta"])
def test_weights_of_share_zero_change_nothing(head: str, kind: str, weight: str) -> None:
    if head == "bernoulli" and kind != "mixed" and ALIGNMENTS[kind].facts.needs_beta:
        with pytest.raises(BeliefError, match="expected two Betas"):
            step_loss(belief_of(head), appended(), labels_of(head), kind=kind)
        return
    plain = step_loss(belief_of(head), appended(), labels_of(head), kind=kind)
    none = step_loss(belief_of(head), appended(), labels_of(head), kind=kind, pixel_weight=weight, share=0.0)
    full = step_loss(belief_of(head), appended(), labels_of(head), kind=kind, pixel_weight=weight, share=1.0)
    torch.testing.assert_close(none.adversarial, plain.adversarial)
    assert torch.equal(full.clean, plain.clean)  # clean images are not weighted
    assert not torch.isclose(full.adversarial, plain.adversarial).all()


def test_weighted_pixels_by_hand() -> None:
    """Cross-entropy alone: the weighted mean of the pixels' losses."""
    mixed, belief = appended(), belief_of("bernoulli")
    labels = LabelLoss("binary_cross_entropy", region_weight=0.0)
    attacked = select_rows(belief, slice(3, None))
    weights = pixel_weights(attacked, mixed.masks[3:], kind="entropy", share=1.0)
    odds = (2 * mixed.masks[3:] - 1) * attacked.log_odds
    expected = (weights * torch.nn.functional.softplus(-odds)).flatten(1).mean(1)
    found = step_loss(belief, mixed, labels, pixel_weight="entropy")
    torch.testing.assert_close(found.adversarial, expected)


@pytest.mark.parametrize("clean", [0, 3])
def test_a_batch_of_one_kind(clean: int) -> None:
    """All images attacked in the place of their originals, or none."""
    rows = torch.arange(3)
    kept, attacked = (rows, rows[:0]) if clean else (rows[:0], rows)
    mixed = MixedBatch(torch.zeros_like(MASKS), MASKS, torch.ones(3), kept, attacked)
    belief = Beta(ALPHA[:3], BETA[:3])
    found = step_loss(belief, mixed, EVIDENTIAL, pixel_weight="vacuity", share=0.0)
    torch.testing.assert_close(found.total, terms(belief, MASKS).mean())
    assert (len(found.clean), len(found.adversarial)) == (clean, 3 - clean)
    if clean:
        for kind in ALIGNMENTS:
            total = step_loss(belief, mixed, EVIDENTIAL, kind=kind, pixel_weight="vacuity").total
            torch.testing.assert_close(total, terms(belief, MASKS).mean())


@pytest.mark.parametrize(
    ("clean", "adversarial", "gradient", "told"),
    [
        ([0.1, 2.0], [3.0], 1.0, None),
        ([], [3.0], 1.0, None),
        ([0.1, math.nan], [3.0], 1.0, "loss"),
        ([0.1], [math.inf], 1.0, "loss"),  # also where its gradient is finite
        ([0.1], [], math.nan, "gradient"),
        ([math.nan], [], math.nan, "loss"),
    ],
)
@pytest.mark.parametrize("first", [False, True])
def test_a_step_of_several_batches_is_checked_as_a_whole(
    clean: list[float], adversarial: list[float], gradient: float, told: str | None, first: bool
) -> None:
    fine, zero = torch.tensor(True), torch.zeros(())
    finite = StepLoss(zero, torch.tensor(clean), torch.tensor(adversarial)).finite
    batches = [finite, fine] if first else [fine, finite]
    if told is None:
        require_finite(batches, torch.tensor(gradient).isfinite(), epoch=4)
        return
    with pytest.raises(FloatingPointError, match=f"the {told} of epoch 5 is not finite"):
        require_finite(batches, torch.tensor(gradient).isfinite(), epoch=4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_mean_is_one_and_nothing_is_negative(kind: str, share: float) -> None:
    weights = pixel_weights(UNSURE, MASKS, kind=kind, share=share)
    assert weights.shape == MASKS.shape
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.mean(dim=(1, 2, 3)), torch.ones(3))
    if share == 0:
        assert torch.equal(weights, torch.ones_like(weights))


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
    assert pixel_weights(Beta(ALPHA[:0], BETA[:0]), MASKS[:0], kind="vacuity", share=1.0).shape == (0, 1, 4, 3)


@pytest.mark.parametrize("balance", ["none", "image"])
@pytest.mark.parametrize("loss", [*losses_of("data").values(), kl_to_uniform, vacuity_correction])
def test_weights_of_one_change_nothing(loss: partial[torch.Tensor], balance: Balance) -> None:
    got = weighted_mean(loss, UNSURE, MASKS, torch.ones_like(MASKS), balance=balance)
    torch.testing.assert_close(got, loss(UNSURE, MASKS, balance=balance))


def test_a_mixture_cannot_be_weighted() -> None:
    with pytest.raises(BeliefError, match="change one member at a time"):
        weighted_mean(binary_cross_entropy, Mixture([UNSURE]), MASKS, MASKS)
