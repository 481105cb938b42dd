"""Detector: what X-rays meet between the patient and the stored film: scatter, grids, faulty pixels, two exposures.

A grey x stands for an absorption of 3 x, as in ``low_dose``: a share exp(-3 x) of the photons arrives, and the film
shows -ln(share) / 3.

Reference:
    *Cesar* is Cesar et al., "Artefacts found in computed radiography", British Journal of Radiology 74, 2001.
    *Walz-Flannigan* is Walz-Flannigan et al., "Artifacts in digital radiography", AJR 198, 2012.
    *Bushberg* is Bushberg et al., "The Essential Physics of Medical Imaging", chapter on radiography.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from trustseg.shifts.sharpness import blurred
from trustseg.shifts.table import centres, frame, normal, parameter, pixel_grid, scale, uniform

__all__ = [
    "dead_columns",
    "dead_columns_cover",
    "dead_columns_over",
    "dead_pixels",
    "double_exposure",
    "grid_cutoff",
    "grid_lines",
    "row_noise",
    "scatter",
    "tile_gain",
]


def scatter(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images behind a veil of scatter: film((p + r G p) / (1 + r)), p the share of photons that arrives.

    r = 0.1 to 2 scattered photons per primary one; G is a Gaussian of sd 0.1 of the longer side. The exposure is set
    for the same mean dose.

    Reference:
        Seibert and Boone, "X-ray scatter removal by deconvolution", Medical Physics 15, 1988, the model there inverted.
    """
    ratio = parameter("scatter", images, severity)
    primary = _photons(images)
    return _film((primary + ratio * blurred(primary, 0.1 * max(images.shape[-2:]))) / (1 + ratio))


def grid_lines(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images with the stripes of an anti-scatter grid: clip(x + a cos), a = 0.01 to 0.09 in grey of [0, 1].

    Phase, tilt (to 3 degrees from upright) and period (4 to 8 px at 256 px, at least 2 px) are random.

    Reference:
        Lin et al., "A study of grid artifacts formation and elimination in computed radiographic images", Journal of
        Digital Imaging 19, 2006.
    """
    depth = parameter("grid_lines", images, severity)
    phase, tilt, period = uniform(images, generator, 3, 1, 1).unbind(dim=1)
    across = centres(images, 3) + 0.1 * (tilt - 0.5) * centres(images, 2)[:, None]
    wave = (2 * math.pi * (across / (4 * (1 + period) * scale(images)).clamp_min(2) + phase)).cos()
    return (images + depth * wave[:, None]).clamp(0, 1)


def grid_cutoff(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images that whiten towards one side, left or right, where a tilted grid stops c = 0.1 to 0.75 of all rays.

    The share stopped rises linearly from the other side.

    Reference:
        Bushberg, there as off-level cutoff.
    """
    loss = parameter("grid_cutoff", images, severity)
    sign = torch.where(uniform(images, generator, 1, 1, 1) < 0.5, -1, 1)
    return _film(_photons(images) * (1 - loss * (1 + sign * frame(images)[1]) / 2))


def dead_columns(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images with 1 to 16 white columns of one pixel, from which nothing is read; they hide anatomy.

    Reference:
        Walz-Flannigan, there as dropped data lines.
    """
    return dead_columns_over(images, dead_columns_cover(images, severity, generator))


def dead_columns_over(images: Tensor, cover: Tensor) -> Tensor:
    """Return ``images`` (B, C, H, W) white under ``cover`` (B, 1, H, W)."""
    return images.maximum(cover)


def dead_columns_cover(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return the columns of ``dead_columns``, (B, 1, H, W), 0 or 1."""
    count = int(parameter("dead_columns", images, severity))
    order = uniform(images, generator, images.shape[3]).argsort(dim=1, stable=True)
    dead = torch.zeros_like(images[:, 0, 0]).scatter(1, order[:, :count], 1.0)
    return dead[:, None, None].expand(-1, 1, images.shape[2], -1)


def dead_pixels(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images in which a share of 0.001 to 0.06 of the pixels is black or white, half of them each.

    Reference:
        Hendrycks, section 3 ("impulse noise"); Walz-Flannigan for its cause.
    """
    share = parameter("dead_pixels", images, severity)
    field = uniform(images, generator, 1, *images.shape[-2:])
    return images.masked_fill(field < share / 2, 0).masked_fill(field >= 1 - share / 2, 1)


def row_noise(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images with noise of the readout, one number per row: clip(x + sd N), sd = 0.01 to 0.12 in grey of [0, 1].

    Reference:
        Walz-Flannigan, there as banding from electronic noise.
    """
    deviation = parameter("row_noise", images, severity)
    return (images + deviation * normal(images, generator, 1, images.shape[2], 1)).clamp(0, 1)


def tile_gain(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images of a panel of 4 x 4 ill-matched tiles: clip(x + sd N) with sd = 0.02 to 0.16, one N per tile.

    Reference:
        Walz-Flannigan, there as errors of gain calibration; a factor of the photons is an offset of the film.
    """
    deviation = parameter("tile_gain", images, severity)
    return (images + deviation * interpolate(normal(images, generator, 1, 4, 4), images.shape[-2:])).clamp(0, 1)


def double_exposure(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images exposed twice: a share w = 0.05 to 0.4 of the photons has met the patient in another position.

    The patient has moved by 0.05 to 0.15 of the side in a random direction; images are replicated beyond the border.

    Reference:
        Cesar, there as double exposure and ghost image. Our own: it is the ghost of the same film.
    """
    share = parameter("double_exposure", images, severity)
    turn, length = uniform(images, generator, 2).unbind(dim=1)
    angle = 2 * math.pi * turn
    motion = (0.1 + 0.2 * length)[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)
    ghost = grid_sample(images, pixel_grid(images) + motion[:, None, None], padding_mode="border", align_corners=False)
    return _film((1 - share) * _photons(images) + share * _photons(ghost))


def _photons(images: Tensor) -> Tensor:
    """Return the share of the photons that arrives behind what an image shows."""
    return (-3 * images).exp()


def _film(photons: Tensor) -> Tensor:
    """Return the grey in [0, 1] that a share of arriving photons gives."""
    return (photons.log() / -3).clamp(0, 1)
