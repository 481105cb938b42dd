"""Tone: exposure and display curves, the same for every pixel of an image.

Reference:
    *MedMNIST-C* is Di Salvo et al., "MedMNIST-C", 2024, arXiv:2406.17536.
"""

import torch
from torch import Tensor

from trustseg.shifts.table import parameter

__all__ = ["brightness_down", "brightness_up", "contrast_down", "contrast_up", "gamma_down", "gamma_up"]


def gamma_up(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images whose mid-greys are darker: x^g with g = 1.15 to 2.4.

    Example:
        >>> gamma_up(torch.full((1, 1, 1, 1), 0.5), 3, torch.Generator()).item()  # 0.5^1.6
        0.32987698912620544

    Reference:
        MedMNIST-C.
    """
    return images.pow(parameter("gamma_up", images, severity)).clamp(0, 1)


def gamma_down(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images whose mid-greys are brighter: x^g with g = 0.87 to 0.42.

    Reference:
        MedMNIST-C.
    """
    return images.pow(parameter("gamma_down", images, severity)).clamp(0, 1)


def contrast_up(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images spread around their mean: clip(mean + k (x - mean)) with k = 1.15 to 2.05.

    Reference:
        Hendrycks, section 3, there for less contrast only.
    """
    return _spread(images, parameter("contrast_up", images, severity))


def contrast_down(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images drawn together towards their mean: mean + k (x - mean) with k = 0.85 to 0.25.

    Reference:
        Hendrycks, section 3.
    """
    return _spread(images, parameter("contrast_down", images, severity))


def brightness_up(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return brighter images: clip(x + b), b = 0.04 to 0.26 in grey of [0, 1].

    Reference:
        Hendrycks, section 3.
    """
    return (images + parameter("brightness_up", images, severity)).clamp(0, 1)


def brightness_down(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return darker images: clip(x - b), b = 0.04 to 0.26 in grey of [0, 1].

    Reference:
        MedMNIST-C.
    """
    return (images - parameter("brightness_down", images, severity)).clamp(0, 1)


def _spread(images: Tensor, factor: float) -> Tensor:
    """Return ``images`` with each distance from the mean of its image multiplied by ``factor``, clipped to [0, 1]."""
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (mean + factor * (images - mean)).clamp(0, 1)
