"""From the losses of pixels to the loss of an image, and the check of weights."""

from typing import Literal

import torch
from torch import Tensor

from trustseg.errors import ConfigError
from trustseg.masks import counted, counted_mean

__all__ = ["Balance", "image_mean", "require_weights"]

Balance = Literal["none", "image"]


def image_mean(losses: Tensor, masks: Tensor, *, balance: Balance = "none") -> Tensor:
    """Return the mean of pixel ``losses`` (B, 1, H, W) over each image, ignored pixels left out.

    ``balance`` is that of ``trustseg.losses``. Where every pixel is ignored it is 0 without a gradient.

    Example:
        >>> losses = torch.tensor([[[[4.0, 1.0, 1.0, 1.0]]]])
        >>> image_mean(losses, torch.tensor([[[[1.0, 0.0, 0.0, 0.0]]]]), balance="image")
        tensor([2.5000])
    """
    counts = counted(masks)
    if balance == "none":
        return counted_mean(losses, counts, empty=0.0)
    if balance != "image":
        raise ConfigError(f"unknown balance '{balance}'; it must be 'none' or 'image'; choose one of them")
    counts, positive = counts.flatten(1), masks.flatten(1) > 0.5
    foreground = positive.sum(dim=1, keepdim=True)
    background = (counts & ~positive).sum(dim=1, keepdim=True)
    classes = (foreground > 0).int() + (background > 0).int()
    same_class = torch.where(positive, foreground, background)  # not 0 where a pixel counts: it counts itself
    shares = losses.flatten(1) / (classes * same_class).clamp_min(1)
    return torch.where(counts, shares, 0).sum(dim=1)


def require_weights(**weights: float) -> None:
    """Raise a ConfigError that names a weight below 0 or NaN."""
    for name, weight in weights.items():
        if not weight >= 0:
            raise ConfigError(f"{name} must be at least 0, got {weight}; use 0 to leave the term out")
