"""Objectives of a training step on clean and adversarial images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import torch
from torch import Tensor

from trustseg.beliefs import Belief, mapped
from trustseg.config import RunConfig
from trustseg.config.adversarial import AlignmentConfig
from trustseg.entries import call
from trustseg.losses import Balance, annealed, evidence_alignment, kl_divergence, losses_of, segmentation_loss
from trustseg.losses.balance import image_mean
from trustseg.training.adversarial import MixedBatch
from trustseg.training.weighting import pixel_weights, single_pixels, weighted_mean

__all__ = ["ALIGNMENTS", "LabelLoss", "StepLoss", "label_loss", "require_finite", "rows_of", "step_loss"]


@dataclass(frozen=True, slots=True)
class LabelLoss:
    """``segmentation_loss`` with its options of one epoch; its pixels can be weighted, but for its region.

    Attributes:
        data_term: a loss of the role ``data``.
        kl_weight: weight of the KL to uniform.
        vacuity_weight: weight of the vacuity correction.
        region: loss of the image and not of its pixels.
        region_weight: its weight.
        balance: how pixels are averaged.
    """

    data_term: str
    kl_weight: float = 0.0
    vacuity_weight: float = 0.0
    region: str = "soft_dice"
    region_weight: float = 1.0
    balance: Balance = "none"

    def __call__(self, belief: Belief, masks: Tensor, *, weights: Tensor | None = None) -> Tensor:
        """Return the loss (B,) of belief and masks (B, 1, H, W), its pixels weighted by ``weights`` of that shape."""
        if weights is None:
            return self._of_images(belief, masks, region_weight=self.region_weight, balance=self.balance)
        pixels = partial(self._of_images, region_weight=0.0, balance="none")
        losses = weighted_mean(pixels, belief, masks, weights, balance=self.balance)
        if not self.region_weight:
            return losses
        return losses + self.region_weight * call(losses_of("region"), self.region, kind="region loss")(belief, masks)

    def _of_images(self, belief: Belief, masks: Tensor, *, region_weight: float, balance: Balance) -> Tensor:
        return segmentation_loss(
            belief,
            masks,
            data_term=self.data_term,
            kl_weight=self.kl_weight,
            vacuity_weight=self.vacuity_weight,
            region=self.region,
            region_weight=region_weight,
            balance=balance,
        )


def label_loss(config: RunConfig, *, epoch: int) -> LabelLoss:
    """Return the label loss of a run in an epoch, counted from 0; a Bernoulli head takes no evidential term."""
    options = config.loss
    if config.model.head != "beta":
        return LabelLoss(
            options.bernoulli, region=options.region, region_weight=options.region_weight, balance=options.balance
        )
    return LabelLoss(
        options.beta,
        kl_weight=annealed(options.kl_weight, epoch=epoch, epochs=options.kl_epochs, schedule=options.kl_schedule),
        vacuity_weight=options.vacuity_correction,
        region=options.region,
        region_weight=options.region_weight,
        balance=options.balance,
    )


Alignment = Callable[[Belief, Belief, Tensor, AlignmentConfig], Tensor]  # masks say which pixels are ignored


def trades(clean: Belief, adversarial: Belief, masks: Tensor, options: AlignmentConfig) -> Tensor:
    """Return ``kl_weight`` times the divergence of the attacked belief from the clean one, (B,).

    Reference:
        Zhang et al., "Theoretically Principled Trade-off between Robustness and Accuracy", ICML 2019,
        arXiv:1901.08573, equation 5; gradients reach both beliefs, as in the authors' code.
    """
    return options.kl_weight * kl_divergence(clean, adversarial, masks)


def ev_at(clean: Belief, adversarial: Belief, masks: Tensor, options: AlignmentConfig) -> Tensor:
    """Return the evidence alignment that does not see the strength of the evidence, (B,).

    Reference:
        EV-AT, arXiv:2607.03075, for two classes; weights 20 and 4 are those of the authors' code.
    """
    return evidence_alignment(
        clean,
        adversarial,
        masks,
        squared_weight=options.squared_weight,
        cross_entropy_weight=options.cross_entropy_weight,
        strength_weight=0.0,
    )


def strength(clean: Belief, adversarial: Belief, masks: Tensor, options: AlignmentConfig) -> Tensor:
    """Return the evidence alignment of EV-AT plus one of the strength of the evidence, (B,).

    Reference:
        Our own; see ``evidence_alignment``.
    """
    return evidence_alignment(
        clean,
        adversarial,
        masks,
        squared_weight=options.squared_weight,
        cross_entropy_weight=options.cross_entropy_weight,
        strength_weight=options.strength_weight,
        divergence=options.divergence,
        one_sided=options.one_sided,
    )


ALIGNMENTS: Final[Mapping[str, Alignment]] = {"trades": trades, "ev_at": ev_at, "strength": strength}


@dataclass(frozen=True, slots=True)
class StepLoss:
    """What a step minimises, and what it is made of.

    Attributes:
        total: one number, with its graph.
        clean: (n,) label losses of the clean images.
        adversarial: (k,) label losses, or with an alignment its values, of the adversarial images.
    """

    total: Tensor
    clean: Tensor
    adversarial: Tensor

    @property
    def finite(self) -> Tensor:
        """Return whether the losses of all images are finite, () bool; who reads it waits for the GPU."""
        return torch.cat([self.clean, self.adversarial]).detach().isfinite().all()


def require_finite(losses: Sequence[Tensor], gradient: Tensor, *, epoch: int) -> None:
    """Check an optimiser step by one look at the device, for which a GPU has to be waited for.

    Args:
        losses: whether the losses that it is made of are finite, each () bool.
        gradient: whether its gradient is, () bool.
        epoch: counted from 0; the error counts from 1, as the progress does.

    Raises:
        FloatingPointError: if one of them is not.
    """
    *fine, fine_gradient = torch.stack([*losses, gradient]).tolist()
    if not (fine_gradient and all(fine)):
        raise FloatingPointError(
            f"the {'gradient' if all(fine) else 'loss'} of epoch {epoch + 1} is not finite; lower "
            "training.learning_rate or loss.kl_weight"
        )


def step_loss(
    belief: Belief,
    mixed: MixedBatch,
    labels: LabelLoss,
    *,
    kind: str = "mixed",
    alignment: AlignmentConfig | None = None,
    pixel_weight: str = "none",
    share: float = 1.0,
) -> StepLoss:
    """Return the loss of a step on a mixed batch.

    ``mixed`` is the weighted mean of the label losses of all images. The others keep labels to the clean images, and
    each attacked one adds its alignment with its clean original: (sum clean + w sum alignment) / clean images.

    Args:
        belief: belief about ``mixed.masks``, clean images first.
        mixed: the batch.
        labels: loss of belief and masks.
        kind: ``"mixed"``, or a name in ``ALIGNMENTS``, for which the batch holds the clean original of each attacked
            image.
        alignment: weights of the alignment; ``None``: the defaults.
        pixel_weight: what weighs the pixels of adversarial images, see ``pixel_weights``; ``"none"``: nothing.
        share: how far the pixel weights are mixed in, in [0, 1].

    Returns:
        Total and parts.

    Raises:
        BeliefError: if the alignment or the weights need a Beta and ``belief`` is none.
    """
    count = len(mixed.clean)
    clean, attacked = rows_of(belief, slice(count)), rows_of(belief, slice(count, None))
    masks = mixed.masks[count:]
    weights = None
    if pixel_weight != "none":
        weights = pixel_weights(attacked, masks, kind=pixel_weight, share=share)
    losses = labels(clean, mixed.masks[:count])
    if kind == "mixed":
        adversarial = labels(attacked, masks, weights=weights)
        return StepLoss(mixed.mean(torch.cat([losses, adversarial])), losses, adversarial)
    originals = rows_of(clean, mixed.attacked)
    align, options = ALIGNMENTS[kind], alignment or AlignmentConfig()
    if weights is None:
        adversarial = align(originals, attacked, masks, options)
    else:
        single = masks.reshape(-1, 1, 1, 1)
        pixels = align(single_pixels(originals), single_pixels(attacked), single, options).view_as(weights)
        adversarial = image_mean(weights * pixels, masks)
    total = (losses.sum() + (mixed.weights[count:] * adversarial).sum()) / count
    return StepLoss(total, losses, adversarial)


def rows_of(belief: Belief, rows: Tensor | slice) -> Belief:
    """Return the belief about some of the images.

    Raises:
        BeliefError: if it is a mixture.
    """
    return mapped(belief, lambda values: values[rows])
