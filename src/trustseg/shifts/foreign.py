"""Foreign: things that do not belong to the body, drawn for a whole batch at once on its device."""

import math
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import pad

from trustseg.shifts.table import frame, parameter, scale, uniform

__all__ = [
    "clothing",
    "implant",
    "implant_cover",
    "implant_over",
    "leads",
    "leads_cover",
    "leads_over",
    "text_markers",
    "text_markers_cover",
    "text_markers_over",
    "tubes",
]

_MOST: Final = 6  # strings or wires at severity 5; all are drawn at every severity, so that severities are nested
_BRIGHT: Final = 0.95
_RIM: Final = 0.12  # strings lie within this share of the side from the border
# Five columns of seven pixels per glyph, the lowest bit on top: the usual 5x7 font of character displays.
_GLYPHS: Final = bytes.fromhex(
    "7c1211127c 7f49494936 3e41414122 7f4141413e 7f49494941 7f09090901 3e41415173 7f0808087f 00417f4100 7f08142241 "
    "7f40404040 7f021c027f 7f0408107f 3e4141413e 7f09090906 7f09192946 2649494932 03017f0103 3f4040403f 1f2040201f "
    "3f4038403f 6314081463 00427f4000 7249494946 2141494d33 1814127f10 2745454539 3c4a494931 4121110907 3649494936"
)
_LONGEST: Final = 4  # glyphs of a string
_SAMPLES: Final = 1024  # points of a wire, a third of a pixel apart at 256 px
# Bounds of x and y of the corners of a curve, shares of the sides.
_WIRES: Final = (
    ((0.1, 0.0), (0.1, 0.0), (0.1, 0.2), (0.2, 0.3)),
    ((0.9, 0.0), (0.9, 0.4), (0.9, 0.8), (0.8, 0.8)),
)
_TUBES: Final = (
    ((0.35, 0.0), (0.4, 0.1), (0.4, 0.2), (0.25, 0.3)),
    ((0.65, 0.0), (0.6, 0.3), (0.6, 0.6), (0.75, 0.9)),
)


