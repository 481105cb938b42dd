"""Ranked items as blocks of equal uncertainty, the input of ``ranking``, from scores and errors on tensors."""

from typing import Final, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from trustseg.errors import ConfigError, ShapeError, unknown_name
from trustseg.masks import counted, require_binary, require_same_shape

__all__ = [
    "PIXEL_ERRORS",
    "Blocks",
    "PixelError",
    "checked_error",
    "checked_ranking",
    "kept_grid",
    "pixel_error",
    "tie_blocks",
]


PixelError = Literal["wrong", "brier"]

PIXEL_ERRORS: Final = get_args(PixelError)


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
    require_same_shape(uncertainty=uncertainty, error=error)
    uncertainty = uncertainty.detach().flatten()
    if uncertainty.dtype in (torch.float16, torch.bfloat16):
        uncertainty = uncertainty.float()
    if bool(torch.isnan(uncertainty).any()):
        raise ShapeError("uncertainty holds NaN, expected numbers or infinities; find where the model breaks down")
    return uncertainty, checked_error(error.flatten())


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


def pixel_error(probability: Tensor, masks: Tensor, *, error: PixelError = "wrong") -> Tensor:
    """Return the error of each pixel, of the shape of ``masks``.

    ``"wrong"`` is [p > 1/2] != y as bool, ``"brier"`` (p - y)^2, at least float32. Where pixels are ignored, both are
    float and NaN there, which no ranking takes: leave these pixels out.

    Example:
        >>> pixel_error(torch.tensor([0.4, 0.5, 0.9]), torch.tensor([0.0, 1.0, 1.0]))
        tensor([False,  True, False])
    """
    require_same_shape(probability=probability, masks=masks)
    require_binary(masks)
    if error == "wrong":
        wrong, inside = (probability > 0.5) != (masks > 0.5), counted(masks)
        return wrong if bool(inside.all()) else torch.where(inside, wrong.float(), torch.nan)
    if error == "brier":
        promoted = torch.promote_types(probability.dtype, torch.float32)
        return (probability.to(promoted) - masks.to(promoted)).square()
    raise unknown_name("pixel error", error, PIXEL_ERRORS)
