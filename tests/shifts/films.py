"""Phantoms as tensors, to be shifted."""

from functools import cache

import numpy as np
import torch
from torch import Tensor

from trustseg.data.phantom import phantom


@cache
def films(count: int = 6, size: int = 128) -> tuple[Tensor, Tensor]:
    """Return phantoms (count, 1, size, size) in [0, 1] and their masks; not to be written to."""
    made = [phantom(2, patient, 1, size=size) for patient in range(1, count + 1)]
    images = torch.from_numpy(np.stack([one.image for one in made]))
    masks = torch.from_numpy(np.stack([one.mask for one in made]))
    return images[:, None].float() / 255, masks[:, None].float()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
