"""Image scores by predicted lesion: each counts once, whatever its size.

A lesion is a connected piece of the prediction, whose pixels touch by an edge or a corner.
"""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from trustseg.uncertainty.maps import check_maps

__all__ = ["lesion_max", "lesion_mean"]


def _lesion_means(uncertainty: Tensor, probability: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of the map over each predicted lesion of the batch (L,), and the image (L,) it lies in."""
    touching = np.zeros((3, 3, 3), dtype=bool)
    touching[1] = True  # the eight neighbours within an image, none in the next one
    labels, count = ndimage.label((probability[:, 0] > 0.5).cpu().numpy(), structure=touching)
    label = torch.from_numpy(labels).to(uncertainty.device).long().flatten()
    pixels = torch.bincount(label, minlength=count + 1)[1:]
    totals = uncertainty.new_zeros(count + 1).index_add(0, label, uncertainty.flatten())[1:]
    image = torch.arange(len(uncertainty), device=label.device).repeat_interleave(uncertainty[0].numel())
    home = image.new_zeros(count + 1).scatter_reduce(0, label, image, "amax")[1:]
    return totals / pixels, home


def lesion_mean(uncertainty: Tensor, probability: Tensor) -> Tensor:
    """Return the mean over the predicted lesions of the mean of the map over each.

    Unlike in ``foreground_mean``, a small lesion counts as much as a large one.

    Reference:
        QuickNAT; structure-wise mean, a structure being a connected lesion.
    """
    check_maps(uncertainty, probability)
    means, home = _lesion_means(uncertainty, probability)
    lesions = torch.bincount(home, minlength=len(uncertainty))
    totals = uncertainty.new_zeros(len(uncertainty)).index_add(0, home, means)
    return torch.where(lesions > 0, totals / lesions.clamp_min(1), uncertainty.flatten(1).amax(dim=1))


def lesion_max(uncertainty: Tensor, probability: Tensor) -> Tensor:
    """Return the mean of the map over the least sure predicted lesion: one doubtful lesion marks the image.

    Reference:
        QuickNAT; structure-wise mean. Deviation: the largest one, for images with several lesions.
    """
    check_maps(uncertainty, probability)
    means, home = _lesion_means(uncertainty, probability)
    lowest = uncertainty.new_full((len(uncertainty),), -torch.inf)
    largest = lowest.scatter_reduce(0, home, means, "amax")
    return torch.where(largest > -torch.inf, largest, uncertainty.flatten(1).amax(dim=1))
