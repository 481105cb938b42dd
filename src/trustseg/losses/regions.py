"""Region losses: of the overlap, of the order of the errors, and of their distance from the border of the mask.

Args:
    smooth: pixels added to numerator and denominator, > 0, so that an empty mask still has a gradient.
    alpha: weight of a false foreground pixel, >= 0.
    beta: weight of a missed foreground pixel, >= 0; alpha = beta = 1/2 is Dice with twice the ``smooth``.
"""

from typing import Annotated

import torch
from annotated_types import Ge, Gt
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from trustseg.beliefs import Belief, reference_of
from trustseg.errors import ConfigError
from trustseg.masks import counted_mean

__all__ = ["boundary", "focal_tversky", "lovasz", "soft_dice", "tversky"]

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


def lovasz(belief: Belief, masks: Tensor) -> Tensor:
    """Return the Lovasz extension of one minus the IoU, at the pixel errors of each image, in [0, 1].

    With the errors e = |p - y| in falling order and J_k one minus the IoU of a prediction that is wrong on the first k
    of these pixels: loss = sum over k of e_k (J_k - J_(k-1)), J_0 = 0. It is one minus the IoU where every p is 0 or 1,
    and the largest p where the mask is empty.

    Reference:
        Berman et al., "The Lovasz-Softmax Loss: A Tractable Surrogate for the Optimization of the
        Intersection-over-Union Measure in Neural Networks", CVPR 2018, arXiv:1705.08790, equation 9; the foreground.
    """
    reference = reference_of(belief, masks, "lovasz")
    errors = torch.where(reference.counted, (belief.probability - reference.masks).abs(), 0).flatten(1)
    errors, order = errors.sort(dim=1, descending=True)  # ignored pixels come last, where an error of 0 counts nothing
    foreground = reference.masks.flatten(1).gather(1, order)
    background = reference.counted.flatten(1).gather(1, order) * (1 - foreground)
    pixels = foreground.sum(dim=1, keepdim=True)
    union = (pixels + background.cumsum(dim=1)).clamp_min(1)
    lost = 1 - (pixels - foreground.cumsum(dim=1)) / union
    return (errors * lost.diff(dim=1, prepend=torch.zeros_like(pixels))).sum(dim=1)


def boundary(belief: Belief, masks: Tensor) -> Tensor:
    """Return the mean error of each image, every pixel weighted by its distance from the border of the mask.

    loss = mean over the pixels of |phi| |p - y|, in pixels, >= 0, where |phi| is the distance in pixels to the nearest
    pixel of the other class, at least 1; it is 1 everywhere where the mask is empty or full. A speck far from the
    target costs more than a border that is a pixel off. Unlike an overlap it grows with the size of the image, so give
    it a small weight. Distances are computed on the CPU.

    Reference:
        Kervadec et al., "Boundary loss for highly unbalanced segmentation", MIDL 2019, arXiv:1812.07032, equation 5.
        Deviation: |phi| |p - y|, which is phi p plus a constant of the mask, is never negative, and |phi| >= 1.
    """
    reference = reference_of(belief, masks, "boundary")
    errors = (
        _distances(reference.masks > 0.5, reference.counted).to(belief.probability)
        * (belief.probability - reference.masks).abs()
    )
    return counted_mean(errors, reference.counted, empty=0.0)


def _distances(foreground: Tensor, counted: Tensor) -> Tensor:
    """Return the distance (B, 1, H, W) of each pixel to the nearest counted one of the other class, 1 without one."""
    distances = torch.ones(foreground.shape)
    for found, mask, counts in zip(distances[:, 0], foreground[:, 0].cpu(), counted[:, 0].cpu(), strict=True):
        for own, other in ((mask, counts & ~mask), (counts & ~mask, mask)):
            if own.any() and other.any():
                found[own] = torch.from_numpy(distance_transform_edt(~other.numpy())).float()[own]
    return distances
