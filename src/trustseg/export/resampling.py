"""The resize of ``trustseg.data.resizing`` as matrices, so that a graph can resize an image of any size exactly.

``resize_image`` works on NumPy arrays whose size is known. A graph learns the size of an image when it runs, so the
weights are computed inside it: in float64, where every weight and every sum is a whole number below 2^53 and exact.
"""

import torch
from torch import Tensor

__all__ = ["centred", "resampling"]


def centred(height: int, width: int, *, size: int) -> tuple[int, int, int, int]:
    """Return top, left, height and width of an image that is padded to a square, as ``image_area`` does.

    Args:
        height: of the image in pixels; may be symbolic.
        width: of the image in pixels; may be symbolic.
        size: side of the square in pixels.

    Example:
        >>> centred(100, 200, size=50)
        (12, 0, 25, 50)
    """
    longer = torch.sym_max(height, width)
    rows, columns = (torch.sym_max(1, (2 * side * size + longer) // (2 * longer)) for side in (height, width))
    return (size - rows) // 2, (size - columns) // 2, rows, columns  # type: ignore[return-value]  # symbols for ints


def resampling(length: int, inside: int, *, start: int, size: int) -> tuple[Tensor, Tensor]:
    """Return the weights of old pixels along one axis, and their sum for each new pixel.

    Args:
        length: old pixels along the axis; may be symbolic.
        inside: new pixels that the image covers; may be symbolic.
        start: the first of them; may be symbolic.
        size: new pixels, padding included.

    Returns:
        Weights (size, length), float64; their sum in each row that the image covers, 0 in the others. And that sum, a
        scalar.

    Example:
        >>> weights, total = resampling(4, 2, start=0, size=2)
        >>> (weights / total).tolist()
        [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
    """
    new = torch.arange(size, dtype=torch.float64).unsqueeze(1) - start
    old = torch.arange(length, dtype=torch.float64).unsqueeze(0)
    one = torch.ones((), dtype=torch.float64)
    shrinks = one * inside <= length
    # On a line of length * inside units a new pixel is `length` long and an old one `inside`.
    overlaps = torch.minimum((new + 1) * length, (old + 1) * inside) - torch.maximum(new * length, old * inside)
    # In units of 1 / (2 inside) of an old pixel: between two centres linear, constant beyond the outer ones.
    unit = 2 * inside
    centres = torch.minimum(((2 * new + 1) * length - inside).clamp_min(0), one * (length - 1) * unit)
    between = unit - (centres - old * unit).abs()
    weights = torch.where(shrinks, overlaps, between).clamp_min(0)
    covered = (new >= 0) & (new < inside)
    return torch.where(covered, weights, 0.0), torch.where(shrinks, one * length, one * unit)
