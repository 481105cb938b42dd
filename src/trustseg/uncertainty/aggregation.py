"""Image scores from a map of uncertainty and a probability; what they share stands in ``trustseg.uncertainty``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

import torch
from annotated_types import Ge, Le
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from trustseg.entries import Entry
from trustseg.errors import ConfigError
from trustseg.uncertainty.agreement import soft_dice_confidence
from trustseg.uncertainty.lesions import lesion_max, lesion_mean
from trustseg.uncertainty.maps import check_maps
from trustseg.uncertainty.spatial import morans_i

__all__ = [
    "AGGREGATIONS",
    "AggregationFacts",
    "boundary_excluded_mean",
    "count_above",
    "patch_max",
    "quantile_mean",
]


Share = Annotated[float, Ge(0), Le(1)]


@dataclass(frozen=True, slots=True)
class AggregationFacts:
    """Facts about an aggregation for configurations and deferral.

    Attributes:
        ranks: whether higher is less sure; one that only sees a pattern does not choose or defer images.
        counts: whether it counts pixels above its option ``threshold``; a measure that stays below scores 0 everywhere.
    """

    ranks: bool = True
    counts: bool = False


def _region_mean(uncertainty: Tensor, region: Tensor) -> Tensor:
    """Return the mean over a region (B, 1, H, W) of each image, or the maximum of its map if the region is empty."""
    values, inside = uncertainty.flatten(1), region.flatten(1)
    pixels = inside.sum(dim=1)
    total = torch.where(inside, values, 0).sum(dim=1)
    return torch.where(pixels > 0, total / pixels.clamp_min(1), values.amax(dim=1))


def mean(uncertainty: Tensor, probability: Tensor) -> Tensor:
    """Return the mean of the map; diluted by background.

    Reference:
        Zenk; mean aggregation.
    """
    check_maps(uncertainty, probability)
    return uncertainty.flatten(1).mean(dim=1)


def max_(uncertainty: Tensor, probability: Tensor) -> Tensor:
    """Return the maximum of the map; one pixel decides. Its name in ``AGGREGATIONS`` is ``max``.

    Reference:
        An order statistic, with no source of its own.
    """
    check_maps(uncertainty, probability)
    return uncertainty.flatten(1).amax(dim=1)


def count_above(uncertainty: Tensor, probability: Tensor, *, threshold: float = 0.5) -> Tensor:
    """Return the number of pixels above a threshold, in the type of the map; grows with object size and resolution.

    Args:
        threshold: in the unit of the map; take it from the calibration split.

    Reference:
        ValUES; threshold-level aggregation.
        Deviation: a count of pixels where they average the values above the threshold.
    """
    check_maps(uncertainty, probability)
    return (uncertainty > threshold).flatten(1).sum(dim=1).to(uncertainty.dtype)


def quantile_mean(uncertainty: Tensor, probability: Tensor, *, quantile: Share = 0.95) -> Tensor:
    """Return the mean of the k largest values, k = max(1, round((1 - quantile) H W)); elsewhere called top-q mean.

    Args:
        quantile: in [0, 1]; 0 is the mean of the map, 1 its maximum.

    Reference:
        ValUES; the threshold as a quantile of each map.
    """
    check_maps(uncertainty, probability)
    if not 0 <= quantile <= 1:
        raise ConfigError(f"quantile must lie in [0, 1], got {quantile}; 0.95 keeps the largest 5 % of the pixels")
    values = uncertainty.flatten(1)
    kept = max(1, round((1 - quantile) * values.shape[1]))
    return values.topk(kept, dim=1).values.mean(dim=1)


def foreground_mean(uncertainty: Tensor, probability: Tensor) -> Tensor:
    """Return the mean over the predicted foreground; blind to missed foreground.

    Reference:
        QuickNAT; structure-wise mean.
    """
    check_maps(uncertainty, probability)
    return _region_mean(uncertainty, probability > 0.5)


def boundary_excluded_mean(uncertainty: Tensor, probability: Tensor, *, width: Annotated[int, Ge(0)] = 2) -> Tensor:
    """Return the mean outside the rim of the prediction, so that the length of the rim does not count.

    The rim is every pixel that has both predicted classes within Chebyshev distance ``width``; the edge of the
    image is no rim.

    Args:
        width: pixels, >= 0; 0 excludes nothing.

    Reference:
        ValUES; the concern that large objects look unsure.
    """
    check_maps(uncertainty, probability)
    if width < 0:
        raise ConfigError(f"width must be at least 0 pixels, got {width}; the usual value is 2")
    positive = (probability > 0.5).to(uncertainty.dtype)
    dilated = max_pool2d(positive, 2 * width + 1, stride=1, padding=width)
    eroded = -max_pool2d(-positive, 2 * width + 1, stride=1, padding=width)
    return _region_mean(uncertainty, dilated == eroded)


def patch_max(uncertainty: Tensor, probability: Tensor, *, patch: Annotated[int, Ge(1)] = 16) -> Tensor:
    """Return the largest mean over all square windows of the map.

    Args:
        patch: side of a window in pixels, >= 1, cut to the image; windows move by one pixel.

    Reference:
        ValUES; patch-level aggregation.
        Deviation: the mean of a window where they sum, so that the score does not depend on its size.
    """
    check_maps(uncertainty, probability)
    if patch < 1:
        raise ConfigError(f"patch must be at least 1 pixel, got {patch}; the usual value is 16")
    height, width = uncertainty.shape[-2:]
    window = (min(patch, height), min(patch, width))
    return avg_pool2d(uncertainty, window, stride=1).flatten(1).amax(dim=1)


AGGREGATIONS: Final[Mapping[str, Entry[Tensor, AggregationFacts]]] = {
    "mean": Entry(mean, "mean", AggregationFacts()),
    "max": Entry(max_, "max", AggregationFacts()),  # the underscore keeps the builtin visible in this file
    "count_above": Entry(count_above, "count above", AggregationFacts(counts=True)),
    "quantile_mean": Entry(quantile_mean, "quantile mean", AggregationFacts()),
    "foreground_mean": Entry(foreground_mean, "foreground mean", AggregationFacts()),
    "boundary_excluded_mean": Entry(boundary_excluded_mean, "boundary-excluded mean", AggregationFacts()),
    "patch_max": Entry(patch_max, "patch max", AggregationFacts()),
    "lesion_mean": Entry(lesion_mean, "lesion mean", AggregationFacts()),
    "lesion_max": Entry(lesion_max, "lesion max", AggregationFacts()),
    "morans_i": Entry(morans_i, "Moran's I", AggregationFacts(ranks=False)),
    "soft_dice_confidence": Entry(soft_dice_confidence, "soft Dice confidence", AggregationFacts()),
}
