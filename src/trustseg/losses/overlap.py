"""Losses of overlap between a belief's probability and the reference mask.

Args:
    smooth: pixels added to numerator and denominator, > 0, so that an empty mask still has a gradient.
    alpha: weight of a false foreground pixel, >= 0.
    beta: weight of a missed foreground pixel, >= 0; alpha = beta = 1/2 is Dice with twice the ``smooth``.
"""

from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from trustseg.beliefs import Belief, reference_of
from trustseg.errors import ConfigError

__all__ = ["focal_tversky", "soft_dice", "tversky"]

Weight = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]

_FLAT: float = 1e-7  # below it a root is replaced by a line, whose slope is finite


def _flat(belief: Belief, masks: Tensor, loss: str) -> tuple[Tensor, Tensor]:
    """Return probability and mask, each (B, H W), 0 where ignored."""
    reference = reference_of(belief, masks, loss)
    return torch.where(reference.counted, belief.probability, 0).flatten(1), reference.masks.flatten(1)


def soft_dice(belief: Belief, masks: Tensor, *, smooth: Positive = 1.0) -> Tensor:
    """Return one minus the soft Dice overlap of each image, in [0, 1].

    Summed over the pixels of one image: loss = 1 - (2 sum(p y) + smooth) / (sum(p) + sum(y) + smooth). An empty mask
    with an all-zero probability gives 0. Of a Beta only the mean p counts: Dice of alpha or of evidence would reward
    endless evidence.

    Example:
        >>> from trustseg.beliefs import Bernoulli
        >>> soft_dice(Bernoulli(torch.zeros(1, 1, 2, 2)), torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]]))
        tensor([0.5000])

    Reference:
        Milletari et al., "V-Net: Fully Convolutional Neural Networks for Volumetric Medical Image Segmentation",
        3DV 2016, arXiv:1606.04797, section 3.
        Deviation: plain sums in the denominator where the paper sums squares, and smoothing.
    """
    if not smooth > 0:
        raise ConfigError(f"smooth must be above 0, got {smooth}; the usual value is 1")
    p, y = _flat(belief, masks, "soft_dice")
    overlap = 2 * (p * y).sum(dim=1) + smooth
    return 1 - overlap / (p.sum(dim=1) + y.sum(dim=1) + smooth)


def tversky(
    belief: Belief, masks: Tensor, *, alpha: Weight = 0.3, beta: Weight = 0.7, smooth: Positive = 1.0
) -> Tensor:
    """Return one minus the Tversky index of each image, in [0, 1]: Dice with weights for false alarms and misses.

    With TP = sum(p y), FP = sum(p (1 - y)), FN = sum((1 - p) y):
    loss = 1 - (TP + smooth) / (TP + alpha FP + beta FN + smooth).
    Reference:
        Salehi et al., "Tversky Loss Function for Image Segmentation Using 3D Fully Convolutional Deep Networks",
        MLMI 2017, arXiv:1706.05721, equation 4. Deviation: smoothing.
    """
    if not (alpha >= 0 and beta >= 0 and smooth > 0):
        raise ConfigError(f"alpha and beta must be at least 0 and smooth above 0, got {alpha}, {beta} and {smooth}")
    p, y = _flat(belief, masks, "tversky")
    found, wrong, missed = (each.sum(dim=1) for each in (p * y, p * (1 - y), (1 - p) * y))
    errors = alpha * wrong + beta * missed
    return errors / (found + errors + smooth)


def focal_tversky(
    belief: Belief,
    masks: Tensor,
    *,
    alpha: Weight = 0.3,
    beta: Weight = 0.7,
    gamma: Annotated[float, Ge(1)] = 4 / 3,
    smooth: Positive = 1.0,
) -> Tensor:
    """Return a root of the Tversky loss, in [0, 1], whose gradient stays large on images that are nearly right.

    loss = tversky^(1 / gamma), linear below 1e-7, where the slope of the root would be infinite.

    Args:
        gamma: order of the root, >= 1; 1 is ``tversky``.
    Reference:
        Abraham and Khan, "A Novel Focal Tversky Loss Function with Improved Attention U-Net for Lesion Segmentation",
        ISBI 2019, arXiv:1810.07842, equation 4.
    """
    if not gamma >= 1:
        raise ConfigError(f"gamma must be at least 1, got {gamma}; the usual value is 4/3")
    loss = tversky(belief, masks, alpha=alpha, beta=beta, smooth=smooth)
    return torch.where(loss > _FLAT, loss.clamp_min(_FLAT) ** (1 / gamma), loss * _FLAT ** (1 / gamma - 1))
