"""Random views of a training batch, made on the batch's device; masks follow the geometry.

kornia draws what is done to each image; flip and affine map are made one, so that each image is sampled once, and all
numbers go to the device in one piece.
"""

from functools import cache
from typing import Any

import torch
from kornia.augmentation import (
    AugmentationSequential,
    RandomAffine,
    RandomBrightness,
    RandomContrast,
    RandomHorizontalFlip,
)
from kornia.geometry.transform import get_affine_matrix2d
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

__all__ = ["augmented", "pipeline"]


@cache
def pipeline() -> AugmentationSequential:
    """Return what draws the views in kornia's words; called on images and masks it gives the same views, slower."""
    # Left-right flips put the heart on the wrong side, yet help on small sets of films whose lesions have no side.
    return AugmentationSequential(
        RandomHorizontalFlip(p=0.5),
        RandomAffine(degrees=10.0, translate=(0.05, 0.05), scale=(0.9, 1.1), p=0.8, padding_mode="zeros"),
        RandomContrast((0.8, 1.2), p=0.5),
        RandomBrightness((0.9, 1.1), p=0.5),
        data_keys=["input", "mask"],
        same_on_batch=False,
    )


def augmented(images: Tensor, masks: Tensor, *, seed: int) -> tuple[Tensor, Tensor]:
    """Return a random view of each image (B, C, H, W) in [0, 1], and its mask (B, 1, H, W) seen the same way.

    Flips, rotations of up to 10 degrees, shifts of up to 5 % of the side, scales 0.9 to 1.1, contrast times 0.8 to 1.2
    and brightness -0.1 to +0.1. What comes in from outside the image is black before these tone changes, and background
    in the mask: that there is no lesion is known of it. Ignored pixels move with the image and stay ignored. A lesion
    of a single pixel vanishes in some views, larger ones do not.

    The same ``seed`` gives the same views; the global random state is left as found.
    """
    # Under autocast the grid would be in bfloat16, pixels off.
    with torch.autocast(images.device.type, enabled=False), torch.autocast("cpu", enabled=False):
        with torch.random.fork_rng(devices=[]):  # kornia takes no generator (kornia#4427)
            torch.default_generator.manual_seed(seed)  # that of the CPU alone
            drawn = _drawn(images.shape)
        drawn = drawn.to(images.device, non_blocking=True)  # once, where kornia copies every number by itself
        grid = affine_grid(drawn[:, :6].view(-1, 2, 3), list(images.shape), align_corners=False)
        views = grid_sample(images, grid, align_corners=False)
        moved = grid_sample(masks, grid, mode="nearest", align_corners=False)
        contrast, brightness = drawn[:, 6:].view(-1, 2, 1, 1, 1).unbind(dim=1)
        return ((views * contrast).clamp(0, 1) + brightness).clamp(0, 1), moved


def _drawn(shape: torch.Size) -> Tensor:
    """Return what is done to each image, (B, 8): matrix to where pixels come from (2 x 3), contrast, brightness."""
    parts: list[Any] = [part.data for part in pipeline().forward_parameters(shape)]  # whose type kornia leaves open
    flip, affine, contrast, brightness = parts
    flipped, warped, scaled, shifted = (one["batch_prob"].bool() for one in (flip, affine, contrast, brightness))
    height, width = shape[-2:]
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
    mirror[0, 2] = width - 1
    names = ("translations", "center", "scale", "angle", "shear_x", "shear_y")
    pixels = torch.where(warped[:, None, None], get_affine_matrix2d(*(affine[name] for name in names)), torch.eye(3))
    pixels = torch.where(flipped[:, None, None], pixels @ mirror, pixels)
    # Pixel centres in the coordinates of grid_sample, in which an image spans [-1, 1].
    spans = torch.tensor([[2 / width, 0, 1 / width - 1], [0, 2 / height, 1 / height - 1], [0, 0, 1]])
    sources = torch.linalg.inv(spans @ pixels @ torch.linalg.inv(spans))[:, :2].flatten(1)
    factor = torch.where(scaled, contrast["contrast_factor"], 1.0)
    offset = torch.where(shifted, brightness["brightness_factor"] - 1, 0.0)
    return torch.cat([sources, torch.stack([factor, offset], dim=1)], dim=1)
