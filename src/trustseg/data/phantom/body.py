"""Anatomy of one patient as X-rays see it: how much tissue, air and bone stands behind each pixel.

Body coordinates: x to the patient's left (to the right of the image), y down, the spine at x = 0, the lungs between
y = -0.85 (apex) and y = 0.5 (diaphragm). Attenuation is in units of a full thickness of soft tissue.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from trustseg.data.phantom.fields import Array, chord, normals, ramp, upsample

__all__ = ["Anatomy", "Body", "build_anatomy", "diaphragm", "draw_body", "lung_borders"]


@dataclass(frozen=True, slots=True)
class Body:
    """What stays the same over all images of a patient; lengths in body units, attenuations in soft tissue units."""

    apex: float
    widest: float
    lungs_width: tuple[float, float]
    domes: tuple[float, float]
    mediastinum: float
    heart: tuple[float, float, float, float, float]
    knob: float
    build: float
    spacing: float
    rib_phase: float
    rib_slope: tuple[float, float]
    rib_contrast: float
    clavicle: tuple[float, float]
    breast: float
    scoliosis: float
    bubble: tuple[float, float, float]
    air: float
    vessels: float
    bend: tuple[float, float, float, float]
    marrow: Array


class Anatomy(NamedTuple):
    """Maps (size, size) of one body on one frame."""

    tissue: Array
    """Attenuation of everything soft, without ribs and vessels."""
    bones: Array
    """Attenuation of bones."""
    depth: Array
    """Depth of lung behind each pixel, 0 outside the lungs, at most 1."""
    x: Array
    y: Array


def draw_body(generator: np.random.Generator) -> Body:
    """Return a random patient."""
    u = generator.uniform
    width = u(0.72, 0.86)
    return Body(
        apex=u(-0.92, -0.8),
        widest=u(0.2, 0.4),
        lungs_width=(width * u(0.97, 1.04), width * u(0.97, 1.04)),
        domes=(u(0.32, 0.46), u(0.38, 0.54)),
        mediastinum=u(0.12, 0.18),
        heart=(u(0.1, 0.18), u(0.2, 0.28), u(0.24, 0.31), u(0.36, 0.46), u(0.45, 0.85)),
        knob=u(0.0, 1.0),
        build=u(0.0, 1.0),
        spacing=u(0.15, 0.19),
        rib_phase=u(0.0, 1.0),
        rib_slope=(u(0.12, 0.3), u(0.3, 0.55)),
        rib_contrast=u(0.05, 0.115),
        clavicle=(u(-0.74, -0.6), u(0.02, 0.22)),
        breast=max(0.0, u(-0.25, 0.22)),
        scoliosis=u(-0.015, 0.015),
        bubble=(u(0.3, 0.5), u(0.05, 0.14), max(0.0, u(-0.25, 0.6))),
        air=u(0.54, 0.77),
        vessels=u(0.6, 1.4),
        bend=(u(-3, 3), u(-3, 3), u(-3, 3), u(-3, 3)),
        marrow=normals(generator, 24, 24),
    )


def lung_borders(body: Body, y: Array, left: Array | float) -> tuple[Array, Array]:
    """Return the distances from the midline of the medial and of the lateral border of a lung at heights ``y``.

    ``left`` is 1 for the patient's left lung (right of the image), 0 for the right one. Above the apex the lateral
    border comes before the medial one.
    """
    right_width, left_width = body.lungs_width
    t = np.clip((body.widest - y) / (body.widest - body.apex), 0, 1)
    half = right_width + (left_width - right_width) * left
    lateral = half * (np.sqrt(np.maximum(1 - t * t * np.sqrt(t), 0)) + 0.12 * np.maximum(y - body.widest, 0))
    medial = body.mediastinum + 0.22 * np.exp(np.minimum((body.apex - y) * 9, 3))
    return medial, lateral


def diaphragm(body: Body, across: Array, left: Array | float) -> Array:
    """Return the height of the diaphragm at distance ``across`` from the midline: a dome that falls off sideways."""
    right, other = body.domes
    dome = right + (other - right) * left
    side = np.maximum(across - 0.42, 0)
    height: Array = dome + 0.8 * np.square(across - 0.38) + 2.0 * side * side * side * (1 + side)
    return height


def _heart(body: Body, x: Array, y: Array, enlarged: float) -> Array:
    """Return the thickness of heart, great vessels and aortic knob, at most about 1."""
    cx, cy, a, b, angle = body.heart
    c, s = math.cos(angle), math.sin(angle)
    dx, dy = (x - cx) / enlarged, y - cy
    dy = dy - 0.45 * np.maximum(dy, 0)
    ventricle = chord(np.square((c * dx + s * dy) / b) + np.square((c * dy - s * dx) / a))
    atrium = chord(np.square((x + 0.05) / (0.2 * enlarged)) + np.square(dy / 0.26))
    knob = body.knob * chord(np.square((x - 0.1) / 0.13) + np.square((y + 0.34) / 0.11))
    trunk = chord(np.square((x - 0.1) / (0.15 * enlarged)) + np.square((y + 0.08) / 0.24))
    return 1 - np.sqrt((1 - ventricle) * (1 - atrium) * (1 - knob) * (1 - trunk))


def _ribs(body: Body, across: Array, y: Array, lateral: Array) -> Array:
    """Return the thickness of ribs: posterior arches falling outwards, fainter anterior ones falling inwards."""
    outer = np.maximum(lateral, 0.25) * 1.05
    u = np.minimum(across / outer, 1.0)
    fall, steep = body.rib_slope
    drop = fall + (steep - fall) * np.clip(0.5 + 0.6 * y, 0, 1)
    run = u * u
    posterior = _bands((y - drop * (run * u * 0.9 - 0.12 * u)) / body.spacing + body.rib_phase, 0.22)
    anterior = _bands((y - drop * (0.55 - 1.2 * run)) / (1.12 * body.spacing) + 1.7 * body.rib_phase, 0.25)
    inside = ramp(1 - across / outer, 0.03) * ramp(y - body.apex + 0.04, 0.05)
    front = ramp(u - 0.5, 0.2) * 0.4
    thickness: Array = inside * (posterior * ramp(across - 0.1, 0.05) + anterior * front) * (1 + 0.3 * run * run)
    return thickness


def _bands(phase: Array, half_width: float) -> Array:
    """Return periodic bands with bright rims, as cortical bone shows them, one band for each integer of ``phase``."""
    offset = (phase - np.rint(phase)) * np.float32(1 / half_width)
    squared = offset * offset
    return ramp(1 - squared, 0.45) * (0.55 + 0.65 * np.minimum(squared, 1))


def _shoulder_girdle(body: Body, across: Array, y: Array, overlap: float) -> Array:
    """Return the attenuation of clavicles, scapulae and humeral heads."""
    start, rise = body.clavicle
    t = np.clip((across - 0.07) / 0.75, 0, 1)
    centre = start - rise * np.sin(t * 2.4) + 0.05 * np.sin(t * 6.3)
    offset = np.square((y - centre) / 0.04)
    clavicle = ramp(1 - offset, 0.5) * (0.7 + 0.4 * np.minimum(offset, 1)) * ramp(t * (1 - t) - 0.02, 0.02)
    dx, dy = across - 0.86 + overlap, y + 0.42
    blade = ramp(1 - np.square((dx + 0.35 * dy) / 0.17) - np.square(dy / 0.36), 0.12)
    head = chord(np.square((across - 1.08) / 0.16) + np.square((y + 0.6) / 0.18))
    attenuation: Array = 0.2 * clavicle + 0.08 * blade + 0.22 * head
    return attenuation


def _spine(body: Body, x: Array, y: Array) -> Array:
    """Return the attenuation of the vertebral column, less the air of the trachea before it (hence partly negative)."""
    offset = x - body.scoliosis * np.sin(3 * y)
    phase = y / 0.125
    disc = 0.5 - 0.5 * np.cos(2 * math.pi * phase)
    column = ramp(0.09 - np.abs(offset), 0.06)
    process = np.exp(-np.square(offset / 0.025) - np.square((phase - np.rint(phase)) / 0.25))
    trachea = ramp(0.045 - np.abs(x + 0.01), 0.03) * ramp(-0.28 - y, 0.1)
    attenuation: Array = column * (0.07 + 0.06 * disc) + 0.05 * process - 0.2 * trachea
    return attenuation


def _outline(body: Body, across: Array, y: Array) -> Array:
    """Return the thickness of the body without its lungs: 0 in the air around it, about 1 in the middle."""
    flank = 0.98 + 0.3 * body.build + 0.08 * np.maximum(y, 0) + 0.8 * ramp(-0.25 - y, 0.3)
    shoulder = -1.06 - 0.1 * body.build + 0.55 * np.maximum(across - 0.25, 0)
    above = np.maximum(y - shoulder, 0)
    neck = chord(np.square(across / (0.3 + 0.1 * body.build)))
    top = np.maximum(np.sqrt(np.minimum(above * 1.6, 1)), 0.8 * neck)
    side = np.sqrt(chord(np.square(across / flank)))
    thickness: Array = side * top * (0.93 + 0.2 * ramp(y - 0.45, 0.5) + 0.08 * body.build)
    return thickness


def _gas(body: Body, x: Array, y: Array, left_dome: float) -> Array:
    """Return the depth of gas in the stomach, flat at its fluid level, and in the colon."""
    centre, radius, amount = body.bubble
    cy = left_dome + 0.12 + radius
    bubble = chord(np.square((x - centre) / (1.5 * radius)) + np.square((y - cy) / radius))
    loop = chord(np.square((x - centre - 0.2) / radius) + np.square((y - cy - 0.1) / (0.7 * radius)))
    depth: Array = amount * np.maximum(bubble * ramp(cy + 0.5 * radius - y, 0.03), 0.7 * loop)
    return depth


def _bent(body: Body, x: Array, y: Array) -> tuple[Array, Array]:
    """Return body coordinates bent a little, so that no two bodies are the same curves scaled."""
    a, b, c, d = body.bend
    middle = x.shape[0] // 2
    column, row = y[:, middle : middle + 1], x[middle : middle + 1]
    bent_x = x + 0.02 * (np.sin(2.5 * column + a) + np.sin(2.9 * row + b))
    bent_y = y + 0.02 * (np.sin(3.1 * row + c) + np.sin(2.3 * column + d))
    return bent_x, bent_y


def build_anatomy(body: Body, x: Array, y: Array, *, breath: float, enlarged: float, overlap: float) -> Anatomy:
    """Return what stands behind each pixel of a body, with the warped coordinates that it was evaluated at.

    Args:
        body: the patient.
        x: body coordinates of the pixels, (size, size).
        y: the same, downwards.
        breath: body units by which the diaphragm stands lower (inspiration) or higher (< 0).
        enlarged: magnification of the heart's width, > 0; about 1.15 in AP views.
        overlap: body units by which the scapulae reach into the lungs.
    """
    x, y = _bent(body, x, y)
    across, left = np.abs(x), (x > 0).astype(np.float32)
    medial, lateral = lung_borders(body, y, left)
    floor = diaphragm(body, across, left) + breath
    heart = _heart(body, x, y, enlarged)
    beside, above = ramp(across - medial, 0.08), ramp(floor - y, 0.022)
    thorax = np.sqrt(chord(np.square(across / np.maximum(lateral, 0.01)))) * beside
    depth = thorax * above * np.sqrt(np.clip((y - body.apex) * 1.8, 0, 1))
    depth = depth * (1 - 0.9 * heart) * (1 - 0.3 * ramp(y - floor + 0.15, 0.15))
    recess = 0.14 * thorax * (1 - above) * ramp(floor + 0.2 - y, 0.2)

    outline = _outline(body, across, y)
    marrow = upsample(body.marrow, x.shape[0])
    hila = np.exp(-np.square((across - medial - 0.05) / 0.07) - np.square((y - 0.02) / 0.13))
    tissue = outline * (1 - body.air * depth - recess) + 0.1 * heart + 0.13 * hila * depth
    if body.breast > 0:
        breasts = chord(np.square((across - 0.5) / 0.36) + np.square((y - 0.3) / 0.36)) * ramp(y - 0.2, 0.3)
        tissue = tissue + body.breast * breasts
    if body.bubble[2] > 0:
        tissue = tissue - 0.5 * _gas(body, x, y, body.domes[1] + breath)
    tissue = tissue * (1 + 0.015 * marrow)

    bones = body.rib_contrast * _ribs(body, across, y, lateral) * ramp(floor + 0.1 - y, 0.3) * (1 - 0.6 * heart)
    upper = np.count_nonzero(y.min(axis=1) < 0.05)
    bones[:upper] += _shoulder_girdle(body, across[:upper], y[:upper], overlap)
    middle = across.min(axis=0) < 0.2
    bones[:, middle] += _spine(body, x[:, middle], y[:, middle])
    bones = bones * ramp(outline - 0.3, 0.3) * (1 + 0.12 * marrow)
    return Anatomy(tissue, bones, depth, x, y)
