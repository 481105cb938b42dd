"""Thin things drawn with a pen on a frame of fixed size: vessels, tubes, electrodes, burnt-in letters."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from trustseg.data.phantom.fields import Array, normals, upsample

__all__ = ["TEXTURE", "draw_lines", "draw_markers", "draw_vessels", "vessel_tree"]

PEN = 256
"""Pixels along an axis of the frame that strokes are drawn on before they are scaled to the image."""

TEXTURE = 168
"""Nodes along an axis of the map of vessels."""

TEXTS = ("PORTABLE", "AP", "ERECT", "SUPINE", "MOBILE", "AP SITTING", "UPRIGHT", "PA", "A", "14:07")


def _scaled(canvas: Image.Image, size: int) -> Array:
    resample = Image.Resampling.BOX if size < PEN else Image.Resampling.BILINEAR
    return np.asarray(canvas.resize((size, size), resample), dtype=np.float32) * np.float32(1 / 255)


def _pen(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return (points + 1) * (PEN / 2)


def vessel_tree(generator: np.random.Generator) -> NDArray[np.float64]:
    """Return the vessels of both lungs as segments (n, 5) in body coordinates: both ends (x, y) and the calibre.

    Each vessel leaves a hilum, wanders and forks every second step, thinner each time; thick ones come last.
    """
    sides = np.repeat([-1.0, 1.0], 10)
    angle = np.tile(np.linspace(-1.5, 1.55, 10), 2) + generator.normal(0, 0.2, 20)
    place = np.stack([sides * 0.16, 0.02 + 0.1 * np.sin(angle) - 0.04 * (sides > 0)], 1)
    calibre, segments = generator.uniform(0.5, 0.9, 20), []
    for level in range(9):
        length = 0.075 * generator.uniform(0.7, 1.3, len(angle))
        step = np.stack([sides * np.cos(angle), np.sin(angle)], 1) * length[:, None]
        segments.append(np.column_stack([place, place + step, calibre]))
        place, calibre = place + step, calibre * 0.87
        angle = angle + generator.normal(0, 0.24, len(angle))
        if level in (1, 3, 5):
            fork = generator.uniform(0.2, 0.7, len(angle))
            angle = np.concatenate([angle - fork, angle + fork * 0.7])
            place, sides = np.tile(place, (2, 1)), np.tile(sides, 2)
            calibre = np.tile(calibre, 2) * generator.uniform(0.7, 1, 2 * len(calibre))
    return np.concatenate(segments[::-1])


def draw_vessels(segments: NDArray[np.float64], generator: np.random.Generator) -> Array:
    """Return vessel segments as a (TEXTURE, TEXTURE) map, about 1 in a thick vessel, with a faint grain between them.

    Their coordinates are those that the map covers from -1 to 1. Beads along the segments are spread on lattices whose
    spacing suits the calibre.
    """
    total = np.zeros((TEXTURE, TEXTURE), np.float32)
    for nodes, beads, low, high in ((64, 4, 0.55, 2.0), (96, 5, 0.3, 0.55), (TEXTURE, 7, 0.0, 0.3)):
        x0, y0, x1, y1, calibre = segments[(segments[:, 4] >= low) & (segments[:, 4] < high)].T
        t = np.arange(beads)[:, None] / beads
        weight = np.broadcast_to(calibre * (8 * nodes / (beads * TEXTURE)), (beads, len(calibre)))
        lattice = _splat((x0 + t * (x1 - x0)).ravel(), (y0 + t * (y1 - y0)).ravel(), weight.ravel(), nodes)
        if nodes == 96:
            lattice += np.float32(0.16) * normals(generator, nodes, nodes)
        total += lattice if nodes == TEXTURE else upsample(lattice, TEXTURE)
    return total


def _splat(x: NDArray[np.float64], y: NDArray[np.float64], weight: NDArray[np.float64], nodes: int) -> Array:
    """Return points of the frame spread bilinearly on a (nodes, nodes) lattice; points outside are dropped."""
    px, py = ((c + 1) * (nodes / 2) - 0.5 for c in (x, y))
    keep = (px >= 0) & (px < nodes - 1) & (py >= 0) & (py < nodes - 1)
    px, py, weight = px[keep], py[keep], weight[keep]
    column, row = px.astype(np.int64), py.astype(np.int64)
    fx, fy, first = px - column, py - row, row * nodes + column
    places = np.concatenate([first, first + 1, first + nodes, first + nodes + 1])
    shares = np.concatenate([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy]) * np.tile(weight, 4)
    lattice = np.bincount(places, shares, minlength=nodes * nodes)
    return lattice.reshape(nodes, nodes).astype(np.float32)


def draw_lines(generator: np.random.Generator, size: int) -> Array:
    """Return tubes, cables and electrodes that lie on or in the patient, as a (size, size) map in [0, 1]."""
    canvas = Image.new("L", (PEN, PEN))
    draw = ImageDraw.Draw(canvas)
    for _ in range(generator.integers(1, 4)):
        ends = generator.uniform(-1, 1, (4, 2)) * (1.0, 0.9)
        t = np.linspace(0, 1, 24)[:, None]
        curve = (1 - t) ** 3 * ends[0] + 3 * t * (1 - t) ** 2 * ends[1] + 3 * t * t * (1 - t) * ends[2] + t**3 * ends[3]
        shade = int(generator.uniform(70, 200))
        draw.line(_pen(curve).ravel().tolist(), fill=shade, width=int(generator.integers(1, 3)), joint="curve")
        if generator.random() < 0.5:
            x, y = _pen(curve[-1])
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), outline=255, width=2)
    if generator.random() < 0.3:
        tube = np.array([[0.0, -1.0], [0.01, -0.6], [-0.01, -0.3]]) + generator.normal(0, 0.02, (3, 2))
        draw.line(_pen(tube).ravel().tolist(), fill=190, width=3, joint="curve")
    return _scaled(canvas, size)


@lru_cache(maxsize=32)
def _font(points: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(points)


def draw_markers(generator: np.random.Generator, size: int) -> tuple[Array, Array]:
    """Return burnt-in letters as two (size, size) maps in [0, 1]: where they replace the film, and by what grey.

    A side letter lies where the side says (R on the left of the image), bare, in a ring, in a white or in a black box;
    with, at times, an arrow or lines of small text.
    """
    cover, grey = Image.new("L", (PEN, PEN)), Image.new("L", (PEN, PEN))
    above, below = ImageDraw.Draw(cover), ImageDraw.Draw(grey)
    letter = "R" if generator.random() < 0.5 else "L"
    x = generator.uniform(5, 26) if letter == "R" else generator.uniform(PEN - 28, PEN - 12)
    y = generator.uniform(4, 50)
    points, style = int(generator.integers(9, 24)), generator.random()
    shade = int(generator.uniform(200, 255))
    box = (x - 4, y - 2, x + points * 0.8 + 2, y + points * 1.1 + 3)
    if style < 0.2:
        above.rectangle(box, fill=255)
        below.rectangle(box, fill=255 if style < 0.08 else 0)
        shade = 0 if style < 0.08 else shade
    elif style < 0.35:
        above.ellipse(box, outline=255, width=2)
        below.ellipse(box, outline=shade, width=2)
    above.text((x, y), letter, fill=255, font=_font(points))
    below.text((x, y), letter, fill=shade, font=_font(points))
    if generator.random() < 0.15:
        arrow = [(x + 4, y + 40), (x + 4, y + 28), (x, y + 33), (x + 4, y + 28), (x + 8, y + 33)]
        above.line(arrow, fill=255, width=1)
        below.line(arrow, fill=shade, width=1)
    if generator.random() < 0.35:
        words = generator.choice(TEXTS, size=generator.integers(1, 4), replace=False)
        corner = (generator.uniform(6, 24) if letter == "L" or x > 99 else PEN - 70, generator.uniform(8, 44))
        lines, small = "\n".join(words), _font(int(generator.integers(8, 12)))
        above.multiline_text(corner, lines, fill=255, font=small)
        below.multiline_text(corner, lines, fill=shade, font=small)
    return _scaled(cover, size), _scaled(grey, size)
