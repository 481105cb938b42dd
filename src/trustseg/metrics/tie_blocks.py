"""Ranked items as blocks of equal uncertainty, the input of ``ranking``, from scores and errors on tensors."""

from typing import NamedTuple

import torch
from torch import Tensor

from trustseg.errors import ConfigError, ShapeError
from trustseg.masks import require_tensors

__all__ = [
    "Blocks",
    "check_shapes",
    "checked_error",
    "checked_ranking",
    "kept_grid",
    "tie_blocks",
]


class Blocks(NamedTuple):
    """Items of equal score, or in one bin of a histogram, as blocks: the surest first.

    Attributes:
        counts: items per block (K,); 0 for an empty block.
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


def kept_grid(count: int, points: int | None) -> Tensor:
    """Return rising numbers of kept items up to ``count``, float64: every one, or about ``points`` of them."""
    if points is not None and points < 1:
        raise ConfigError(f"points is {points}, expected at least 1; pass None for one point per item")
    if points is None or points >= count:
        return torch.arange(1, count + 1, dtype=torch.float64)
    return -(-count * torch.arange(1, points + 1) // points).double()
