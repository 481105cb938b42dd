"""Geometry: another position of patient or detector; image and mask move together.

Images are interpolated bilinearly and black where they had no pixel; masks take the nearest pixel and background.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from trustseg.errors import ShapeError
from trustseg.masks import filled
from trustseg.shifts.table import SHIFT_TABLE, parameter, pixel_grid, uniform

__all__ = ["magnification", "portable_tilt", "rotation", "stitching", "translation"]


def rotation(images: Tensor, masks: Tensor, severity: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return images and masks turned about their centre by 3 to 15 degrees, in a random direction.

    Reference:
        Our own.
    """
    degrees = parameter("rotation", images, severity)
    _check(images, masks)
    height, width = images.shape[-2:]
    angle = math.radians(degrees) * torch.where(uniform(images, generator) < 0.5, -1, 1)
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    # Sides are measured as 2, so a turn of a non-square image is not a rotation matrix.
    rows = [cosine, -sine * height / width, zero, sine * width / height, cosine, zero]
    return _moved(images, masks, _affine(masks, torch.stack(rows, dim=1).view(-1, 2, 3)))


def translation(images: Tensor, masks: Tensor, severity: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return images and masks moved by 0.02 to 0.12 of the side in a random direction, the lesion kept in the image.

    Of the sixteen directions that divide the circle from the random one, the first is taken that keeps 98 % of the mask
    inside at severity 5, or else the one that keeps most.

    Reference:
        Our own.
    """
    distance = parameter("translation", images, severity)
    _check(images, masks)
    turns = uniform(images, generator) + torch.arange(16, device=images.device)[:, None] / 16
    angles = 2 * math.pi * turns
    directions = 2 * torch.stack([angles.cos(), angles.sin()], dim=-1)  # (16, B, 2), sides are measured as 2
    kept = _kept(masks, SHIFT_TABLE["translation"][-1] * directions)
    enough = kept >= 0.98
    choice = torch.where(enough.any(dim=0), enough.int().argmax(dim=0), kept.argmax(dim=0))
    motion = distance * directions[choice, torch.arange(len(images), device=images.device)]
    return _moved(images, masks, pixel_grid(masks) + motion[:, None, None])


def magnification(images: Tensor, masks: Tensor, severity: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return images and masks magnified about their centre by 1.02 to 1.15; what leaves the image is lost.

    Reference:
        Bushberg et al., "The Essential Physics of Medical Imaging": a tube nearer to the patient, as beside a bed.
    """
    factor = parameter("magnification", images, severity)
    _check(images, masks)
    return _moved(images, masks, pixel_grid(masks) / factor)


def portable_tilt(images: Tensor, masks: Tensor, severity: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return images and masks on a detector tilted about its horizontal axis by 5 to 30 degrees, up or down at random.

    A point (u, v) of the tilted detector, in half sides, shows what an upright one has at (u, v cos a) divided by
    1 + v sin a / 4: the tube is at four times half the height, as 0.9 m from a detector of 43 cm.

    Reference:
        Our own: the central projection of a bedside film whose detector does not face the tube.
    """
    angle = math.radians(parameter("portable_tilt", images, severity))
    _check(images, masks)
    sign = torch.where(uniform(images, generator, 1, 1) < 0.5, -1, 1)
    across, down = pixel_grid(masks).unbind(dim=-1)
    nearness = 1 + sign * down * math.sin(angle) / 4
    return _moved(images, masks, torch.stack([across / nearness, down * math.cos(angle) / nearness], dim=-1))


def stitching(images: Tensor, masks: Tensor, severity: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return images and masks stitched badly: below a random seam they are displaced by 0.01 to 0.06 of the side.

    The seam lies at 0.3 to 0.7 of the height. Both parts move by half of that, in opposite directions.

    Reference:
        Our own, as of a film put together from two exposures or two detectors.
    """
    distance = parameter("stitching", images, severity)
    _check(images, masks)
    seam, side = uniform(images, generator, 2, 1, 1).unbind(dim=1)
    across, down = pixel_grid(masks).unbind(dim=-1)
    below = (down > 0.8 * seam - 0.4) == (side < 0.5)
    return _moved(images, masks, torch.stack([across + distance * torch.where(below, 1, -1), down], dim=-1))


def _check(images: Tensor, masks: Tensor) -> None:
    """Raise unless each image has one mask of its size."""
    expected = (len(images), 1, *images.shape[-2:])
    if masks.shape != expected:
        raise ShapeError(f"masks must be {expected} for images {tuple(images.shape)}, got {tuple(masks.shape)}")


def _kept(masks: Tensor, motions: Tensor) -> Tensor:
    """Return the share (N, B) of each mask still in the image after each of ``motions`` (N, B, 2), sides being 2."""
    height, width = masks.shape[-2:]
    columns, rows = ((2 * torch.arange(n, device=masks.device) + 1) / n - 1 for n in (width, height))
    stays_x = (columns - motions[..., :1]).abs() < 1  # (N, B, W)
    stays_y = (rows - motions[..., 1:]).abs() < 1
    # Sums of whole numbers, so exact in any order.
    lesions = filled(masks)
    by_column = torch.einsum("nbh,bhw->nbw", stays_y.float(), lesions[:, 0])
    return (by_column * stays_x).sum(dim=-1) / lesions.sum(dim=(1, 2, 3)).clamp_min(1)


def _affine(masks: Tensor, motion: Tensor) -> Tensor:
    """Return the old places (B, H, W, 2) to which ``motion`` (B, 2, 3) leads from new ones; sides go from -1 to 1."""
    return affine_grid(motion, [*masks.shape], align_corners=False)


def _moved(images: Tensor, masks: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Return images and masks sampled at the old places (B, H, W, 2)."""
    views = grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return views.clamp(0, 1), grid_sample(masks, grid, mode="nearest", padding_mode="zeros", align_corners=False)
