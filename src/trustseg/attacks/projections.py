"""The geometry of a budget: steepest direction, projection onto ball and box, random start, for each norm.

The box is [0, 1], the values an image can have. ``radius`` is (B, 1, 1, 1) or (B, 1, H, W), one budget per
image or pixel, in pixel units; in L2 pixels of radius 0 stay as they are, and the others share one budget.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor

from trustseg.errors import unknown_name

__all__ = ["L2", "LINF", "NORMS", "Norm", "NormName", "find_norm", "gaussian", "length"]

NormName = Literal["linf", "l2"]
Direction = Callable[[Tensor], Tensor]
Projection = Callable[[Tensor, Tensor, Tensor], Tensor]
Start = Callable[[Tensor, Tensor, torch.Generator], Tensor]


@dataclass(frozen=True, slots=True)
class Norm:
    """Facts about a norm for an attack.

    Attributes:
        direction: gradient to the step (B, C, H, W) of length 1 along which a linear objective rises most; 0 where it
            is 0.
        project: (candidates, images, radius) to candidates within ``radius`` of ``images`` and within [0, 1].
        start: (images, radius, generator) to a random feasible point.
        largest: budget that reaches every image from every other; a larger one is a mistake of units.
        order: of the norm, for ``length``.
        dual: order of the dual norm, by which a gradient says how far a boundary is.
    """

    direction: Direction
    project: Projection
    start: Start
    largest: float
    order: float
    dual: float


def gaussian(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return standard normal noise shaped like ``images``, drawn where the generator lives."""
    noise = torch.randn(images.shape, generator=generator, device=generator.device, dtype=images.dtype)
    return noise.to(images.device)


def length(vectors: Tensor, order: float = 2) -> Tensor:
    """Return the norm (B, 1, 1, 1) of each image, summed in float64."""
    found: Tensor = torch.linalg.vector_norm(vectors, ord=order, dim=(1, 2, 3), keepdim=True, dtype=torch.float64)
    return found.to(vectors.dtype)


def _project_linf(candidates: Tensor, images: Tensor, radius: Tensor) -> Tensor:
    """Clamp to the intersection of ball and box, itself a box: the exact projection."""
    return candidates.clamp((images - radius).clamp_min(0), (images + radius).clamp_max(1))


def _start_linf(images: Tensor, radius: Tensor, generator: torch.Generator) -> Tensor:
    """Draw uniformly from the ball."""
    noise = torch.rand(images.shape, generator=generator, device=generator.device, dtype=images.dtype)
    return _project_linf(images + radius * (2 * noise.to(images.device) - 1), images, radius)


def _direction_l2(gradient: Tensor) -> Tensor:
    """Normalise; tiny gradients count as much as large ones."""
    return gradient / length(gradient).clamp_min(torch.finfo(gradient.dtype).tiny)


def _project_l2(candidates: Tensor, images: Tensor, radius: Tensor) -> Tensor:
    """Rescale to the ball, then clip to the box: feasible, though not the nearest feasible point."""
    difference = candidates - images
    shrink = radius / length(difference).clamp_min(torch.finfo(difference.dtype).tiny)
    return (images + difference * shrink.clamp_max(1)).clamp(0, 1)


def _start_l2(images: Tensor, radius: Tensor, generator: torch.Generator) -> Tensor:
    """Draw uniformly from the sphere, then clip to the box."""
    return _project_l2(images + radius * _direction_l2(gaussian(images, generator)), images, radius)


LINF: Final = Norm(direction=torch.sign, project=_project_linf, start=_start_linf, largest=1.0, order=math.inf, dual=1)
L2: Final = Norm(
    direction=_direction_l2, project=_project_l2, start=_start_l2, largest=math.inf, order=2, dual=2
)  # which grows with size
NORMS: Final[Mapping[str, Norm]] = {"linf": LINF, "l2": L2}


def find_norm(name: str) -> Norm:
    """Return the norm of that name, or raise an UnknownNameError."""
    if name not in NORMS:
        raise unknown_name("norm", name, NORMS)
    return NORMS[name]
