"""Display: what happens to a film after it is stored: processing, few grey levels, a photograph of a screen.

Reference:
    *CheXphoto* is Phillips et al., "CheXphoto: 10,000+ Photos and Transformations of Chest X-rays for Benchmarking Deep
    Learning Robustness", ML4H 2020, arXiv:2007.06199.
"""

import math

import torch
from torch import Tensor

from trustseg.shifts.sharpness import blurred
from trustseg.shifts.table import frame, parameter, scale, uniform

__all__ = ["edge_enhancement", "few_grey_levels", "glare", "moire"]


def edge_enhancement(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images sharpened by unsharp masking: clip(x + k (x - G x)), k = 0.4 to 4, G of sd 4 px at 256 px.

    Reference:
        Prokop et al., "Principles of image processing in digital chest radiography", Journal of Thoracic Imaging 18,
        2003.
    """
    gain = parameter("edge_enhancement", images, severity)
    return (images + gain * (images - blurred(images, 4 * scale(images)))).clamp(0, 1)


def few_grey_levels(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images of n = 32 to 7 evenly spaced grey levels, as from a window set and saved too early.

    Reference:
        Our own.
    """
    steps = parameter("few_grey_levels", images, severity) - 1
    return images.mul(steps).round().div(steps).clamp(0, 1)


def moire(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images with the pattern of a photographed screen: clip(x (1 + a cos cos)), a = 0.05 to 0.35.

    The two waves have random phases and directions, with 6 to 18 periods along the side of the image.

    Reference:
        CheXphoto, there as moire; the product of two waves is our own.
    """
    depth = parameter("moire", images, severity)
    turn, periods, phase = uniform(images, generator, 3, 2, 1, 1).unbind(dim=1)  # (B, 2, 1, 1) each
    rows, columns = frame(images)
    way = columns * (2 * math.pi * turn).cos() + rows[:, None] * (2 * math.pi * turn).sin()
    waves = (math.pi * (6 + 12 * periods) * way + 2 * math.pi * phase).cos().prod(dim=1, keepdim=True)
    return (images * (1 + depth * waves)).clamp(0, 1)


def glare(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images with the reflection of a lamp: clip(x + b exp(-d^2 / 0.125)), b = 0.08 to 0.6, d in half sides.

    It lies at a random place, at most 0.7 half sides from the centre along each side.

    Reference:
        CheXphoto, there as glare.
    """
    brightness = parameter("glare", images, severity)
    across, down = (1.4 * uniform(images, generator, 2, 1, 1) - 0.7).unbind(dim=1)
    rows, columns = frame(images)
    spot = (((columns - across) ** 2 + (rows[:, None] - down) ** 2) / -0.125).exp()
    return (images + brightness * spot[:, None]).clamp(0, 1)
