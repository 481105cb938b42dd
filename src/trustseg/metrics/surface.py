"""Distances between the boundaries of two masks: the 95th percentile Hausdorff distance and the surface Dice.

A boundary pixel has a background pixel, or the edge of the image, among its four neighbours. ``spacing`` is height and
width of a pixel, > 0, in millimetres, say; 1 gives distances in pixels.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from trustseg.errors import ConfigError
from trustseg.metrics.overlap import hard_masks

__all__ = ["hausdorff_95", "surface_dice"]

Distances = NDArray[np.float64]


def hausdorff_95(prediction: Tensor, masks: Tensor, *, spacing: tuple[float, float] = (1.0, 1.0)) -> Tensor:
    """Return the 95th percentile Hausdorff distance of each image, >= 0, in the unit of ``spacing``.

    The larger of two numbers: the 95th percentile, over the boundary pixels of one mask, of the distance to the nearest
    boundary pixel of the other, in both directions; NaN (undefined) where one of the two masks is empty.

    Example:
        >>> hausdorff_95(torch.tensor([[[[1, 0, 0, 0]]]]), torch.tensor([[[[0, 0, 0, 1]]]]))
        tensor([3.])

    Reference:
        Huttenlocher et al., "Comparing Images Using the Hausdorff Distance", TPAMI 15, 1993; percentile and boundary
        as MONAI's ``compute_hausdorff_distance``.
    """
    values = [
        max(np.percentile(forth, 95), np.percentile(back, 95)) if forth.size and back.size else math.nan
        for forth, back in _boundary_distances(prediction, masks, spacing)
    ]
    return torch.tensor(values, dtype=torch.float32, device=masks.device)


def surface_dice(
    prediction: Tensor, masks: Tensor, *, tolerance: float = 2.0, spacing: tuple[float, float] = (1.0, 1.0)
) -> Tensor:
    """Return the normalised surface Dice of each image: the share of both boundaries that lies close to the other.

    It is 0 where one of the two masks is empty, NaN (undefined) where both are.

    Args:
        tolerance: distance, >= 0, up to which boundaries agree, in the unit of ``spacing``; take it from how much
            readers differ.

    Example:
        >>> surface_dice(torch.tensor([[[[1, 0, 0, 0]]]]), torch.tensor([[[[0, 0, 0, 1]]]]), tolerance=3)
        tensor([1.])

    Reference:
        Nikolov et al., "Deep Learning to Achieve Clinically Applicable Segmentation of Head and Neck Anatomy for
        Radiotherapy", arXiv:1809.04430; boundary pixels counted as MONAI's ``compute_surface_dice`` does.
    """
    if not tolerance >= 0:
        raise ConfigError(f"tolerance is {tolerance}, give a distance of at least 0")
    values = []
    for forth, back in _boundary_distances(prediction, masks, spacing):
        close = np.count_nonzero(forth <= tolerance) + np.count_nonzero(back <= tolerance)
        pixels = forth.size + back.size
        values.append(close / pixels if pixels else math.nan)
    return torch.tensor(values, dtype=torch.float32, device=masks.device)


def _boundary_distances(
    prediction: Tensor, masks: Tensor, spacing: tuple[float, float]
) -> Iterator[tuple[Distances, Distances]]:
    """Yield for each image the distances of both boundaries to the other, infinite where the other mask is empty."""
    if not all(0 < side < math.inf for side in spacing):
        raise ConfigError(f"spacing is {spacing}, give height and width of a pixel, both above 0")
    predictions, references = hard_masks(prediction, masks)
    for pair in zip(predictions[:, 0], references[:, 0], strict=True):
        first, second = (mask.cpu().numpy() for mask in pair)
        edges = _cut([mask & ~ndimage.binary_erosion(mask) for mask in (first, second)])
        to_second, to_first = (_distance_to(edge, spacing) for edge in reversed(edges))
        yield to_second[edges[0]], to_first[edges[1]]


def _cut(edges: Sequence[NDArray[np.bool_]]) -> list[NDArray[np.bool_]]:
    """Return both boundaries cut to the smallest rectangle that holds them, within which all distances are taken."""
    union = np.logical_or(*edges)
    held = tuple(
        slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0)
        for places in (np.flatnonzero(union.any(axis=axis)) for axis in (1, 0))
    )
    return [edge[held] for edge in edges]


def _distance_to(edge: NDArray[np.bool_], spacing: tuple[float, float]) -> Distances:
    """Return the distance of every pixel to the nearest one of ``edge``, infinite where there is none."""
    if not edge.any():
        return np.full(edge.shape, np.inf)
    distance: Distances = ndimage.distance_transform_edt(~edge, sampling=spacing)
    return distance
