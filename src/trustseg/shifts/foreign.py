"""Foreign: bright things that do not belong to the body. Drawn on the CPU, so that every device shows the same."""

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from trustseg.shifts.table import parameter, scale, uniform

__all__ = ["leads", "leads_cover", "text_markers", "text_markers_cover"]

_MOST: Final = 6  # strings or wires at severity 5; all are drawn at every severity, so that severities are nested
_BRIGHT: Final = 0.95
_RIM: Final = 0.12  # strings lie within this share of the side from the border
# Five columns of seven pixels a glyph, the lowest bit on top: the usual 5x7 font of character displays.
_GLYPHS: Final = bytes.fromhex(
    "7c1211127c 7f49494936 3e41414122 7f4141413e 7f49494941 7f09090901 3e41415173 7f0808087f 00417f4100 7f08142241 "
    "7f40404040 7f021c027f 7f0408107f 3e4141413e 7f09090906 7f09192946 2649494932 03017f0103 3f4040403f 1f2040201f "
    "3f4038403f 6314081463 00427f4000 7249494946 2141494d33 1814127f10 2745454539 3c4a494931 4121110907 3649494936"
)
_LONGEST: Final = 4  # glyphs of a string
_SAMPLES: Final = 1024  # points of a wire, a third of a pixel apart at 256 px


def text_markers(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images with burnt-in strings along the border: max(x, 0.95) on the strokes; they hide anatomy.

    A string has 1 to 4 glyphs of 5 x 7 dots, each dot max(H, W) / 128 px wide, rounded; it lies in the outer 12 % of
    the image, upright along the top and bottom, turned along the sides.

    Args:
        images: (B, C, H, W) float32 in [0, 1].
        severity: 1 to 5, 1 to 6 strings.
        generator: source of the strings and their places.

    Returns:
        (B, C, H, W) in [0, 1].

    Raises:
        ConfigError: if ``severity`` is not 1 to 5.
        ShapeError: if ``images`` is not float32 (B, C, H, W).

    Reference:
        Our own, after the tokens that chest X-ray models were found to rely on in Zech et al., PLOS Medicine 2018.
    """
    return images.maximum(_BRIGHT * text_markers_cover(images, severity, generator))


def text_markers_cover(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return the strokes of ``text_markers``, (B, 1, H, W), 0 or 1."""
    count = int(parameter("text_markers", images, severity))
    # A string takes eight numbers: its length, its glyphs, its side, its places along and across the rim.
    drawn = uniform(images, generator, _MOST, _LONGEST + 4).tolist()
    dot = max(1, round(max(images.shape[-2:]) / 128))
    height, width = images.shape[-2:]
    cover = torch.zeros(len(images), 1, height, width)
    for picture, strings in zip(cover, drawn, strict=True):
        for length, *glyphs, side, along, across in strings[:count]:
            text = _string(glyphs[: 1 + int(_LONGEST * length)], dot)
            upright = side < 0.5
            text = text if upright else text.rot90()
            place = [int(along * max(0, whole - part)) for whole, part in zip((height, width), text.shape, strict=True)]
            axis = 0 if upright else 1
            whole, part = (height, width)[axis], text.shape[axis]
            inset = int(across * max(0, _RIM * whole - part))
            place[axis] = inset if side % 0.5 < 0.25 else max(0, whole - part - inset)
            window = picture[0, place[0] : place[0] + text.shape[0], place[1] : place[1] + text.shape[1]]
            window.copy_(window.maximum(text[: window.shape[0], : window.shape[1]]))
    return cover.to(images.device)


def leads(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images with wires that hang from the top and end in a disc: x + 0.75 c (0.95 - x); they hide anatomy.

    A wire is a cubic Bezier curve, its opacity c a Gaussian of the distance with sd 0.8 px (at 256 px, never below
    0.4 px); the disc has a radius of 4 px at 256 px.

    Args:
        images: (B, C, H, W) float32 in [0, 1].
        severity: 1 to 5, 1 to 6 wires.
        generator: source of the curves.

    Returns:
        (B, C, H, W) in [0, 1].

    Raises:
        ConfigError: if ``severity`` is not 1 to 5.
        ShapeError: if ``images`` is not float32 (B, C, H, W).

    Reference:
        Our own, after electrocardiogram leads.
    """
    return images.lerp(torch.full_like(images, _BRIGHT), 0.75 * leads_cover(images, severity, generator)).clamp(0, 1)


def leads_cover(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return how opaque the wires and discs of ``leads`` are, (B, 1, H, W) in [0, 1]."""
    count = int(parameter("leads", images, severity))
    # A wire takes seven numbers: where it starts on the top edge, then x and y of two control points and of its end.
    drawn = uniform(images, generator, _MOST, 7).cpu()[:, :count]
    corners = torch.cat([drawn[..., :1], torch.zeros_like(drawn[..., :1]), drawn[..., 1:]], dim=-1)
    low = torch.tensor([[0.1, 0.0], [0.1, 0.0], [0.1, 0.2], [0.2, 0.3]])
    high = torch.tensor([[0.9, 0.0], [0.9, 0.4], [0.9, 0.8], [0.8, 0.8]])
    height, width = images.shape[-2:]
    corners = (low + (high - low) * corners.view(-1, count, 4, 2)) * torch.tensor([width, height])
    along = torch.linspace(0, 1, _SAMPLES)
    weights = torch.stack([(1 - along) ** 3, 3 * along * (1 - along) ** 2, 3 * along**2 * (1 - along), along**3])
    deviation, radius = max(0.4, 0.8 * scale(images)), 4 * scale(images)
    cover = torch.zeros(len(images), height, width)
    for picture, wires in zip(cover, corners, strict=True):
        curve = (weights.T @ wires).view(-1, 2)
        _stamp(picture, curve, math.ceil(3 * deviation), lambda d: (-0.5 * (d / deviation) ** 2).exp())
        _stamp(picture, wires[:, 3], math.ceil(radius + 1), lambda d: (radius + 0.5 - d).clamp(0, 1))
    return cover[:, None].to(images.device)


def _string(glyphs: list[float], dot: int) -> Tensor:
    """Return the picture (7 dot, (6 n - 1) dot) of n glyphs, each given by a number in [0, 1)."""
    columns: list[int] = []
    for glyph in glyphs:
        first = 5 * int(glyph * (len(_GLYPHS) // 5))
        columns += [0, *_GLYPHS[first : first + 5]]
    dots = torch.tensor([[column >> row & 1 for column in columns[1:]] for row in range(7)], dtype=torch.float32)
    return dots.repeat_interleave(dot, dim=0).repeat_interleave(dot, dim=1)


def _stamp(picture: Tensor, points: Tensor, reach: int, profile: Callable[[Tensor], Tensor]) -> None:
    """Raise ``picture`` (H, W) to ``profile`` of the distance in px to the nearest of ``points`` (N, 2), x before y."""
    height, width = picture.shape
    steps = torch.arange(-reach, reach + 1)
    pixels = points.floor().long()[:, None] + torch.cartesian_prod(steps, steps)
    values = profile(torch.linalg.vector_norm(pixels + 0.5 - points[:, None], dim=-1))
    columns, rows = pixels.unbind(dim=-1)
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    picture.view(-1).scatter_reduce_(0, (rows * width + columns)[inside], values[inside], "amax")
