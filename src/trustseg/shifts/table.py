"""The frozen table of severities, and what every shift reads from it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import affine_grid

from trustseg.errors import ConfigError, ShapeError

__all__ = [
    "SHIFT_TABLE",
    "SHIFT_TABLE_VERSION",
    "centres",
    "check",
    "frame",
    "normal",
    "parameter",
    "pixel_grid",
    "scale",
    "severities",
    "uniform",
]

SHIFT_TABLE_VERSION: Final = 1
"""Raised whenever a number of the table or the meaning of one changes, not when rows are added; reports print it."""

SHIFT_TABLE: Final[Mapping[str, tuple[float, float, float, float, float]]] = {
    "gaussian_noise": (0.02, 0.04, 0.07, 0.11, 0.16),  # standard deviation in grey of [0, 1]
    "low_dose": (1600, 600, 240, 100, 40),  # photons per pixel where the film is black
    "speckle": (0.06, 0.12, 0.19, 0.28, 0.40),  # standard deviation as a share of the grey
    "gaussian_blur": (0.6, 1.0, 1.6, 2.4, 3.4),  # standard deviation in px at 256
    "motion_blur": (3, 6, 10, 15, 21),  # length in px at 256
    "gamma_up": (1.15, 1.35, 1.6, 1.95, 2.4),  # exponent
    "gamma_down": (0.87, 0.74, 0.62, 0.51, 0.42),  # exponent
    "contrast_up": (1.15, 1.3, 1.5, 1.75, 2.05),  # factor
    "contrast_down": (0.85, 0.70, 0.55, 0.40, 0.25),  # factor
    "brightness_up": (0.04, 0.08, 0.13, 0.19, 0.26),  # grey of [0, 1]
    "brightness_down": (0.04, 0.08, 0.13, 0.19, 0.26),  # grey of [0, 1]
    "vignette": (0.15, 0.30, 0.45, 0.60, 0.75),  # share of the grey lost in the corners
    "collimation": (0.02, 0.04, 0.06, 0.08, 0.10),  # mean width of the border as a share of the side
    "jpeg": (60, 40, 25, 15, 8),  # quality
    "low_resolution": (0.75, 0.55, 0.40, 0.28, 0.20),  # share of the pixels of a side
    "text_markers": (1, 2, 3, 4, 6),  # strings
    "leads": (1, 2, 3, 4, 6),  # wires
    "rotation": (3, 6, 9, 12, 15),  # degrees
    "translation": (0.02, 0.04, 0.06, 0.09, 0.12),  # share of the side
    # The extended shifts follow.
    "scatter": (0.1, 0.25, 0.5, 1.0, 2.0),  # scattered photons for each primary one
    "grid_lines": (0.01, 0.02, 0.035, 0.06, 0.09),  # amplitude in grey of [0, 1]
    "grid_cutoff": (0.1, 0.25, 0.4, 0.6, 0.75),  # share of the rays stopped at the worse side
    "dead_columns": (1, 2, 4, 8, 16),  # columns of one pixel
    "dead_pixels": (0.001, 0.003, 0.01, 0.025, 0.06),  # share of the pixels
    "row_noise": (0.01, 0.025, 0.045, 0.08, 0.12),  # standard deviation in grey of [0, 1]
    "tile_gain": (0.02, 0.04, 0.07, 0.11, 0.16),  # standard deviation in grey of [0, 1]
    "double_exposure": (0.05, 0.1, 0.18, 0.28, 0.4),  # share of the photons of the second exposure
    "edge_enhancement": (0.4, 0.8, 1.4, 2.4, 4.0),  # gain of what a Gaussian of 4 px takes away
    "few_grey_levels": (32, 24, 16, 10, 7),  # grey levels
    "moire": (0.05, 0.1, 0.16, 0.24, 0.35),  # amplitude as a share of the grey
    "glare": (0.08, 0.16, 0.27, 0.42, 0.6),  # grey of [0, 1] in the middle
    "jpeg_chain": (70, 50, 35, 22, 12),  # quality
    "clothing": (0.03, 0.06, 0.1, 0.15, 0.22),  # grey of [0, 1] on a fold
    "tubes": (1, 2, 3, 4, 6),  # tubes
    "implant": (0.04, 0.06, 0.08, 0.1, 0.12),  # half the width of the case as a share of the side
    "magnification": (1.02, 1.04, 1.07, 1.1, 1.15),  # factor
    "portable_tilt": (5, 10, 15, 22, 30),  # degrees
    "stitching": (0.01, 0.02, 0.03, 0.045, 0.06),  # displacement as a share of the side
}
"""Shift -> its parameter at severities 1 to 5."""


_TABLE: Final[ContextVar[Mapping[str, tuple[float, ...]]]] = ContextVar("_TABLE", default=SHIFT_TABLE)


@contextmanager
def severities(table: Mapping[str, tuple[float, ...]]) -> Iterator[None]:
    """Let other parameters stand for severities 1 to 5 of some shifts, inside a ``with`` block.

    They are not checked: the docstring of a shift says which make sense.

    Example:
        >>> with severities({"jpeg": (95, 90, 85, 80, 75)}):
        ...     parameter("jpeg", torch.zeros(1, 1, 8, 8), 5)
        75
    """
    token = _TABLE.set({**SHIFT_TABLE, **table})
    try:
        yield
    finally:
        _TABLE.reset(token)


def parameter(name: str, images: Tensor, severity: int) -> float:
    """Return the parameter of the shift ``name`` at a severity, having checked ``images`` and ``severity``.

    Example:
        >>> parameter("jpeg", torch.zeros(1, 1, 8, 8), 5)
        8
    """
    check(name, images, severity)
    return _TABLE.get()[name][severity - 1]


def check(name: str, images: Tensor, severity: int) -> None:
    """Raise a ConfigError or ShapeError unless the shift ``name`` can be applied."""
    if not isinstance(severity, int) or isinstance(severity, bool) or not 1 <= severity <= 5:
        raise ConfigError(f"the severity of {name} must be 1, 2, 3, 4 or 5, got {severity!r}; 3 is the middle one")
    if images.ndim != 4 or images.dtype != torch.float32 or not images.numel():
        raise ShapeError(
            f"images must be float32 (B, C, H, W), none of them 0, got {images.dtype} {tuple(images.shape)}; "
            "use .float() and add missing dimensions"
        )


def scale(images: Tensor) -> float:
    """Return max(H, W) / 256, by which lengths given in pixels at 256 are multiplied."""
    return max(images.shape[-2:]) / 256


def centres(images: Tensor, dim: int) -> Tensor:
    """Return the positions of the pixel centres along a dimension, 0.5 to the side less 0.5."""
    return torch.arange(images.shape[dim], device=images.device) + 0.5


def frame(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the positions (H,) of the rows and (W,) of the columns, the sides measured as -1 to 1."""
    rows, columns = (2 * centres(images, dim) / images.shape[dim] - 1 for dim in (2, 3))
    return rows, columns


