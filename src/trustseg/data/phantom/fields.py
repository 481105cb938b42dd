"""Building blocks on a square frame: coordinates, soft steps, smooth random fields and pixels' views of them.

The frame is [-1, 1] x [-1, 1], x to the right and y down, whatever the number of pixels; random fields live on a
lattice of fixed size that is interpolated to the pixels, so that images of 128 px and of 224 px show the same.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["Array", "chord", "frame", "gaussian_field", "normals", "ramp", "stream", "upsample"]

Array = NDArray[np.floating]
"""A float32 map, usually (size, size); typed wider because stubs say float64 of float32 times a Python float."""


def stream(seed: int, *key: int) -> np.random.Generator:
    """Return the random generator of one purpose, independent of those of all other keys.

    Args:
        seed: the seed of the whole set, >= 0.
        key: integers >= 0 that name the purpose, such as patient, session and stream.
    """
    return np.random.default_rng(np.random.SeedSequence(entropy=seed, spawn_key=key))


def normals(generator: np.random.Generator, *shape: int) -> Array:
    """Return independent standard normal numbers as float32."""
    return generator.standard_normal(shape, dtype=np.float32)


@lru_cache(maxsize=8)
def frame(size: int) -> tuple[Array, Array]:
    """Return the frame coordinates of the pixel centres: x as (1, size) and y as (size, 1), both in (-1, 1)."""
    centres = ((2 * np.arange(size) + 1) / size - 1).astype(np.float32)
    return centres[None, :], centres[:, None]


def upsample(lattice: Array, size: int) -> Array:
    """Return a (k, k) lattice interpolated bicubically to (size, size)."""
    return np.asarray(Image.fromarray(lattice).resize((size, size), Image.Resampling.BICUBIC))


@lru_cache(maxsize=64)
def _weight_norms(nodes: int, size: int) -> Array:
    """Return the Euclidean norm of the interpolation weights of each pixel along one axis, (size,)."""
    weights = np.asarray(
        Image.fromarray(np.eye(nodes, dtype=np.float32)).resize((size, nodes), Image.Resampling.BICUBIC)
    )
    norms: Array = np.sqrt(np.square(weights, dtype=np.float64).sum(axis=0)).astype(np.float32)
    return norms


def gaussian_field(generator: np.random.Generator, nodes: int, size: int) -> Array:
    """Return a smooth Gaussian field (size, size) whose value at every single pixel is exactly standard normal.

    It is correlated over about 2 / ``nodes`` of the frame. Interpolated white noise has the sum of squared weights as
    variance, which differs from pixel to pixel; dividing by its root makes each marginal N(0, 1).
    """
    norms = _weight_norms(nodes, size)
    return upsample(normals(generator, nodes, nodes), size) / (norms[:, None] * norms[None, :])


def ramp(values: Array, width: float) -> Array:
    """Return a smooth step from 0 (below ``-width``) over one half (at 0) to 1 (above ``+width``)."""
    step = values * np.float32(2 / width)
    np.tanh(step, out=step)
    step += 1
    step *= np.float32(0.5)
    return step


def chord(squared: Array) -> Array:
    """Return how thick an ellipsoid of depth 1 is where its normalised squared radius is ``squared``; 0 outside."""
    thickness: Array = np.sqrt(np.clip(1 - squared, 0, 1))
    return thickness
