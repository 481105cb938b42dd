"""From attenuation to an 8-bit film: exposure, tone curve, blur, noise, collimation, burnt-in letters."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trustseg.data.phantom.fields import Array, frame, normals, ramp
from trustseg.data.phantom.strokes import draw_lines, draw_markers

__all__ = ["Exposure", "body_coordinates", "develop", "draw_exposure", "finish", "opening", "project", "retake"]


@dataclass(frozen=True, slots=True)
class Exposure:
    """How one image was taken; lengths in frame units, greys in [0, 1]."""

    portable: bool
    turn: float
    zoom: tuple[float, float]
    shift: tuple[float, float]
    breath: float
    slope: float
    middle: float
    floor: float
    ceiling: float
    gamma: float
    blur: float
    noise: float
    collimation: tuple[float, float, float, float]


def draw_exposure(generator: np.random.Generator) -> Exposure:
    """Return how a patient is usually taken; three in ten lie, and get portable AP films."""
    u, n = generator.uniform, generator.normal
    portable = bool(generator.random() < 0.3)
    shrink = u(0.84, 1.04) if generator.random() < 0.85 else u(1.0, 1.3)
    floor = max(0.0, n(0.03, 0.07))
    return Exposure(
        portable=portable,
        turn=n(0, 0.05 if portable else 0.025),
        zoom=(shrink * u(0.94, 1.06), shrink * u(0.88, 1.1)),
        shift=(n(0, 0.04), n(-0.05, 0.06) + 0.3 * (shrink - 0.95)),
        breath=n(-0.1 if portable else 0.04, 0.07),
        slope=u(2.8, 5.8),
        middle=n(0.65, 0.11),
        floor=floor,
        ceiling=min(1.0, u(0.78, 1.06)),
        gamma=math.exp(n(0, 0.15)),
        blur=u(0.1, 0.7) * (1.4 if portable else 1.0),
        noise=math.exp(min(n(-5.2, 0.45), -4.1)),
        collimation=(0.0, 0.0, 0.0, 0.0),
    )


def retake(usual: Exposure, generator: np.random.Generator) -> Exposure:
    """Return one film of a patient: the usual pose and exposure changed a little, and borders of its own."""
    n = generator.normal
    zoom, (x, y) = math.exp(n(0, 0.03)), usual.shift
    borders = np.where(generator.random(4) < 0.06, generator.uniform(0.03, 0.2, 4), 0.0)
    left, right, top, bottom = borders.tolist()
    return replace(
        usual,
        portable=usual.portable if generator.random() < 0.85 else not usual.portable,
        turn=usual.turn + n(0, 0.02),
        zoom=(usual.zoom[0] * zoom, usual.zoom[1] * zoom),
        shift=(x + n(0, 0.03), y + n(0, 0.03)),
        breath=usual.breath + n(0, 0.05),
        slope=usual.slope * math.exp(n(0, 0.12)),
        middle=usual.middle + n(0, 0.05),
        blur=usual.blur * math.exp(n(0, 0.2)),
        noise=usual.noise * math.exp(n(0, 0.2)),
        collimation=(left, right, top, bottom),
    )


def opening(exposure: Exposure, size: int) -> Array | float:
    """Return how open the collimator is at each pixel, (size, size) in [0, 1]; 1.0 where nothing is shut."""
    if max(exposure.collimation) == 0:
        return 1.0
    u, v = frame(size)
    left, right, top, bottom = exposure.collimation
    across = ramp(u + 1 - left, 0.02) * ramp(1 - right - u, 0.02)
    return across * ramp(v + 1 - top, 0.02) * ramp(1 - bottom - v, 0.02)


def body_coordinates(exposure: Exposure, size: int) -> tuple[Array, Array]:
    """Return the body coordinates of the pixel centres, (size, size) each."""
    u, v = frame(size)
    c, s = np.float32(np.cos(exposure.turn)), np.float32(np.sin(exposure.turn))
    x = np.float32(exposure.zoom[0]) * (c * u + s * v) + np.float32(exposure.shift[0])
    y = np.float32(exposure.zoom[1]) * (c * v - s * u) + np.float32(exposure.shift[1])
    return x, y


def project(exposure: Exposure, texture: Array, reach: float, size: int) -> Array:
    """Return what a frame of ``size`` pixels shows of a texture that covers [-reach, reach] of a body both ways."""
    c, s = math.cos(exposure.turn), math.sin(exposure.turn)
    scale = texture.shape[0] / (2 * reach)
    rows = []
    for along, across, zoom, shift in (
        (c, s, exposure.zoom[0], exposure.shift[0]),
        (-s, c, exposure.zoom[1], exposure.shift[1]),
    ):
        step = 2 * zoom * scale / size
        rows += [step * along, step * across, scale * (shift + reach - zoom * (along + across))]
    image = Image.fromarray(texture).transform(
        (size, size), Image.Transform.AFFINE, rows, resample=Image.Resampling.BILINEAR
    )
    return np.asarray(image)


def develop(exposure: Exposure, attenuation: Array) -> Array:
    """Return the grey in [0, 1] that the tone curve of a film gives to an attenuation."""
    grey = 1 / (1 + np.exp(np.float32(exposure.slope) * (np.float32(exposure.middle) - attenuation)))
    grey = np.power(grey, np.float32(exposure.gamma))
    toned: Array = np.float32(exposure.floor) + np.float32(exposure.ceiling - exposure.floor) * grey
    return toned


def _soften(grey: Array, sigma_px: float) -> Array:
    """Return a map blurred as if it had diffused for a standard deviation of ``sigma_px``; nothing leaves the frame."""
    passes = max(1, math.ceil(2 * sigma_px * sigma_px))
    weight = np.float32(0.5 * sigma_px * sigma_px / passes)
    grey = grey.copy()
    for _ in range(passes):
        flow = weight * np.diff(grey, axis=0)
        grey[:-1] += flow
        grey[1:] -= flow
        flow = weight * np.diff(grey, axis=1)
        grey[:, :-1] += flow
        grey[:, 1:] -= flow
    return grey


def finish(exposure: Exposure, grey: Array, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Return the 8-bit film: shading, lines, blur, quantum noise, collimation and letters put on a developed one.

    The noise comes last, as its amount depends on ``size``.
    """
    size = grey.shape[0]
    u, v = frame(size)
    tilt = normals(generator, 2) * np.float32(0.035)
    grey = grey * (1 + tilt[0] * u + tilt[1] * v)
    if generator.random() < (0.6 if exposure.portable else 0.12):
        grey = grey + (0.85 - grey) * 0.6 * draw_lines(generator, size)
    letters = draw_markers(generator, size) if generator.random() < 0.7 else None
    grey = _soften(grey, exposure.blur * size / 256)
    grain = normals(generator, size, size) * np.float32(exposure.noise * min(size / 128, 2))
    grey = grey + grain * np.sqrt(np.maximum(grey, 0.05))
    grey = grey * opening(exposure, size)
    if letters:
        cover, ink = letters
        grey = grey * (1 - cover) + ink
    return np.clip(np.rint(grey * 255), 0, 255).astype(np.uint8)
