"""Grey levels: noise, exposure and display curves, and uneven or limited exposure.

Noise is one random standard normal field N per image, the same at every severity, shared by its channels.

Reference:
    *MedMNIST-C* is Di Salvo et al., "MedMNIST-C", 2024, arXiv:2406.17536.
"""

import math

import torch
from torch import Tensor

from trustseg.shifts.table import centres, frame, normal, parameter, scale, uniform

__all__ = [
    "brightness_down",
    "brightness_up",
    "collimation",
    "collimation_cover",
    "collimation_over",
    "contrast_down",
    "contrast_up",
    "gamma_down",
    "gamma_up",
    "gaussian_noise",
    "low_dose",
    "speckle",
    "vignette",
]


def gaussian_noise(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images with noise of one strength everywhere: clip(x + sd N), sd = 0.02 to 0.16 in grey of [0, 1].

    Reference:
        Hendrycks, section 3.
    """
    deviation = parameter("gaussian_noise", images, severity)
    return (images + deviation * normal(images, generator, 1, *images.shape[-2:])).clamp(0, 1)


def low_dose(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images taken with fewer photons, noisiest where the film is white: clip(x + N exp(3 x / 2) / (3 sqrt(n))).

    Behind an absorption of 3 x a detector counts k photons, Poisson with mean n exp(-3 x), n = 1600 to 40 per pixel
    where x = 0. The film shows -ln(k/n) / 3, whose standard deviation is 1 / (3 sqrt(n exp(-3 x))) to first order.

    Reference:
        Our own: quantum noise after the logarithm, with a normal instead of a Poisson distribution.
    """
    photons = parameter("low_dose", images, severity)
    deviation = (1.5 * images).exp() / (3 * math.sqrt(photons))
    return (images + deviation * normal(images, generator, 1, *images.shape[-2:])).clamp(0, 1)


def speckle(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images with noise in proportion to the grey: clip(x (1 + sd N)), sd = 0.06 to 0.40.

    Reference:
        Hendrycks, appendix.
    """
    deviation = parameter("speckle", images, severity)
    return (images * (1 + deviation * normal(images, generator, 1, *images.shape[-2:]))).clamp(0, 1)


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


def vignette(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images that darken outwards: x (1 - v r^2), r = 0 in the centre and 1 in the corners; v = 0.15 to 0.75.

    Reference:
        Our own; the form is that of a lens to second order.
    """
    loss = parameter("vignette", images, severity)
    rows, columns = frame(images)
    return (images * (1 - loss * (rows[:, None] ** 2 + columns**2) / 2)).clamp(0, 1)


def collimation(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images with a black border of random width on each side, mean width w = 0.02 to 0.10 of the side.

    It hides anatomy. The four widths of each image are random, uniform in [w / 2, 3 w / 2].

    Reference:
        Our own.
    """
    return collimation_over(images, collimation_cover(images, severity, generator))


def collimation_over(images: Tensor, cover: Tensor) -> Tensor:
    """Return ``images`` (B, C, H, W) behind a border as opaque as ``cover`` (B, 1, H, W)."""
    return images * (1 - cover)


def collimation_cover(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return how opaque the border of ``collimation`` is, (B, 1, H, W) in [0, 1], its edge 2 px soft at 256 px."""
    width = parameter("collimation", images, severity)
    left, right, top, bottom = (width * (0.5 + uniform(images, generator, 4, 1))).unbind(dim=1)
    softness = 2 * scale(images)

    def opening(before: Tensor, after: Tensor, dim: int) -> Tensor:
        side, places = images.shape[dim], centres(images, dim)
        rising = (places - side * before) / softness + 0.5
        falling = (side * (1 - after) - places) / softness + 0.5
        return rising.clamp(0, 1) * falling.clamp(0, 1)

    return 1 - opening(top, bottom, 2)[:, None, :, None] * opening(left, right, 3)[:, None, None, :]
