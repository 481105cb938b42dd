"""One phantom: a pure function of seed, patient, session and size."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trustseg.data.phantom.body import Anatomy, Body, build_anatomy, draw_body
from trustseg.data.phantom.fields import Array, stream
from trustseg.data.phantom.film import (
    Exposure,
    body_coordinates,
    develop,
    draw_exposure,
    finish,
    opening,
    project,
    retake,
)
from trustseg.data.phantom.lesions import Disease, ambiguity, draw_disease, lesion_density, read
from trustseg.data.phantom.strokes import draw_vessels, vessel_tree
from trustseg.errors import DataError

__all__ = ["Phantom", "check_size", "phantom", "session_count"]

SIZES: Final = (32, 1024)
"""Smallest and largest number of pixels along an axis."""

_HEALTHY: Final = 0.035
_SESSIONS: Final = (0.55, 0.25, 0.12, 0.08)
_REACH: Final = 1.2
_VESSELS: Final = 0.19
# The purposes of the random streams of a patient; the last two also take the session.
_COUNT, _PATIENT, _FILM, _READER = range(4)


@dataclass(frozen=True, slots=True)
class Phantom:
    """A generated chest X-ray with one reading of it and the chance of each pixel to be marked by any reader."""

    image: NDArray[np.uint8]
    """(size, size), grey."""
    mask: NDArray[np.bool_]
    """(size, size), the reference mask: one draw from ``ambiguity``."""
    ambiguity: NDArray[np.uint8]
    """(size, size), 255 times the probability eta that a reader marks the pixel; exact, not rounded after the draw."""
    view: str
    """``"pa"`` (standing, from behind) or ``"ap"`` (portable)."""


class _Patient(NamedTuple):
    body: Body
    disease: Disease
    markings: Array
    usual: Exposure


@lru_cache(maxsize=4)
def _patient(seed: int, number: int, infected: bool) -> _Patient:
    generator = stream(seed, number, _PATIENT)
    body = draw_body(generator)
    tree = vessel_tree(generator)
    tree[:, :4] /= _REACH
    markings = body.vessels * draw_vessels(tree, generator)
    usual = draw_exposure(generator)
    # The disease comes last, so that the control of a number is the healthy twin of its patient.
    disease = draw_disease(generator, body, empty_share=_HEALTHY if infected else 1.0)
    return _Patient(body, disease, markings, usual)


def session_count(seed: int, patient: int) -> int:
    """Return how many images a patient has, 1 to 4."""
    return 1 + int(stream(seed, patient, _COUNT).choice(len(_SESSIONS), p=_SESSIONS))


def phantom(seed: int, patient: int, session: int, *, size: int = 128, infected: bool = True) -> Phantom:
    """Return one generated frontal chest X-ray with its reference mask and ambiguity.

    The same arguments give the same bits; another ``size`` shows the same patient, pose, lesions and reading.

    Args:
        seed: seed of the whole set, >= 0.
        patient: number of the patient, >= 0; decides body and disease.
        session: number of the image of that patient, >= 0; decides pose, exposure, course of the disease and reader.
        size: pixels along an axis, 32 to 1024.
        infected: False for a control, whose mask and ambiguity are 0; in about one patient of twenty they are 0 anyway.

    Example:
        >>> control = phantom(0, 1, 1, size=32, infected=False)
        >>> control.image.shape, control.image.dtype, int(control.mask.sum())
        ((32, 32), dtype('uint8'), 0)
    """
    check_size(size)
    for name, value in (("seed", seed), ("patient", patient), ("session", session)):
        if value < 0:
            raise DataError(f"{name} is {value}, expected a whole number of at least 0")
    body, disease, markings, usual = _patient(seed, patient, infected)
    generator = stream(seed, patient, _FILM, session)
    exposure = retake(usual, generator)
    growth, denser = generator.normal(1, 0.12), math.exp(generator.normal(0, 0.25))
    anatomy = build_anatomy(
        body,
        *body_coordinates(exposure, size),
        breath=exposure.breath,
        enlarged=1.15 if exposure.portable else 1.0,
        overlap=0.12 if exposure.portable else 0.0,
    )
    envelope, mottled = lesion_density(disease, anatomy.x, anatomy.y, growth=growth, denser=denser)
    vessels = project(exposure, markings, _REACH, size)
    inside = anatomy.depth * (body.air * mottled + _VESSELS * vessels * (1 - mottled))
    grey = develop(exposure, anatomy.tissue + anatomy.bones + inside)
    chance = ambiguity(_visible_contrast(exposure, anatomy, body.air * envelope))
    return Phantom(
        image=finish(exposure, grey, generator),
        mask=read(chance, stream(seed, patient, _READER, session)),
        ambiguity=chance,
        view="ap" if exposure.portable else "pa",
    )


def check_size(size: int) -> None:
    """Raise DataError unless an image of ``size`` pixels along an axis can be made."""
    low, high = SIZES
    if not low <= size <= high:
        raise DataError(f"size is {size} px, expected {low} to {high}")


def _visible_contrast(exposure: Exposure, anatomy: Anatomy, filled: Array) -> Array:
    """Return by how many grey levels of 255 the lesions brighten the film over soft tissue alone, where exposed."""
    if not filled.any():
        return filled
    with_lesions = develop(exposure, anatomy.tissue + anatomy.depth * filled)
    open_field = opening(exposure, filled.shape[0])
    return 255 * open_field * (with_lesions - develop(exposure, anatomy.tissue))
