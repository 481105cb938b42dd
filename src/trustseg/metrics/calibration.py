"""Calibration error and Brier score of the foreground probability, and the region near the border.

The state of a binned calibration error is n, sum p and sum y of each bin: exact, mergeable by adding, and small enough
to keep for every image and to bootstrap by patient.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from trustseg.errors import ConfigError, ShapeError
from trustseg.masks import counted, counted_mean, filled, require_binary, require_same_shape, require_tensors
from trustseg.metrics.counts import calibration_error_from_counts

__all__ = [
    "boundary_band",
    "brier",
    "calibration_counts",
    "calibration_counts_by_region",
    "check_bins",
    "expected_calibration_error",
]


def expected_calibration_error(
    probability: Tensor, masks: Tensor, *, bins: int = 15, region: Tensor | None = None
) -> Tensor:
    """Return the expected calibration error of the foreground probability, over all pixels at once, in [0, 1].

    ECE = sum over bins of (n_b / N) |mean p - mean y|; NaN if no pixel counts. Of the whole image it looks perfect
    because most pixels are easy background: give ``region`` too.

    Example:
        >>> expected_calibration_error(torch.tensor([[0.9, 0.9, 0.2]]), torch.tensor([[1.0, 0.0, 0.0]]))
        tensor(0.3333, dtype=torch.float64)

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, arXiv:1706.04599, equation 3.
        Deviation: probability of the positive class, not of the predicted one.
    """
    return calibration_error_from_counts(calibration_counts(probability, masks, bins=bins, region=region).sum(0))


def calibration_counts(probability: Tensor, masks: Tensor, *, bins: int = 15, region: Tensor | None = None) -> Tensor:
    """Return pixels, sum of p and sum of y in each bin, for every image, (B, bins, 3) float64.

    Sums over images are the counts of the images together.
    """
    return calibration_counts_by_region(probability, masks, [region], bins=bins)[0]


def calibration_counts_by_region(
    probability: Tensor, masks: Tensor, regions: Sequence[Tensor | None], *, bins: int = 15
) -> list[Tensor]:
    """Return ``calibration_counts`` in each of several regions, None for the whole image; pixels are binned once."""
    for region in regions:
        _check_region(region, masks)
    check_bins(bins)
    probability, masks, known = _checked(probability, masks)
    image = torch.arange(len(probability), device=probability.device).view(-1, *[1] * (probability.ndim - 1))
    cell = _bin_of(probability, bins) + bins * image
    parts = [region for region in regions if region is not None]
    for region in parts:  # one more digit of the cell, so that each pixel is added once
        cell = cell.mul_(2).add_(region)
    inside = known.to(probability.dtype)
    counts = torch.zeros(3, len(probability) * bins << len(parts), dtype=torch.float64, device=probability.device)
    for sums, values in zip(counts, (inside, probability * inside, filled(masks) * inside), strict=True):
        sums.index_add_(0, cell.flatten(), values.double().flatten())
    table = counts.view(3, len(probability), bins, *[2] * len(parts))
    found, digit = [], 3
    for region in regions:
        own = table if region is None else table.select(digit, 1)
        digit += region is not None
        found.append(own.flatten(3).sum(dim=3) if own.ndim > 3 else own)
    return [sums.permute(1, 2, 0) for sums in found]


def _bin_of(probability: Tensor, bins: int) -> Tensor:
    """Return the number of edges k / bins, 0 < k < bins, that are not above each probability, as ``bucketize`` does.

    The product, which rounds, is one bin off at most; the edges of its bin tell. A search takes several times longer.
    """
    edges = (torch.arange(bins + 1, dtype=torch.float64, device=probability.device) / bins).to(probability.dtype)
    edges[bins] = torch.inf
    guess = (probability * bins).long().clamp_(max=bins - 1)
    above = (probability >= edges.take(guess)), (probability >= edges[1:].take(guess))
    return guess.add_(above[0]).add_(above[1]).sub_(1)


def brier(probability: Tensor, masks: Tensor) -> Tensor:
    """Return the Brier score of each image, the mean of (p - y)^2, (B,) float64; NaN where every pixel is ignored.

    It is the one-output form, in [0, 1], half the sum over both classes.

    Example:
        >>> brier(torch.tensor([[1.0, 0.5]]), torch.tensor([[1.0, 0.0]]))
        tensor([0.1250], dtype=torch.float64)
    """
    probability, masks, inside = _checked(probability, masks)
    return counted_mean((probability.double() - masks.double()).square(), inside)


def _checked(probability: Tensor, masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return probability (at least float32), masks and which pixels count, detached; raise if anything does not fit."""
    require_same_shape(2, probability=probability, masks=masks)
    probability = probability.detach().to(torch.promote_types(probability.dtype, torch.float32))
    if not bool(((probability >= 0) & (probability <= 1)).all()):
        raise ShapeError("probability holds NaN or values outside [0, 1]; pass belief.probability, not logits")
    require_binary(masks)
    return probability, masks.detach(), counted(masks)


def _check_region(region: Tensor | None, masks: Tensor) -> None:
    if region is not None and (region.shape != masks.shape or region.dtype != torch.bool):
        raise ShapeError(
            f"region is {tuple(region.shape)} of {region.dtype}, expected {tuple(masks.shape)} of torch.bool; "
            "pass e.g. boundary_band(masks)"
        )


def check_bins(bins: int) -> None:
    """Raise unless there is at least one bin."""
    if bins < 1:
        raise ConfigError(f"bins is {bins}, expected at least 1; the usual number is 15")


def boundary_band(masks: Tensor, *, width: int = 5) -> Tensor:
    """Return the pixels (B, 1, H, W), bool, that have both classes within Chebyshev distance ``width`` >= 0 in pixels.

    Neither the edge of the image nor that of a padded one is a boundary: ignored pixels are of neither class and never
    in the band. It is empty for an empty or a full mask, and for ``width`` 0.

    Example:
        >>> boundary_band(torch.tensor([[[[0.0, 0.0, 0.0, 1.0, 1.0]]]]), width=1)
        tensor([[[[False, False,  True,  True, False]]]])
    """
    require_tensors(masks=masks)
    if masks.ndim != 4:
        raise ShapeError(f"masks are {tuple(masks.shape)}, expected (B, 1, H, W); add the missing dimension")
    if width < 0:
        raise ConfigError(f"width is {width}, expected pixels >= 0; the usual band is 5")
    require_binary(masks)
    inside, foreground = counted(masks), masks > 0.5
    return _dilated(foreground, width) & _dilated(inside & ~foreground, width) & inside


def _dilated(mask: Tensor, width: int) -> Tensor:
    """Return where a bool mask is set within Chebyshev distance ``width``: down the columns, then along the rows.

    A mask that reaches r pixels is laid over itself up to 2 r + 1 pixels away: few passes for any width.
    """
    for dim in (2, 3):
        reached = 0
        while reached < width:
            step = min(width - reached, 2 * reached + 1)
            length = max(0, mask.shape[dim] - step)
            wider = mask.clone()
            wider.narrow(dim, mask.shape[dim] - length, length).logical_or_(mask.narrow(dim, 0, length))
            wider.narrow(dim, 0, length).logical_or_(mask.narrow(dim, mask.shape[dim] - length, length))
            mask, reached = wider, reached + step
    return mask
