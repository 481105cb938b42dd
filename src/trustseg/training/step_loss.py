"""The loss of a training step on clean and adversarial images."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Final

import torch
from torch import Tensor

from trustseg.beliefs import Belief, mapped, reference_of
from trustseg.config import RunConfig
from trustseg.config.adversarial import AlignmentConfig
from trustseg.entries import call
from trustseg.losses import ALIGNMENTS, Balance, annealed, losses_of, segmentation_loss
from trustseg.losses.balance import image_mean
from trustseg.masks import counted_mean
from trustseg.training.mixed_batch import MixedBatch

__all__ = [
    "LabelLoss",
    "StepLoss",
    "label_loss",
    "pixel_weights",
    "require_finite",
    "select_rows",
    "step_loss",
    "weighted_mean",
]

PixelLoss = Callable[[Belief, Tensor], Tensor]  # of belief and masks, one value per image

MARGIN_SLOPE: Final = 10.0
MARGIN_SHIFT: Final = -0.5


def pixel_weights(belief: Belief, masks: Tensor, *, kind: str, share: float) -> Tensor:
    """Return how much each pixel counts, (B, 1, H, W) >= 0: (1 - share) + share u / mean(u), 0 where it is ignored.

    u is the uncertainty of that name, or for ``margin`` sigmoid(-10 (p_y - p_other + 0.5)), which is large where the
    pixel is wrong by far. The mean over the counted pixels of each image is 1, so that the learning rate keeps its
    meaning; where u is 0 everywhere, all weights are 1. No gradient reaches the belief.

    Args:
        kind: ``"margin"``, or a measure of ``belief`` that is at least 0.
        share: how far the weights are mixed in, in [0, 1]; 0 gives ones.

    Reference:
        Kim et al., "Entropy Weighted Adversarial Training", ICML workshop 2021, for entropy, there one weight
        per example. Liu et al., "Probabilistic Margins for Instance Reweighting in Adversarial Training", NeurIPS 2021,
        arXiv:2106.07904, for the margin; slope and shift are our choice.
    """
    with torch.no_grad():
        reference = reference_of(belief, masks, "pixel_weights")
        if kind == "margin":
            certainty = torch.tanh((2 * reference.masks - 1) * belief.log_odds / 2)  # p_y - p_other
            doubt = torch.sigmoid(-MARGIN_SLOPE * (certainty - MARGIN_SHIFT))
        else:
            doubt = belief.uncertainty(kind)
        mean = counted_mean(doubt, reference.counted, empty=0.0).view(-1, 1, 1, 1)
        relative = torch.where(mean > 0, doubt / mean.clamp_min(torch.finfo(mean.dtype).tiny), 1.0)
        return torch.where(reference.counted, (1 - share) + share * relative, 0.0)


def weighted_mean(
    loss: PixelLoss, belief: Belief, masks: Tensor, weights: Tensor, *, balance: Balance = "none"
) -> Tensor:
    """Return the weighted mean (B,) over the pixels of each image of a loss that is itself a mean over pixels.

    Every pixel is handed to the loss as an image of its own, so that any such loss can be weighted. ``weights`` (B, 1,
    H, W) have mean 1 over the counted pixels of each image; with weights of 1 it is what ``loss`` itself gives.
    """
    values = loss(_single_pixels(belief), masks.reshape(-1, 1, 1, 1)).view_as(masks)
    return image_mean(weights * values, masks, balance=balance)


def _single_pixels(belief: Belief) -> Belief:
    """Return the belief as one about B H W images of one pixel; that of a mixture is a BeliefError."""
    return mapped(belief, lambda values: values.reshape(-1, 1, 1, 1))


@dataclass(frozen=True, slots=True)
class LabelLoss:
    """``segmentation_loss`` with its options of one epoch; its pixels can be weighted, but for its region."""

    data_term: str
    kl_weight: float = 0.0
    vacuity_weight: float = 0.0
    region: str = "soft_dice"
    region_weight: float = 1.0
    balance: Balance = "none"

    def __call__(self, belief: Belief, masks: Tensor, *, weights: Tensor | None = None) -> Tensor:
        """Return the loss (B,) of belief and masks (B, 1, H, W), its pixels weighted by ``weights`` of that shape."""
        if weights is None:
            return segmentation_loss(belief, masks, **asdict(self))
        pixels = replace(self, region_weight=0.0, balance="none")
        losses = weighted_mean(pixels, belief, masks, weights, balance=self.balance)
        if not self.region_weight:
            return losses
        return losses + self.region_weight * call(losses_of("region"), self.region, kind="region loss")(belief, masks)


def label_loss(config: RunConfig, *, epoch: int) -> LabelLoss:
    """Return the label loss of a run in an epoch, counted from 0; a Bernoulli head takes no evidential term."""
    options = config.loss
    labels = LabelLoss(
        options.beta, region=options.region, region_weight=options.region_weight, balance=options.balance
    )
    if config.model.head != "beta":
        return replace(labels, data_term=options.bernoulli)
    kl_weight = annealed(options.kl_weight, epoch=epoch, epochs=options.kl_epochs, schedule=options.kl_schedule)
    return replace(labels, kl_weight=kl_weight, vacuity_weight=options.vacuity_correction)


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
        """Return whether the losses of all images are finite, () bool; reading it synchronises with the GPU."""
        return torch.cat([self.clean, self.adversarial]).detach().isfinite().all()


def require_finite(losses: Sequence[Tensor], gradient: Tensor, *, epoch: int) -> None:
    """Check for non-finite values with one host synchronisation.

    ``losses`` and ``gradient`` say whether the losses and the gradient of an optimiser step are finite, each () bool.
    If one is not, a FloatingPointError names the epoch, counted from 1 as the progress does.
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
    """Return the loss of a step on a mixed batch, given the belief about ``mixed.masks``.

    ``mixed`` is the weighted mean of the label losses of all images. The others keep labels to the clean images, and
    each attacked one adds its alignment with its clean original: (sum clean + w sum alignment) / clean images.

    Args:
        labels: loss of belief and masks.
        kind: ``"mixed"``, or a name in ``ALIGNMENTS``, for which the batch holds the clean original of each attacked
            image.
        alignment: weights of the alignment; ``None``: the defaults.
        pixel_weight: what weighs the pixels of adversarial images, see ``pixel_weights``; ``"none"``: nothing.
        share: how far the pixel weights are mixed in, in [0, 1].

    Raises:
        BeliefError: if the alignment or the weights need a Beta and ``belief`` is none.
    """
    count = len(mixed.clean)
    clean, attacked = select_rows(belief, slice(count)), select_rows(belief, slice(count, None))
    masks = mixed.masks[count:]
    weights = None
    if pixel_weight != "none":
        weights = pixel_weights(attacked, masks, kind=pixel_weight, share=share)
    losses = labels(clean, mixed.masks[:count])
    if kind == "mixed":
        adversarial = labels(attacked, masks, weights=weights)
        return StepLoss(mixed.mean(torch.cat([losses, adversarial])), losses, adversarial)
    originals = select_rows(clean, mixed.attacked)
    entry, given = ALIGNMENTS[kind], (alignment or AlignmentConfig()).model_dump()
    align = partial(entry, **{name: value for name, value in given.items() if entry.takes(name)})
    if weights is None:
        adversarial = align(originals, attacked, masks)
    else:
        single = masks.reshape(-1, 1, 1, 1)
        pixels = align(_single_pixels(originals), _single_pixels(attacked), single).view_as(weights)
        adversarial = image_mean(weights * pixels, masks)
    total = (losses.sum() + (mixed.weights[count:] * adversarial).sum()) / count
    return StepLoss(total, losses, adversarial)


def select_rows(belief: Belief, rows: Tensor | slice) -> Belief:
    """Return the belief about some of the images; a mixture is a BeliefError."""
    return mapped(belief, lambda values: values[rows])
