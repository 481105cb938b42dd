"""The loss of a step, put together by hand from the losses of its images."""

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from trustseg.beliefs import Belief, Bernoulli, Beta, Mixture
from trustseg.config.adversarial import AlignmentConfig
from trustseg.errors import BeliefError
from trustseg.losses import evidence_alignment, kl_divergence, segmentation_loss
from trustseg.training import MixedBatch
from trustseg.training.robust import ALIGNMENTS, LabelLoss, StepLoss, require_finite, rows_of, step_loss
from trustseg.training.weighting import pixel_weights

GENERATOR = torch.Generator().manual_seed(9)
ALPHA, BETA = 1 + 4 * torch.rand(2, 5, 1, 4, 3, generator=GENERATOR)
MASKS = (torch.rand(3, 1, 4, 3, generator=GENERATOR) < 0.4).float()
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
    clean, attacked = rows_of(belief, torch.tensor([1, 2])), rows_of(belief, slice(3, None))
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
    if head == "bernoulli" and kind in ("ev_at", "strength"):
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
    attacked = rows_of(belief, slice(3, None))
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


def test_a_mixture_cannot_be_trained() -> None:
    with pytest.raises(BeliefError, match="change one member at a time"):
        rows_of(Mixture([belief_of("beta")]), slice(2))  # type: ignore[list-item]