def pixel_grid(images: Tensor) -> Tensor:
    """Return the positions (B, H, W, 2) of the pixels for ``grid_sample``, x before y, sides from -1 to 1."""
    identity = torch.eye(2, 3, device=images.device).expand(len(images), 2, 3)
    return affine_grid(identity, [len(images), 1, *images.shape[-2:]], align_corners=False)


def uniform(images: Tensor, generator: torch.Generator, *shape: int) -> Tensor:
    """Return numbers (B, *shape) in [0, 1), drawn image by image where the generator lives.

    A batch thus gets the numbers that its images would get one after the other, on every device those of a CPU
    generator.
    """
    return _drawn(torch.Tensor.uniform_, images, generator, shape)


def normal(images: Tensor, generator: torch.Generator, *shape: int) -> Tensor:
    """Return standard normal numbers (B, *shape), drawn as by ``uniform``."""
    return _drawn(torch.Tensor.normal_, images, generator, shape)


def _drawn(fill: Callable[..., Tensor], images: Tensor, generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    pinned = images.is_cuda and generator.device.type == "cpu"
    numbers = torch.empty(len(images), *shape, device=generator.device, pin_memory=pinned)
    for row in numbers:
        fill(row, generator=generator)
    return numbers.to(images.device, non_blocking=images.is_cuda)
