"""The error of each pixel, for rankings by its uncertainty."""

from typing import Final, Literal

import torch
from torch import Tensor

from trustseg.errors import ShapeError, unknown_name
from trustseg.masks import counted, require_binary, require_tensors

__all__ = ["PIXEL_ERRORS", "PixelError", "pixel_error"]

PixelError = Literal["wrong", "brier"]

PIXEL_ERRORS: Final = ("wrong", "brier")


def pixel_error(probability: Tensor, masks: Tensor, *, error: PixelError = "wrong") -> Tensor:
    """Return the error of each pixel, of the shape of ``masks``.

    ``"wrong"`` is [p > 1/2] != y as bool, ``"brier"`` (p - y)^2, at least float32. Where pixels are ignored, both are
    float and NaN there, which no ranking takes: leave these pixels out.

    Example:
        >>> pixel_error(torch.tensor([0.4, 0.5, 0.9]), torch.tensor([0.0, 1.0, 1.0]))
        tensor([False,  True, False])
    """
    require_tensors(probability=probability, masks=masks)
    if probability.shape != masks.shape:
        raise ShapeError(
            f"probability is {tuple(probability.shape)} and masks {tuple(masks.shape)}, expected equal shapes; "
            "resize the prediction to the mask"
        )
    require_binary(masks)
    if error == "wrong":
        wrong, inside = (probability > 0.5) != (masks > 0.5), counted(masks)
        return wrong if bool(inside.all()) else torch.where(inside, wrong.float(), torch.nan)
    if error == "brier":
        promoted = torch.promote_types(probability.dtype, torch.float32)
        return (probability.to(promoted) - masks.to(promoted)).square()
    raise unknown_name("pixel error", error, PIXEL_ERRORS)
