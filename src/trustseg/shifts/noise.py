"""Noise: one random standard normal field N per image, the same at every severity, shared by its channels."""

import math

import torch
from torch import Tensor

from trustseg.shifts.table import normal, parameter

__all__ = ["gaussian_noise", "low_dose", "speckle"]


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
