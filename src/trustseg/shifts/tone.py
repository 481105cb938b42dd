"""Tone: exposure and display curves, the same for every pixel of an image."""

import torch
from torch import Tensor

from trustseg.shifts.table import parameter

__all__ = ["brightness_down", "brightness_up", "contrast_down", "contrast_up", "gamma_down", "gamma_up"]


def gamma_up(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images whose mid-greys are darker: x^g with g > 1.

    Args:
        images: (B, C, H, W) float32 in [0, 1].
        severity: 1 to 5, g = 1.15 to 2.4.
        generator: not used; nothing is drawn.

    Returns:
        (B, C, H, W) in [0, 1].

    Raises:
        ConfigError: if ``severity`` is not 1 to 5.
        ShapeError: if ``images`` is not float32 (B, C, H, W).

    Example:
        >>> gamma_up(torch.full((1, 1, 1, 1), 0.5), 3, torch.Generator()).item()  # 0.5^1.6
        0.32987698912620544

    Reference:
        Di Salvo et al., "MedMNIST-C", 2024, arXiv:2406.17536; severities are our own.
    """
    return images.pow(parameter("gamma_up", images, severity)).clamp(0, 1)


def gamma_down(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images whose mid-greys are brighter: x^g with g < 1.

    Args:
        images: (B, C, H, W) float32 in [0, 1].
        severity: 1 to 5, g = 0.87 to 0.42.
        generator: not used; nothing is drawn.

    Returns:
        (B, C, H, W) in [0, 1].

    Raises:
        ConfigError: if ``severity`` is not 1 to 5.
        ShapeError: if ``images`` is not float32 (B, C, H, W).

    Reference:
        Di Salvo et al., "MedMNIST-C", 2024, arXiv:2406.17536; severities are our own.
    """
    return images.pow(parameter("gamma_down", images, severity)).clamp(0, 1)


def contrast_up(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images spread around their mean: clip(mean + k (x - mean)) with k > 1.

    Args:
        images: (B, C, H, W) float32 in [0, 1].
        severity: 1 to 5, k = 1.15 to 2.05.
        generator: not used; nothing is drawn.

    Returns:
        (B, C, H, W) in [0, 1].

    Raises:
        ConfigError: if ``severity`` is not 1 to 5.
        ShapeError: if ``images`` is not float32 (B, C, H, W).

    Reference:
        Hendrycks and Dietterich, arXiv:1903.12261, section 3, there for less contrast only; severities are our own.
    """
    return _spread(images, parameter("contrast_up", images, severity))


def contrast_down(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images drawn together towards their mean: mean + k (x - mean) with k < 1.

    Args:
        images: (B, C, H, W) float32 in [0, 1].
        severity: 1 to 5, k = 0.85 to 0.25.
        generator: not used; nothing is drawn.

    Returns:
        (B, C, H, W) in [0, 1].

    Raises:
        ConfigError: if ``severity`` is not 1 to 5.
        ShapeError: if ``images`` is not float32 (B, C, H, W).

    Reference:
        Hendrycks and Dietterich, arXiv:1903.12261, section 3; severities are our own.
    """
    return _spread(images, parameter("contrast_down", images, severity))


def brightness_up(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return brighter images: clip(x + b).

    Args:
        images: (B, C, H, W) float32 in [0, 1].
        severity: 1 to 5, b = 0.04 to 0.26 in grey of [0, 1].
        generator: not used; nothing is drawn.

    Returns:
        (B, C, H, W) in [0, 1].

    Raises:
        ConfigError: if ``severity`` is not 1 to 5.
        ShapeError: if ``images`` is not float32 (B, C, H, W).

    Reference:
        Hendrycks and Dietterich, arXiv:1903.12261, section 3; severities are our own.
    """
    return (images + parameter("brightness_up", images, severity)).clamp(0, 1)


def brightness_down(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return darker images: clip(x - b).

    Args:
        images: (B, C, H, W) float32 in [0, 1].
        severity: 1 to 5, b = 0.04 to 0.26 in grey of [0, 1].
        generator: not used; nothing is drawn.

    Returns:
        (B, C, H, W) in [0, 1].

    Raises:
        ConfigError: if ``severity`` is not 1 to 5.
        ShapeError: if ``images`` is not float32 (B, C, H, W).

    Reference:
        Di Salvo et al., "MedMNIST-C", 2024, arXiv:2406.17536; severities are our own.
    """
    return (images - parameter("brightness_down", images, severity)).clamp(0, 1)


def _spread(images: Tensor, factor: float) -> Tensor:
    """Return ``images`` with each distance from the mean of its image multiplied by ``factor``, clipped to [0, 1]."""
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (mean + factor * (images - mean)).clamp(0, 1)
