"""Codec: lossy storage of an image."""

import math
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import pad

from trustseg.shifts.table import parameter

__all__ = ["jpeg"]

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
    steps = _quantisation(int(parameter("jpeg", images, severity))).to(images, non_blocking=True)
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
