"""Distances between the boundaries of two masks: the 95th percentile Hausdorff distance and the surface Dice.

A boundary pixel has a background pixel, or the edge of the image, among its four neighbours. ``spacing`` is height and
width of a pixel, > 0, in millimetres, say; 1 gives distances in pixels.
"""

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from torch import Tensor

from trustseg.errors import ConfigError
from trustseg.metrics.overlap import planes

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
    for pair in zip(*planes(prediction, masks), strict=True):
        first, second = (np.packbits(mask).tobytes() for mask in pair)
        yield _distances_between(first, second, (masks.shape[-2], masks.shape[-1]), (spacing[0], spacing[1]))


@lru_cache(maxsize=64)  # both metrics of this file read the same distances, one after the other for a batch
def _distances_between(
    first: bytes, second: bytes, shape: tuple[int, int], spacing: tuple[float, float]
) -> tuple[Distances, Distances]:
    """Return the distances of the boundaries of two masks, given as packed bits, to each other; read-only."""
    count = math.prod(shape)
    pair = [
        np.unpackbits(np.frombuffer(packed, np.uint8), count=count).reshape(shape).astype(bool)
        for packed in (first, second)
    ]
    edges = [_boundary(mask) for mask in _cut(pair)]
    sizes = [np.count_nonzero(edge) for edge in edges]
    nearest = _by_points if 16 * sum(sizes) < edges[0].size else _by_transform
    if 0 in sizes:
        found = np.full(sizes[0], np.inf), np.full(sizes[1], np.inf)
    else:
        found = nearest(edges[0], edges[1], spacing), nearest(edges[1], edges[0], spacing)
    for distances in found:
        distances.setflags(write=False)
    return found


def _cut(pair: Sequence[NDArray[np.bool_]]) -> list[NDArray[np.bool_]]:
    """Return both masks cut to the smallest rectangle that holds them, within which all distances are taken."""
    found = ndimage.find_objects(np.logical_or(*pair).astype(np.int8))
    return [mask[found[0]] if found else mask[:0, :0] for mask in pair]


def _boundary(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of a mask that have a neighbour outside it; beyond the edge of the array all is outside."""
    wide = np.pad(mask, 1)
    inner = wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    return np.asarray(mask & ~inner)


def _by_transform(edge: NDArray[np.bool_], other: NDArray[np.bool_], spacing: tuple[float, float]) -> Distances:
    """Return the distance of every pixel of ``edge`` to the nearest one of ``other``; its time grows with the area."""
    return np.asarray(ndimage.distance_transform_edt(~other, sampling=spacing)[edge])


def _by_points(edge: NDArray[np.bool_], other: NDArray[np.bool_], spacing: tuple[float, float]) -> Distances:
    """Return the same from a search tree of the pixels; its time grows with their number."""
    points, others = (np.argwhere(pixels) * spacing for pixels in (edge, other))
    return np.asarray(cKDTree(others).query(points)[0])