def text_markers(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images with 1 to 6 random burnt-in strings along the border, which hide anatomy.

    max(x, 0.95) on the strokes. A string has 1 to 4 glyphs of 5 x 7 dots, each dot max(H, W) / 128 px wide, rounded; it
    lies in the outer 12 % of the image, upright along the top and bottom, turned along the sides.

    Reference:
        Our own, after the tokens that chest X-ray models were found to rely on in Zech et al., PLOS Medicine 2018.
    """
    return text_markers_over(images, text_markers_cover(images, severity, generator))


def text_markers_over(images: Tensor, cover: Tensor) -> Tensor:
    """Return ``images`` (B, C, H, W) under strokes (B, 1, H, W)."""
    return images.maximum(_BRIGHT * cover)


def text_markers_cover(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return the strokes of ``text_markers``, (B, 1, H, W), 0 or 1."""
    count = int(parameter("text_markers", images, severity))
    height, width = images.shape[-2:]
    dot = max(1, round(max(height, width) / 128))
    # A string takes eight numbers: its length, its glyphs, its side, its places along and across the rim.
    drawn = uniform(images, generator, _MOST, _LONGEST + 4)[:, :count].double()  # places are exact
    length, *_, side, along, across = drawn.unbind(dim=-1)
    glyphs = 1 + (_LONGEST * length).long()
    strokes = _strokes(drawn[..., 1:-3], glyphs).repeat_interleave(dot, dim=-2).repeat_interleave(dot, dim=-1)
    tall, wide = 7 * dot, (6 * glyphs - 1) * dot  # of a string that stands upright

    upright, near = side < 0.5, side % 0.5 < 0.25
    whole = torch.where(upright, height, width)  # the side that the rim is cut from
    inset = (across * (_RIM * whole.double() - tall).clamp_min(0)).long()
    rim = torch.where(near, inset, (whole - tall - inset).clamp_min(0))
    reach = (along * (torch.where(upright, width, height) - wide).clamp_min(0)).long()
    # Of a string read from left to right: down from its top, right from its first column. Turned, it is read upwards.
    down, right = (torch.arange(n, device=images.device) for n in strokes.shape[-2:])
    rim, reach, last = (place[..., None, None] for place in (rim, reach, wide - 1))
    upright = upright[..., None, None]
    rows = torch.where(upright, rim + down[:, None], reach + last - right)
    columns = torch.where(upright, reach + right, rim + down[:, None])

    inside = (rows >= 0) & (rows < height) & (columns < width)
    index = torch.where(inside, rows * width + columns, 0)
    cover = torch.zeros(len(images), height * width, device=images.device)
    cover.scatter_reduce_(1, index.flatten(1), (strokes * inside).flatten(1), "amax")
    return cover.view(-1, 1, height, width)


def leads(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images with 1 to 6 random wires that hang from the top and end in a disc; they hide anatomy.

    x + 0.75 c (0.95 - x). A wire is a cubic Bezier curve, its opacity c a Gaussian of the distance with sd 0.8 px (at
    256 px, never below 0.4 px); the disc has a radius of 4 px at 256 px.

    Reference:
        Our own, after electrocardiogram leads.
    """
    return leads_over(images, leads_cover(images, severity, generator))


def leads_over(images: Tensor, cover: Tensor) -> Tensor:
    """Return ``images`` (B, C, H, W) under wires and discs as opaque as ``cover`` (B, 1, H, W)."""
    return images.lerp(torch.full((), _BRIGHT, device=images.device), 0.75 * cover).clamp_(0, 1)


def leads_cover(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return how opaque the wires and discs of ``leads`` are, (B, 1, H, W) in [0, 1]."""
    count = int(parameter("leads", images, severity))
    corners = _corners(images, uniform(images, generator, _MOST, 7)[:, :count], _WIRES)
    return _hung(images, corners, deviation=0.8 * scale(images), radius=4 * scale(images))


def tubes(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images with 1 to 6 random tubes that come down from the neck; they let anatomy through.

    x + (0.25 t + 0.25 s) (0.95 - x). A tube is a cubic Bezier curve; the opacities of its wall t and of the radiopaque
    stripe s in it are Gaussians of the distance with sd 2.2 and 0.6 px (at 256 px, never below 0.4 px).

    Reference:
        Hunter et al., "Medical devices of the chest", RadioGraphics 24, 2004.
    """
    count = int(parameter("tubes", images, severity))
    corners = _corners(images, uniform(images, generator, _MOST, 7)[:, :count], _TUBES)
    wall, stripe = (_hung(images, corners, deviation=width * scale(images)) for width in (2.2, 0.6))
    return images.lerp(torch.full((), _BRIGHT, device=images.device), (wall + stripe) / 4).clamp_(0, 1)


def implant(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images with the case of a pacemaker high on a random side of the chest, which hides anatomy.

    0.95 on a rounded rectangle, 0.04 to 0.12 of the side from its centre to its edge, its height 0.8 of that.

    Reference:
        Hunter et al., "Medical devices of the chest", RadioGraphics 24, 2004.
    """
    return implant_over(images, implant_cover(images, severity, generator))


def implant_over(images: Tensor, cover: Tensor) -> Tensor:
    """Return ``images`` (B, C, H, W) under a case as opaque as ``cover`` (B, 1, H, W)."""
    return images.lerp(torch.full((), _BRIGHT, device=images.device), cover)


def implant_cover(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return how opaque the case of ``implant`` is, (B, 1, H, W) in [0, 1], its edge 1 px soft."""
    reach = 2 * parameter("implant", images, severity)  # in half sides
    side, across, down = uniform(images, generator, 3, 1, 1).unbind(dim=1)
    rows, columns = frame(images)
    right = (columns - torch.where(side < 0.5, -1, 1) * (0.35 + 0.25 * across)).abs()
    below = (rows[:, None] - 0.25 * down + 0.6).abs() / 0.8
    inside = (reach - (right.pow(4) + below.pow(4)).pow(0.25)) * max(images.shape[-2:]) / 2  # in px
    return (inside + 0.5).clamp(0, 1)[:, None]


def clothing(images: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Return images with 6 random folds of a gown: clip(x + a f), a = 0.03 to 0.22 in grey of [0, 1].

    A fold is a parabola from top to bottom whose brightness f is a Gaussian of the way across with sd 0.04 half sides.

    Reference:
        Shetty et al., "Computed radiography image artifacts revisited", AJR 196, 2011; the shape is our own.
    """
    absorbed = parameter("clothing", images, severity)
    place, tilt, bend = (2 * uniform(images, generator, 3, 6, 1, 1) - 1).unbind(dim=1)  # (B, 6, 1, 1) each
    rows, columns = frame(images)
    down = rows[:, None]
    folds = (((columns - place - 0.4 * tilt * down - 0.2 * bend * down**2) / 0.04) ** 2 / -2).exp()
    return (images + absorbed * folds.amax(dim=1, keepdim=True)).clamp(0, 1)


def _strokes(numbers: Tensor, glyphs: Tensor) -> Tensor:
    """Return the dots (B, S, 7, 24) of strings of ``glyphs`` (B, S), given by ``numbers`` (B, S, 4) in [0, 1)."""
    font = torch.tensor(list(_GLYPHS), dtype=torch.uint8).view(-1, 5).to(numbers.device, non_blocking=True)
    rows = torch.arange(7, device=numbers.device, dtype=torch.uint8)
    dots = pad((font[:, None] >> rows[:, None] & 1).float(), (0, 1))  # (30, 7, 6), a column between two glyphs
    shown = torch.arange(_LONGEST, device=numbers.device) < glyphs[..., None]
    strings = dots[(numbers * len(dots)).long()] * shown[..., None, None]
    return strings.transpose(2, 3).flatten(3)


def _corners(images: Tensor, drawn: Tensor, bounds: tuple[tuple[tuple[float, float], ...], ...]) -> Tensor:
    """Return the corners (B, N, 4, 2) in px, x before y, of curves that ``drawn`` (B, N, 7) places within bounds.

    The numbers of a curve are where it starts on the top edge, then x and y of two control points and of its end.
    """
    sides = torch.tensor([images.shape[3], images.shape[2]])
    low, high = (torch.tensor(bounds) * sides).to(images.device, non_blocking=True)
    shares = torch.cat([drawn[..., :1], torch.zeros_like(drawn[..., :1]), drawn[..., 1:]], dim=-1)
    corners: Tensor = low + (high - low) * shares.view(len(images), -1, 4, 2)
    return corners


def _hung(images: Tensor, corners: Tensor, *, deviation: float, radius: float | None = None) -> Tensor:
    """Return the opacity (B, 1, H, W) of curves, which end in discs if these have a radius; all in px."""
    deviation = max(0.4, deviation)
    margin = math.ceil(max(3 * deviation, (radius or 0) + 1))  # for what extends beyond the border
    height, width = (side + 2 * margin for side in images.shape[-2:])
    paper = torch.zeros(len(images), height, width, device=images.device)
    _draw_curves(paper, corners, margin=margin, deviation=deviation)
    if radius is not None:
        _draw_discs(paper, corners[:, :, 3], margin=margin, radius=radius)
    return paper[:, None, margin:-margin, margin:-margin]


def _draw_curves(paper: Tensor, corners: Tensor, *, margin: int, deviation: float) -> None:
    """Raise ``paper`` (B, H, W) to exp(-d^2 / (2 sd^2)), d the distance in px to a curve, up to 3 sd each way.

    ``corners`` (B, N, 4, 2) of the Bezier curves are in px, x before y, from the corner of the paper inside its margin
    of at least 3 sd.
    """
    along = torch.linspace(0, 1, _SAMPLES, device=paper.device)
    weights = ((1 - along) ** 3, 3 * along * (1 - along) ** 2, 3 * along**2 * (1 - along), along**3)
    points = torch.zeros(2, *corners.shape[:2], _SAMPLES, device=paper.device)
    for corner, weight in zip(corners.permute(2, 3, 0, 1), weights, strict=True):
        points.addcmul_(corner[..., None], weight)
    cells = points.floor()
    index = (cells[1].long() * paper.shape[2] + cells[0].long()).flatten(1)
    reach = math.ceil(3 * deviation)
    # A Gaussian of the way from the points to the pixels about them is one of its columns times one of its rows.
    offsets = [cells - points + (step + 0.5) for step in range(-reach, reach + 1)]
    gaussians = [(offset / deviation).square_().mul_(-0.5).exp_().flatten(2) for offset in offsets]
    values = torch.empty_like(gaussians[0][0])
    for row, (_, down) in enumerate(gaussians, start=margin - reach):
        for column, (right, _) in enumerate(gaussians, start=margin - reach):
            neighbours = paper.flatten(1)[:, row * paper.shape[2] + column :]
            neighbours.scatter_reduce_(1, index, torch.mul(right, down, out=values), "amax")


def _draw_discs(paper: Tensor, centres: Tensor, *, margin: int, radius: float) -> None:
    """Raise ``paper`` (B, H, W) to discs with a rim of 1 px, ``centres`` (B, N, 2) and ``margin`` as for curves."""
    reach = math.ceil(radius + 1)
    steps = torch.arange(-reach, reach + 1, device=paper.device)
    pixels = centres.floor().long()[:, :, None] + torch.cartesian_prod(steps, steps)
    distance = torch.linalg.vector_norm(pixels + 0.5 - centres[:, :, None], dim=-1)
    columns, rows = (pixels + margin).unbind(dim=-1)
    index = (rows * paper.shape[2] + columns).flatten(1)
    paper.flatten(1).scatter_reduce_(1, index, (radius + 0.5 - distance).clamp(0, 1).flatten(1), "amax")
