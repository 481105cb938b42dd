"""Image scores from a map of uncertainty and a probability; what they share stands in ``trustseg.uncertainty``.

A lesion is a connected piece of the prediction, whose pixels touch by an edge or a corner.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
import torch
from annotated_types import Ge, Le
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from trustseg.beliefs import Belief, Mixture
from trustseg.entries import Entry
from trustseg.errors import BeliefError, ConfigError, ShapeError
from trustseg.masks import require_tensors

__all__ = ["AGGREGATIONS", "AggregationFacts", "pairwise_disagreement"]

Share = Annotated[float, Ge(0), Le(1)]


def _check_maps(uncertainty: Tensor, probability: Tensor) -> None:
    """Raise a ShapeError unless both are tensors of one shape (B, 1, H, W)."""
    require_tensors(uncertainty=uncertainty, probability=probability)
    if uncertainty.shape != probability.shape or uncertainty.ndim != 4:
        raise ShapeError(
            "uncertainty and probability must have one shape (B, 1, H, W), "
            f"got {tuple(uncertainty.shape)} and {tuple(probability.shape)}; take both from the same belief"
        )


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
    _check_maps(uncertainty, probability)
    return uncertainty.flatten(1).mean(dim=1)


def max_(uncertainty: Tensor, probability: Tensor) -> Tensor:
    """Return the maximum of the map; one pixel decides. Its name in ``AGGREGATIONS`` is ``max``.

    Reference:
        An order statistic, with no source of its own.
    """
    _check_maps(uncertainty, probability)
    return uncertainty.flatten(1).amax(dim=1)


def count_above(uncertainty: Tensor, probability: Tensor, *, threshold: float = 0.5) -> Tensor:
    """Return the number of pixels above a threshold, in the type of the map; grows with object size and resolution.

    Args:
        threshold: in the unit of the map; take it from the calibration split.

    Reference:
        ValUES; threshold-level aggregation.
        Deviation: a count of pixels where they average the values above the threshold.
    """
    _check_maps(uncertainty, probability)
    return (uncertainty > threshold).flatten(1).sum(dim=1).to(uncertainty.dtype)


def quantile_mean(uncertainty: Tensor, probability: Tensor, *, quantile: Share = 0.95) -> Tensor:
    """Return the mean of the k largest values, k = max(1, round((1 - quantile) H W)); elsewhere called top-q mean.

    Args:
        quantile: in [0, 1]; 0 is the mean of the map, 1 its maximum.

    Reference:
        ValUES; the threshold as a quantile of each map.
    """
    _check_maps(uncertainty, probability)
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
    _check_maps(uncertainty, probability)
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
    _check_maps(uncertainty, probability)
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
    _check_maps(uncertainty, probability)
    if patch < 1:
        raise ConfigError(f"patch must be at least 1 pixel, got {patch}; the usual value is 16")
    height, width = uncertainty.shape[-2:]
    window = (min(patch, height), min(patch, width))
    return avg_pool2d(uncertainty, window, stride=1).flatten(1).amax(dim=1)


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
    _check_maps(uncertainty, probability)
    means, home = _lesion_means(uncertainty, probability)
    lesions = torch.bincount(home, minlength=len(uncertainty))
    totals = uncertainty.new_zeros(len(uncertainty)).index_add(0, home, means)
    return torch.where(lesions > 0, totals / lesions.clamp_min(1), uncertainty.flatten(1).amax(dim=1))


def lesion_max(uncertainty: Tensor, probability: Tensor) -> Tensor:
    """Return the mean of the map over the least sure predicted lesion: one doubtful lesion marks the image.

    Reference:
        QuickNAT; structure-wise mean. Deviation: the largest one, for images with several lesions.
    """
    _check_maps(uncertainty, probability)
    means, home = _lesion_means(uncertainty, probability)
    lowest = uncertainty.new_full((len(uncertainty),), -torch.inf)
    largest = lowest.scatter_reduce(0, home, means, "amax")
    return torch.where(largest > -torch.inf, largest, uncertainty.flatten(1).amax(dim=1))


def morans_i(uncertainty: Tensor, probability: Tensor) -> Tensor:
    """Return Moran's I of the map: near 1 where unsure pixels lie together, near 0 where they are scattered.

    With n pixels, d = u - mean(u), and W the number of pairs of pixels that share an edge, each counted once:
    I = (n / W) sum over pairs of (d_i d_j) / sum(d^2). No unit, about -1 (a chequerboard) to 1; 0 for a constant map.
    It measures the pattern and not the level, so report it with a mean. The probability is not read.

    Reference:
        Moran, "Notes on Continuous Stochastic Phenomena", Biometrika 37, 1950; rook neighbours of weight 1.
    """
    _check_maps(uncertainty, probability)
    maps = uncertainty.double()
    flat = maps.flatten(1)
    d = maps - flat.mean(dim=1).view(-1, 1, 1, 1)
    height, width = maps.shape[-2:]
    pairs = height * (width - 1) + (height - 1) * width
    products = (d[..., 1:] * d[..., :-1]).flatten(1).sum(dim=1) + (d[..., 1:, :] * d[..., :-1, :]).flatten(1).sum(dim=1)
    varies = flat.amin(dim=1) < flat.amax(dim=1)
    squares = torch.where(varies, d.square().flatten(1).sum(dim=1), 1.0)
    score = torch.where(varies, flat.shape[1] / max(1, pairs) * products / squares, 0.0)
    return score.to(uncertainty.dtype)


def soft_dice_confidence(uncertainty: Tensor, probability: Tensor) -> Tensor:
    """Return one minus the soft Dice confidence, in [0, 1]: the Dice to expect if the probability is calibrated.

    With F the predicted pixels: score = 1 - 2 sum over F of p / (sum(p) + |F|); 1, the largest, where nothing is
    predicted. It does not read the map, so it is the same for every measure.

    Reference:
        Borges et al., "Soft Dice Confidence: A Near-Optimal Confidence Estimator for Selective Prediction in Semantic
        Segmentation", arXiv:2402.10665. Deviation: one minus it, so that higher is less sure.
    """
    _check_maps(uncertainty, probability)
    p = probability.flatten(1)
    predicted = p > 0.5
    inside = torch.where(predicted, p, 0).sum(dim=1)
    union = p.sum(dim=1) + predicted.sum(dim=1)
    return 1 - 2 * inside / union.clamp_min(torch.finfo(p.dtype).tiny)


def pairwise_disagreement(belief: Belief) -> Tensor:
    """Return one minus the mean Dice between the predictions of every two members of a mixture, (B,) in [0, 1].

    Of two empty predictions the Dice is 1, of an empty and another one 0. It needs the members, so it is no aggregation
    of a map; any belief but a mixture of at least two members raises a BeliefError.

    Reference:
        QuickNAT, Dice agreement of Monte-Carlo samples; Zenk, for ensembles.
    """
    if not isinstance(belief, Mixture) or len(belief.members) < 2:
        got = f"{len(belief.members)} member" if isinstance(belief, Mixture) else f"a {type(belief).__name__}"
        raise BeliefError(
            f"pairwise_disagreement needs a mixture of at least 2 members, got {got}; use MCDropout or a DeepEnsemble"
        )
    predicted = torch.stack([(member.log_odds > 0).flatten(1) for member in belief.members], dim=1).float()
    overlap = predicted @ predicted.transpose(1, 2)  # (B, M, M), whole numbers, exact in float32 up to 16.7 million
    area = predicted.sum(dim=2)
    sizes = area.unsqueeze(1) + area.unsqueeze(2)
    agreement = torch.where(sizes > 0, 2 * overlap / sizes.clamp_min(1), 1.0)
    members = len(belief.members)
    first, second = torch.triu_indices(members, members, offset=1, device=agreement.device)
    return 1 - agreement[:, first, second].mean(dim=1)


@dataclass(frozen=True, slots=True)
class AggregationFacts:
    """Facts about an aggregation for configurations and deferral.

    Attributes:
        ranks: whether higher is less sure; one that only sees a pattern does not choose or defer images.
        counts: whether it counts pixels above its option ``threshold``; a measure that stays below scores 0 everywhere.
    """

    ranks: bool = True
    counts: bool = False


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
