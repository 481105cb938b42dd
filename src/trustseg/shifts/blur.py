"""Blur: lost sharpness, from focus, movement and sampling."""

import math

import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from trustseg.shifts.table import parameter, scale, uniform

__all__ = ["gaussian_blur", "low_resolution", "motion_blur"]


def gaussian_blur(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images convolved with a Gaussian, sd = 0.6 to 3.4 px at 256 px.

    Its radius is ceil(3 sd), the border is replicated. Below about 0.3 px nothing changes.

    Reference:
        Hendrycks, appendix.
    """
    deviation = parameter("gaussian_blur", images, severity) * scale(images)
    side = 2 * math.ceil(3 * deviation) + 1
    blurred: Tensor = gaussian_blur2d(images, (side, side), (deviation, deviation), border_type="replicate")
    return blurred.clamp(0, 1)


def motion_blur(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images averaged over 2 ceil(L) + 1 bilinear samples along L = 3 to 21 px at 256 px in a random direction.

    Images are replicated beyond the border.

    Reference:
        Hendrycks, section 3; a straight path of even speed.
    """
    length = parameter("motion_blur", images, severity) * scale(images)
    angle = math.pi * uniform(images, generator)
    height, width = images.shape[-2:]
    # grid_sample measures the side of an image as 2.
    direction = torch.stack([angle.cos() * 2 / width, angle.sin() * 2 / height], dim=-1)[:, None, None]
    still = torch.eye(2, 3, device=images.device).expand(len(images), 2, 3)
    grid = affine_grid(still, [len(images), 1, height, width], align_corners=False)
    offsets = torch.linspace(-length / 2, length / 2, 2 * math.ceil(length) + 1).tolist()
    total = torch.zeros_like(images)
    for offset in offsets:
        total += grid_sample(images, grid + offset * direction, padding_mode="border", align_corners=False)
    return (total / len(offsets)).clamp(0, 1)


def low_resolution(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images sampled down to f = 0.75 to 0.20 of the side with antialiasing and up again, both bilinear.

    Reference:
        Hendrycks, section 3 ("pixelate"), there with blocks.
    """
    factor = parameter("low_resolution", images, severity)
    size = images.shape[-2:]
    small = interpolate(images, [max(1, round(factor * side)) for side in size], mode="bilinear", antialias=True)
    return interpolate(small, size, mode="bilinear").clamp(0, 1)
