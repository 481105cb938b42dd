"""Packs in memory and a small model with opinions, for tests that need no files and no training."""

import numpy as np
import polars as pl
import torch
from torch import nn

from trustseg.data import Pack
from trustseg.data.decode import Channels
from trustseg.models import Segmenter
from trustseg.models.spec import SegmenterSpec

PATIENTS = ("a", "a", "b", "c", "d", "e", "e", "f")
SPLITS = ("train", "train", "train", "train", "test", "test", "test", "control")


def pack_of(count: int = 8, *, size: int = 32, channels: Channels = 1, seed: int = 0) -> Pack:
    """Noise with a brighter rectangle where the mask is; image 5 has an empty mask, image 6 a full one."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 200, (count, channels, size, size), dtype=np.uint8)
    masks = np.zeros((count, 1, size, size), dtype=np.uint8)
    for number in range(count):
        masks[number, 0, 3 : 8 + 2 * number, 5 : 9 + number] = 1
    masks[5:6], masks[6:7], masks[7:8] = 0, 1, 0
    images += (55 * masks).astype(np.uint8)
    index = pl.DataFrame(
        {
            "name": [f"image{number}" for number in range(count)],
            "patient": PATIENTS[:count],
            "patient_known": [True] * count,
            "split": SPLITS[:count],
            "has_mask": [split != "control" for split in SPLITS[:count]],
            "foreground": masks.sum(axis=(1, 2, 3), dtype=np.int64),
            "sha256_pixels": [f"pixels {number}" for number in range(count)],
            "content_group": [f"picture {number}" for number in range(count)],
        }
    )
    images.flags.writeable = masks.flags.writeable = False
    return Pack(images, masks, index, size, channels, "folder", digest=f"pack {count} {size} {channels} {seed}")


def small_segmenter(head: str = "beta", *, channels: int = 1, size: int = 32, seed: int = 0) -> Segmenter:
    """Two convolutions with batch normalisation: decided here and there, and different in training mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(channels, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 2 if head == "beta" else 1, 3, padding=1),
        )
    return Segmenter(SegmenterSpec("unet", "resnet18", head, channels=channels, size=size), network)
