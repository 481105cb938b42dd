"""Pixel weights: an adversarial loss that looks harder where the model is unsure."""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from trustseg.beliefs import Belief, mapped, reference_of
from trustseg.losses.balance import Balance, image_mean
from trustseg.masks import counted_mean

__all__ = ["PixelLoss", "pixel_weights", "single_pixels", "weighted_mean"]

PixelLoss = Callable[[Belief, Tensor], Tensor]  # belief and masks of single pixels to one value a pixel

MARGIN_SLOPE: Final = 10.0
MARGIN_SHIFT: Final = -0.5


def pixel_weights(belief: Belief, masks: Tensor, *, kind: str, share: float) -> Tensor:
    """Return how much each pixel of an image counts: (1 - share) + share u / mean(u), the mean over counted pixels.

    u is the uncertainty of that name, or for ``margin`` sigmoid(-10 (p_y - p_other + 0.5)), which is large where the
    pixel is wrong by far. Where u is 0 everywhere, all weights are 1.

    Args:
        belief: belief about ``masks``, maps (B, 1, H, W); no gradient reaches it.
        masks: reference masks (B, 1, H, W), each value 0 or 1, NaN where ignored; only ``margin`` tells 0 from 1.
        kind: ``"margin"``, or a measure of ``belief`` that is at least 0.
        share: how far the weights are mixed in, in [0, 1]; 0 gives ones.

    Returns:
        (B, 1, H, W) >= 0 with mean 1 over the counted pixels of each image, so that the learning rate keeps its
        meaning; 0 where a pixel is ignored.

    Raises:
        BeliefError: if ``belief`` has no such measure.

    Example:
        >>> from trustseg.beliefs import Bernoulli
        >>> pixel_weights(Bernoulli(torch.tensor([[[[0.0, 50.0]]]])), torch.ones(1, 1, 1, 2), kind="entropy", share=0.5)
        tensor([[[[1.5000, 0.5000]]]])

    Reference:
        Kim et al., "Entropy Weighted Adversarial Training", ICML workshop 2021, for entropy, there one weight an
        example. Liu et al., "Probabilistic Margins for Instance Reweighting in Adversarial Training", NeurIPS 2021,
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
    """Return the weighted mean over the pixels of each image of a loss that is itself a mean over pixels.

    Every pixel is handed to the loss as an image of its own, so that any such loss can be weighted.

    Args:
        loss: (belief, masks) -> one value an image.
        belief: Bernoulli or Beta belief about ``masks``, maps (B, 1, H, W).
        masks: reference masks (B, 1, H, W), each value 0 or 1.
        weights: (B, 1, H, W) with mean 1 over the counted pixels of each image.
        balance: how the weighted pixels are averaged.

    Returns:
        (B,); with weights of 1 what ``loss`` itself gives.

    Raises:
        BeliefError: if ``belief`` is a mixture.
    """
    values = loss(single_pixels(belief), masks.reshape(-1, 1, 1, 1)).view_as(masks)
    return image_mean(weights * values, masks, balance=balance)


def single_pixels(belief: Belief) -> Belief:
    """Return the belief as one about B H W images of one pixel.

    Raises:
        BeliefError: if it is a mixture.
    """
    return mapped(belief, lambda values: values.reshape(-1, 1, 1, 1))
