"""How the pixels of one image become its loss."""

from typing import Literal

import torch
from torch import Tensor

from trustseg.errors import ConfigError, ShapeError
from trustseg.masks import require_binary

__all__ = ["Balance", "check_masks", "image_mean"]

Balance = Literal["none", "image"]


def check_masks(shape: torch.Size, masks: Tensor) -> None:
    """Check that masks lie pixel by pixel on a belief and hold 0 and 1.

    Values are looked at on the CPU only: on a GPU a look at them in every step would wait for it.

    Args:
        shape: shape of the belief's maps.
        masks: reference masks.

    Raises:
        ShapeError: if ``masks`` is not (B, 1, H, W), not of this shape, or holds other values than 0 and 1.
    """
    if masks.shape != shape or masks.ndim != 4:
        raise ShapeError(
            f"masks and belief must have one shape (B, 1, H, W), got {tuple(masks.shape)} and {tuple(shape)}; "
            "add the missing axes or resize one of them"
        )
    if masks.device.type == "cpu":
        require_binary(masks)


def image_mean(losses: Tensor, masks: Tensor, *, balance: Balance = "none") -> Tensor:
    """Return the mean pixel loss of each image.

    Args:
        losses: pixel losses (B, 1, H, W), any real number.
        masks: reference masks (B, 1, H, W), each value 0 or 1.
        balance: ``"none"`` weighs every pixel alike; ``"image"`` is half the mean over the foreground plus half the
            mean over the background, or the mean over the one that is there.

    Returns:
        (B,) in the unit of ``losses``.

    Raises:
        ConfigError: if ``balance`` is neither of the two.

    Example:
        >>> losses = torch.tensor([[[[4.0, 1.0, 1.0, 1.0]]]])
        >>> image_mean(losses, torch.tensor([[[[1.0, 0.0, 0.0, 0.0]]]]), balance="image")
        tensor([2.5000])
    """
    if balance == "none":
        return losses.flatten(1).mean(dim=1)
    if balance != "image":
        raise ConfigError(f"unknown balance '{balance}'; it must be 'none' or 'image'; choose one of them")
    infected = masks.flatten(1) > 0.5
    foreground = infected.sum(dim=1, keepdim=True)
    background = (~infected).sum(dim=1, keepdim=True)
    classes = (foreground > 0).int() + (background > 0).int()
    same_class = torch.where(infected, foreground, background)  # never 0: every pixel counts itself
    return (losses.flatten(1) / (classes * same_class)).sum(dim=1)
