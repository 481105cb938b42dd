"""Random views of a training batch, made on the batch's device; masks follow the geometry."""

from functools import cache

import torch
from kornia.augmentation import (
    AugmentationSequential,
    RandomAffine,
    RandomBrightness,
    RandomContrast,
    RandomHorizontalFlip,
)
from torch import Tensor

__all__ = ["augmented"]


@cache
def _pipeline() -> AugmentationSequential:
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
    """Return a random view of each image, and its mask seen the same way.

    Flips, rotations of up to 10 degrees, shifts of up to 5 % of the side, scales 0.9 to 1.1, contrast times 0.8 to 1.2
    and brightness -0.1 to +0.1. What comes in from outside the image is black before these tone changes, and background
    in the mask. A lesion of a single pixel vanishes in some views, larger ones do not.

    Args:
        images: (B, C, H, W) float32 in [0, 1].
        masks: (B, 1, H, W) float32 in {0, 1}.
        seed: same seed, same views; the global random state is left as found.

    Returns:
        Images in [0, 1] and masks in {0, 1} of the same shapes.
    """
    devices = [images.device] if images.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):  # kornia takes no generator (kornia#4427)
        torch.manual_seed(seed)
        views, moved = _pipeline()(images, masks)
    return views.clamp(0, 1), (moved > 0.5).to(masks.dtype)
