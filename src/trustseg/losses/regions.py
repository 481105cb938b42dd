"""Region losses that depend on the order of the errors, or on their distance from the border of the mask."""

import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from trustseg.beliefs import Belief, reference_of
from trustseg.masks import counted_mean

__all__ = ["boundary", "lovasz"]


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
    lesion costs more than a border that is a pixel off. Unlike an overlap it grows with the size of the image, so give
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
