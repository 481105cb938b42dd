"""Field: uneven or limited exposure."""

import torch
from torch import Tensor

from trustseg.shifts.table import parameter, scale, uniform

__all__ = ["collimation", "collimation_cover", "collimation_over", "vignette"]


def vignette(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images that darken outwards: x (1 - v r^2), r = 0 in the centre and 1 in the corners; v = 0.15 to 0.75.

    Reference:
        Our own; the form is that of a lens to second order.
    """
    loss = parameter("vignette", images, severity)
    rows, columns = (2 * _centres(images, dim) / images.shape[dim] - 1 for dim in (2, 3))
    return (images * (1 - loss * (rows[:, None] ** 2 + columns**2) / 2)).clamp(0, 1)


def collimation(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images with a black border of random width on each side, mean width w = 0.02 to 0.10 of the side.

    It hides anatomy. The four widths of each image are random, uniform in [w / 2, 3 w / 2].

    Reference:
        Our own.
    """
    return collimation_over(images, collimation_cover(images, severity, generator))


def collimation_over(images: Tensor, cover: Tensor) -> Tensor:
    """Return ``images`` (B, C, H, W) behind a border as opaque as ``cover`` (B, 1, H, W)."""
    return images * (1 - cover)


def collimation_cover(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return how opaque the border of ``collimation`` is, (B, 1, H, W) in [0, 1], its edge 2 px soft at 256 px."""
    width = parameter("collimation", images, severity)
    left, right, top, bottom = (width * (0.5 + uniform(images, generator, 4, 1))).unbind(dim=1)
    softness = 2 * scale(images)

    def opening(before: Tensor, after: Tensor, dim: int) -> Tensor:
        side, centres = images.shape[dim], _centres(images, dim)
        rising = (centres - side * before) / softness + 0.5
        falling = (side * (1 - after) - centres) / softness + 0.5
        return rising.clamp(0, 1) * falling.clamp(0, 1)

    return 1 - opening(top, bottom, 2)[:, None, :, None] * opening(left, right, 3)[:, None, None, :]


def _centres(images: Tensor, dim: int) -> Tensor:
    """Return the positions of the pixel centres along a dimension, 0.5 to the side less 0.5."""
    return torch.arange(images.shape[dim], device=images.device) + 0.5
