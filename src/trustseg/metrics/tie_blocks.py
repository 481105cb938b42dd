"""Ranked items as blocks of equal uncertainty, the input of ``ranking``, from scores and errors on tensors."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from trustseg.errors import ConfigError, ShapeError
from trustseg.masks import require_tensors
from trustseg.metrics.ranking import error_of_kept

__all__ = [
    "Blocks",
    "check_coverage",
    "check_risk",
    "check_shapes",
    "checked_error",
    "checked_ranking",
    "coverage_of_blocks",
    "kept_grid",
    "risk_of_blocks",
    "tie_blocks",
]


class Blocks(NamedTuple):
    """Tie blocks, the surest first.

    Attributes:
        counts: items per block (K,), float64; 0 for an empty block.
        error_sums: total error of each block (K,), float64.
    """

    counts: Tensor
    error_sums: Tensor


def checked_ranking(uncertainty: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
    """Return uncertainty and error flat, detached, without half types, the error in float64; raise on bad values."""
    check_shapes(uncertainty, error)
    uncertainty = uncertainty.detach().flatten()
    if uncertainty.dtype in (torch.float16, torch.bfloat16):
        uncertainty = uncertainty.float()
    if bool(torch.isnan(uncertainty).any()):
        raise ShapeError("uncertainty holds NaN, expected numbers or infinities; find where the model breaks down")
    return uncertainty, checked_error(error.flatten())


def check_shapes(uncertainty: Tensor, error: Tensor) -> None:
    """Raise unless there is one uncertainty for each error."""
    require_tensors(uncertainty=uncertainty, error=error)
    if uncertainty.shape != error.shape:
        raise ShapeError(
            f"uncertainty is {tuple(uncertainty.shape)} and error {tuple(error.shape)}, expected equal shapes; "
            "give one uncertainty for each error"
        )


def checked_error(error: Tensor) -> Tensor:
    """Return the error detached in float64; raise if a value is NaN, infinite or negative."""
    error = error.detach().double()
    if not bool((torch.isfinite(error) & (error >= 0)).all()):
        raise ShapeError(
            "error holds NaN, infinite or negative values, expected finite values >= 0; leave undefined items out"
        )
    return error


def tie_blocks(order: Tensor, error: Tensor) -> Blocks:
    """Return one block for each distinct value of ``order`` (N,), ascending, with the sums of ``error`` (N,)."""
    values, block, counts = torch.unique(order, return_inverse=True, return_counts=True)
    sums = torch.zeros(values.numel(), dtype=torch.float64, device=error.device).index_add_(0, block, error)
    return Blocks(counts.double(), sums)


def check_coverage(coverage: float) -> None:
    """Raise unless a coverage lies in (0, 1]."""
    if not 0.0 < coverage <= 1.0:
        raise ConfigError(f"coverage is {coverage}, expected a share above 0 and up to 1; pass e.g. 0.8 for 80 %")


def check_risk(risk: float) -> None:
    """Raise unless a risk is a number, of any size."""
    if math.isnan(risk):
        raise ConfigError("risk is nan, expected the highest mean error allowed; pass e.g. 0.05 for 5 % wrong pixels")


def risk_of_blocks(blocks: Blocks, coverage: float) -> Tensor:
    """Return the mean error of the surest share ``coverage`` of one problem, scalar; NaN for no items."""
    count = blocks.counts.sum()
    if not bool(count > 0):
        return torch.full_like(count, torch.nan)
    kept = (coverage * count).clamp_min(1.0).unsqueeze(0)
    return (error_of_kept(*blocks, kept) / kept).squeeze(0)


def coverage_of_blocks(blocks: Blocks, risk: float) -> Tensor:
    """Return the largest share of one problem's items with a mean error of at most ``risk``, scalar; NaN for no items.

    Inside a block the mean error of k items, (c0 + e (k - n0)) / k, moves steadily towards e, so that the largest k is
    its last item or lies where the two sides are equal, up to rounding.
    """
    counts, sums = blocks
    upto, total = counts.cumsum(0), sums.cumsum(0)
    before, total_before, mean = upto - counts, total - sums, sums / counts
    crossing = ((mean * before - total_before) / (mean - risk)).nan_to_num().floor()
    kept = torch.stack([upto, crossing + 1, crossing, crossing - 1])
    kept = torch.minimum(torch.maximum(kept, before + 1), upto)
    within = (total_before + mean * (kept - before)) / kept <= risk
    largest = torch.cat([torch.where(within, kept, 0.0).flatten(), counts.new_zeros(1)]).max()
    return largest / counts.sum()


def kept_grid(count: int, points: int | None) -> Tensor:
    """Return rising numbers of kept items up to ``count``, float64: every one, or about ``points`` of them."""
    if points is not None and points < 1:
        raise ConfigError(f"points is {points}, expected at least 1; pass None for one point per item")
    if points is None or points >= count:
        return torch.arange(1, count + 1, dtype=torch.float64)
    return -(-count * torch.arange(1, points + 1) // points).double()
