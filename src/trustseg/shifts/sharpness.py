"""Sharpness: detail lost by focus, movement, sampling and lossy storage."""

import math
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate, pad

from trustseg.shifts.table import parameter, pixel_grid, scale, uniform

__all__ = ["blurred", "gaussian_blur", "jpeg", "jpeg_chain", "low_resolution", "motion_blur"]

_LUMINANCE: Final = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)


def jpeg(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images as they come back from a grey JPEG file of quality 60 to 8, in {0, 1/255, ..., 1}.

    Quality is as libjpeg counts it. Every channel is coded as luminance. The sides are padded to multiples of 8 by
    replication.

    Reference:
        Recommendation ITU-T T.81, 1992, annexes A.3 and K.1; the scaling with quality is libjpeg's.
    """
    return _stored(images, int(parameter("jpeg", images, severity)))


def jpeg_chain(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images stored as ``jpeg`` with quality 70 to 12, sampled down to 3/4 of the side and up, and stored again.

    Reference:
        Our own, as of a film that is exported, shown in a slide and exported from there.
    """
    quality = int(parameter("jpeg_chain", images, severity))
    return _stored(_resampled(_stored(images, quality), 0.75), quality)


def _stored(images: Tensor, quality: int) -> Tensor:
    """Return images as they come back from a grey JPEG file."""
    steps = _quantisation(quality).to(images, non_blocking=True)
    basis = _cosines().to(images, non_blocking=True)
    height, width = images.shape[-2:]
    levels = pad(images.mul(255).round() - 128, (0, -width % 8, 0, -height % 8), mode="replicate")
    blocks = levels.unfold(2, 8, 8).unfold(3, 8, 8)  # (B, C, H / 8, W / 8, 8, 8)
    coefficients = basis @ blocks @ basis.T / steps
    # Means of whole grey levels often lie half-way between two steps; libjpeg rounds them away from 0.
    stored = coefficients.sign() * (coefficients.abs() + 0.5001).floor() * steps
    decoded = (basis.T @ stored @ basis).permute(0, 1, 2, 4, 3, 5).reshape(levels.shape)
    return (decoded + 128).round().clamp(0, 255)[..., :height, :width] / 255


def _quantisation(quality: int) -> Tensor:
    """Return the step (8, 8) to which each coefficient is rounded, 1 to 255."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((torch.tensor(_LUMINANCE) * percent + 50) // 100).clamp(1, 255)


def _cosines() -> Tensor:
    """Return the orthonormal basis (8, 8) of the discrete cosine transform, one frequency per row."""
    frequency, place = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    waves = torch.cos(math.pi / 16 * (2 * place + 1) * frequency) / 2
    waves[0] /= math.sqrt(2)
    return waves


def gaussian_blur(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images convolved with a Gaussian, sd = 0.6 to 3.4 px at 256 px.

    Its radius is ceil(3 sd), the border is replicated. Below about 0.3 px nothing changes.

    Reference:
        Hendrycks, appendix.
    """
    return blurred(images, parameter("gaussian_blur", images, severity) * scale(images)).clamp(0, 1)


def blurred(images: Tensor, deviation: float) -> Tensor:
    """Return images convolved with a Gaussian of a standard deviation in px, as ``gaussian_blur`` describes it."""
    from kornia.filters import gaussian_blur2d  # takes half a second to load

    side = 2 * math.ceil(3 * deviation) + 1
    smooth: Tensor = gaussian_blur2d(images, (side, side), (deviation, deviation), border_type="replicate")
    return smooth


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
    grid = pixel_grid(images)
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
    return _resampled(images, parameter("low_resolution", images, severity))


def _resampled(images: Tensor, factor: float) -> Tensor:
    """Return images sampled down to a share of each side and up again."""
    size = images.shape[-2:]
    small = interpolate(images, [max(1, round(factor * side)) for side in size], mode="bilinear", antialias=True)
    return interpolate(small, size, mode="bilinear").clamp(0, 1)
