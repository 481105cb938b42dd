"""Infections of the lungs and how a reader sees them: density, the chance of being marked, one reader's mask."""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trustseg.data.phantom.body import Body, diaphragm, lung_borders
from trustseg.data.phantom.fields import Array, gaussian_field, normals, ramp, upsample

__all__ = ["SEEN_GREY", "Disease", "ambiguity", "draw_disease", "lesion_density", "read"]

SEEN_GREY: Final = 9.0
"""Grey levels of 255 by which a lesion must brighten the film for half of the readings to include it."""

STRICTNESS: Final = 0.35
"""Share of the variance between readings that concerns the whole image: a reader who marks much or little."""

_BORDER_NODES: Final = 11
_PROBIT: Final = np.array(
    [-np.inf, *(NormalDist().inv_cdf(level / 255) for level in range(1, 255)), np.inf], dtype=np.float32
)


@dataclass(frozen=True, slots=True)
class Lesion:
    """One opacity, in body units; ``density`` 1 replaces all air (consolidation), ground glass is below about 0.5."""

    x: float
    y: float
    radii: tuple[float, float]
    angle: float
    density: float
    softness: float
    roughness: float


@dataclass(frozen=True, slots=True)
class Disease:
    """The infection of a patient; without lesions the patient is healthy."""

    lesions: tuple[Lesion, ...]
    shape: Array
    texture: Array


def draw_disease(generator: np.random.Generator, body: Body, *, empty_share: float) -> Disease:
    """Return a random infection: 1 to 6 lesions, mostly peripheral, low and bilateral, or none, with ``empty_share``.

    ``shape`` and ``texture`` are lattices for frayed borders and a mottled inside.
    """
    healthy = generator.random() < empty_share
    count = 0 if healthy else int(generator.choice([1, 2, 3, 4, 5, 6], p=[0.12, 0.3, 0.22, 0.18, 0.1, 0.08]))
    area = 4 * generator.beta(1.05, 3.1)
    shares = generator.dirichlet(np.full(max(count, 1), 3.0))
    severity = generator.normal(-1.3, 0.5)
    side = 1.0 if generator.random() < 0.5 else -1.0
    lesions = []
    for share in shares[:count]:
        side = -side if generator.random() < 0.75 else side
        lesions.append(_draw_lesion(generator, body, side, float(area * share), severity))
    return Disease(tuple(lesions), normals(generator, 14, 14), normals(generator, 64, 64))


def _draw_lesion(generator: np.random.Generator, body: Body, side: float, area: float, severity: float) -> Lesion:
    """Return one lesion of about ``area`` on one side (1: the patient's left)."""
    left = float(side > 0)
    low = 1 - generator.beta(1.4, 2.6) if generator.random() < 0.8 else generator.uniform(0.1, 0.6)
    outward = generator.beta(2.6, 1.5)
    bottom = diaphragm(body, np.array(0.5, np.float32), left).item() + 0.05
    y = body.apex + 0.12 + low * (bottom - body.apex - 0.12)
    medial, lateral = (border.item() for border in lung_borders(body, np.array(y, np.float32), left))
    x = side * (medial + outward * (lateral - medial))
    stretch = math.exp(generator.normal(0.25, 0.3))
    radius = math.sqrt(area / math.pi)
    density = float(np.clip(np.exp(severity + generator.normal(0, 0.35)), 0.03, 0.95))
    return Lesion(
        x=x,
        y=y,
        radii=(radius / stretch, radius * stretch),
        angle=side * generator.uniform(-0.15, 0.5),
        density=density,
        softness=generator.uniform(0.7, 1.4) * (1.15 - 0.5 * density),
        roughness=generator.uniform(0.06, 0.22),
    )


def lesion_density(disease: Disease, x: Array, y: Array, *, growth: float, denser: float) -> tuple[Array, Array]:
    """Return the share of air that lesions replace: the smooth envelope that readers delineate, and what films show.

    Args:
        disease: the infection.
        x: body coordinates of the pixels, (size, size).
        y: the same, downwards.
        growth: magnification of each lesion's radii at the time of this image.
        denser: factor on each lesion's density at that time.
    """
    size = x.shape[0]
    air, frayed = np.ones_like(x), upsample(disease.shape, size)
    for lesion in disease.lesions:
        c, s = math.cos(lesion.angle), math.sin(lesion.angle)
        dx, dy = x - lesion.x, y - lesion.y
        across, along = (c * dx + s * dy) / lesion.radii[0], (c * dy - s * dx) / lesion.radii[1]
        height = growth - np.sqrt(across * across + along * along) + lesion.roughness * frayed
        air = air * (1 - min(lesion.density * denser, 0.97) * ramp(height, lesion.softness))
    envelope = 1 - air
    mottled = envelope * (1 + (0.3 - 0.25 * envelope) * (0.5 * frayed + upsample(disease.texture, size)))
    return envelope, np.clip(mottled, 0, 1)


def ambiguity(visible: Array) -> NDArray[np.uint8]:
    """Return 255 times the probability eta that a reading marks each pixel, rounded, (size, size) uint8.

    eta = v^s / (v^s + t^s) with v the visible contrast in grey levels, >= 0, t = SEEN_GREY and s = 4, how suddenly
    readings change from leaving out to including: nothing seen is never marked, a contrast of t is marked in half of
    the readings. The value k stands for eta = k / 255 exactly, as ``read`` uses it.

    Example:
        >>> ambiguity(np.array([[0.0, SEEN_GREY, 1000.0]], dtype=np.float32)).tolist()
        [[0, 128, 255]]

    Reference:
        Naka and Rushton, "S-potentials from colour units in the retina of fish", J. Physiol. 185, 1966: the form of the
        function. The two constants are ours.
    """
    power = np.square(np.square(visible * np.float32(1 / SEEN_GREY)))
    rounded: NDArray[np.uint8] = np.rint(255 * power / (1 + power)).astype(np.uint8)
    return rounded


def read(ambiguity_map: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.bool_]:
    """Return the mask that one reader draws: eta > U with U uniform at each pixel and smooth over the image.

    U = Phi(G) with G a Gaussian field of standard normal marginals (a Gaussian copula), partly common to the whole
    image: P(mask = 1) is eta at every pixel, while neighbours agree, so that contours hang together as a reader's do.
    eta = 0 is never and eta = 1 always in the mask.

    Example:
        >>> read(np.array([[0, 255], [255, 0]], dtype=np.uint8), np.random.default_rng(0)).tolist()
        [[False, True], [True, False]]
    """
    strictness = np.float32(generator.standard_normal())
    local = gaussian_field(generator, _BORDER_NODES, ambiguity_map.shape[0])
    threshold = np.float32(STRICTNESS**0.5) * strictness + np.float32((1 - STRICTNESS) ** 0.5) * local
    marked: NDArray[np.bool_] = _PROBIT[ambiguity_map] > threshold
    return marked
