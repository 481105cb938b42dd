"""Losses of overlap between a belief's probability and the reference mask."""

import torch
from torch import Tensor

from trustseg.beliefs import Belief, reference_of
from trustseg.errors import ConfigError

__all__ = ["soft_dice"]


def soft_dice(belief: Belief, masks: Tensor, *, smooth: float = 1.0) -> Tensor:
    """Return one minus the soft Dice overlap of each image.

    With p the foreground probability and y the mask, summed over the pixels of one image:
    loss = 1 - (2 sum(p y) + smooth) / (sum(p) + sum(y) + smooth).

    Of a Beta it sees the mean p only. Dice of alpha or of evidence would pay for endless evidence.

    Args:
        belief: belief about ``masks``; its ``probability`` is (B, 1, H, W) in [0, 1].
        masks: reference masks (B, 1, H, W), each value 0 or 1.
        smooth: pixels added to numerator and denominator, > 0, so that an empty mask still has a gradient.

    Returns:
        (B,) in [0, 1]; an empty mask with an all-zero probability gives 0, and so do ignored pixels alone.

    Raises:
        ShapeError: if ``masks`` and ``belief.probability`` differ in shape or are not (B, 1, H, W).
        ConfigError: if ``smooth`` is not above 0.

    Example:
        >>> from trustseg.beliefs import Bernoulli
        >>> import torch
        >>> soft_dice(Bernoulli(torch.zeros(1, 1, 2, 2)), torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]]))
        tensor([0.5000])

    Reference:
        Milletari et al., "V-Net: Fully Convolutional Neural Networks for Volumetric Medical Image Segmentation",
        3DV 2016, arXiv:1606.04797, section 3.
        Deviation: plain sums in the denominator where the paper sums squares, and smoothing.
    """
    if not smooth > 0:
        raise ConfigError(f"smooth must be above 0, got {smooth}; the usual value is 1")
    reference = reference_of(belief, masks, "soft_dice")
    p = torch.where(reference.counted, belief.probability, 0).flatten(1)
    y = reference.masks.flatten(1)
    overlap = 2 * (p * y).sum(dim=1) + smooth
    return 1 - overlap / (p.sum(dim=1) + y.sum(dim=1) + smooth)
