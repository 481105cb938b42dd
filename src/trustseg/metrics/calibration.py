"""Calibration error and Brier score of the foreground probability.

The state of a binned calibration error is n, sum p and sum y of each bin: exact, mergeable by adding, and small enough
to keep for every image and to bootstrap by patient.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from trustseg.errors import ConfigError, ShapeError
from trustseg.masks import counted, counted_mean, filled, require_binary, require_tensors
from trustseg.metrics.counts import calibration_error_from_counts

__all__ = [
    "brier",
    "calibration_counts",
    "calibration_counts_by_region",
    "check_bins",
    "checked_probability",
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

    Example:
        >>> calibration_counts(torch.tensor([[0.0, 0.5, 1.0]]), torch.tensor([[0.0, 1.0, 1.0]]), bins=2)
        tensor([[[1.0000, 0.0000, 0.0000],
                 [2.0000, 1.5000, 2.0000]]], dtype=torch.float64)
    """
    return calibration_counts_by_region(probability, masks, [region], bins=bins)[0]


def calibration_counts_by_region(
    probability: Tensor, masks: Tensor, regions: Sequence[Tensor | None], *, bins: int = 15
) -> list[Tensor]:
    """Return ``calibration_counts`` in each of several regions, None for the whole image; pixels are binned once."""
    for region in regions:
        _check_region(region, masks)
    probability, masks, known = checked_probability(probability, masks, bins, None)
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
    probability, masks, inside = checked_probability(probability, masks, 1, None)
    return counted_mean((probability.double() - masks.double()).square(), inside)


def checked_probability(
    probability: Tensor, masks: Tensor, bins: int, region: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return probability (at least float32), masks and which pixels count, detached; raise if anything does not fit."""
    _check_shapes("probability", probability, masks)
    check_bins(bins)
    _check_region(region, masks)
    probability = probability.detach().to(torch.promote_types(probability.dtype, torch.float32))
    if not bool(((probability >= 0) & (probability <= 1)).all()):
        raise ShapeError("probability holds NaN or values outside [0, 1]; pass belief.probability, not logits")
    require_binary(masks)
    inside = counted(masks)
    return probability, masks.detach(), inside if region is None else region & inside


def _check_shapes(name: str, values: Tensor, masks: Tensor) -> None:
    require_tensors(**{name: values, "masks": masks})
    if values.shape != masks.shape or masks.ndim < 2:
        raise ShapeError(
            f"{name} is {tuple(values.shape)} and masks {tuple(masks.shape)}, expected the same (B, ...); "
            "resize the prediction to the mask, or add the missing dimension"
        )


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
