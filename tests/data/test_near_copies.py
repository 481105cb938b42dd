import io
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from trustseg.data.near_copies import content_groups, content_hash, near_copies, thumbnail
from trustseg.data.phantom import phantom

Pixels = NDArray[np.uint8]


def film(patient: int, session: int = 0) -> Pixels:
    return phantom(5, patient, session, size=128).image


def jpeg(pixels: Pixels) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=40)
    return np.asarray(Image.open(file))


def resized(pixels: Pixels, width: int, height: int) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


COPIES: dict[str, Callable[[Pixels], NDArray[Any]]] = {
    "jpeg": jpeg,
    "half": lambda pixels: resized(pixels, 64, 64),
    "larger": lambda pixels: resized(pixels, 300, 210),
    "small jpeg": lambda pixels: jpeg(resized(pixels, 80, 80)),
    "gamma": lambda pixels: (255 * (pixels / 255) ** 0.8).astype(np.uint8),
    "window": lambda pixels: np.clip((pixels.astype(float) - 10) * 255 / 235, 0, 255).astype(np.uint8),
    "negative": lambda pixels: 255 - pixels,
    "16 bits": lambda pixels: pixels.astype(np.uint16) * 200 + 17,
    "blur": lambda pixels: np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1))),
    "strong blur": lambda pixels: np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(2))),
    "border": lambda pixels: np.pad(pixels, ((7, 2), (0, 20))),
    "white border": lambda pixels: np.pad(pixels, 12, constant_values=255),
    "letterbox": lambda pixels: np.pad(resized(pixels, 150, 90), ((0, 0), (40, 40))),
    "colour": lambda pixels: np.stack([pixels] * 3, axis=-1),
}


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_found_and_other_films_are_not(copy: str) -> None:
    films = [film(patient) for patient in range(6)]
    thumbnails = np.stack([thumbnail(pixels) for pixels in [*films, COPIES[copy](films[2])]])
    assert near_copies(thumbnails) == [(2, 6)]


def drawing(rng: np.random.Generator, *, outline: bool) -> Pixels:
    """A section of nearly the same body with two lungs and a nodule, or a smooth bump on a slope."""
    y, x = np.mgrid[:96, :96] / 96

    def ellipse(column: float, row: float, wide: float, high: float) -> Any:  # noqa: ANN401 - numpy's own types
        inside = ((x - column) / wide) ** 2 + ((y - row) / high) ** 2
        return 1 / (1 + np.exp(((inside - 1) * 10).clip(max=50))) if outline else np.exp(-inside)

    shift, (column, row) = rng.normal(0, 0.003, 3), rng.uniform(0.3, 0.7, 2).tolist()
    if outline:
        body = 120 * ellipse(0.5 + shift[0], 0.5, 0.42, 0.33) + 60 * ellipse(column, row, 0.06, 0.06)
        grey = body - 90 * ellipse(0.3, 0.5 + shift[1], 0.12, 0.2) - 90 * ellipse(0.7 + shift[2], 0.5, 0.12, 0.2)
        grey = grey + rng.normal(20, 2, grey.shape)
    else:
        grey = 200 * ellipse(0.5, 0.5, 0.3, 0.3) + 20 * ellipse(column, row, 0.2, 0.2)
    pixels: Pixels = grey.clip(0, 255).astype(np.uint8)
    return pixels


RNG = np.random.default_rng(0)
DIFFERENT: dict[str, list[Pixels]] = {
    "films of one patient": [film(patient, session) for patient, session in itertools.product(range(8), range(2))],
    "flat": [np.full((40, 30), grey, dtype=np.uint8) for grey in (0, 9, 255)],
    "noise": [RNG.integers(0, 256, (40, 30), dtype=np.uint8) for _ in range(20)],
    "one outline": [drawing(RNG, outline=True) for _ in range(40)],
    "smooth": [drawing(RNG, outline=False) for _ in range(40)],
}


@pytest.mark.parametrize("kind", DIFFERENT)
def test_other_images_are_no_copies(kind: str) -> None:
    assert near_copies(np.stack(list(map(thumbnail, DIFFERENT[kind])))) == []
    assert near_copies(np.zeros((0, 2, 32, 32), np.float32)) == []


def test_groups_hold_equal_pixels_and_near_copies_in_chains() -> None:
    first, other = film(0), film(1)
    images = [first, jpeg(first), other, resized(first, 90, 90), other.copy(), film(2)]
    hashes = [content_hash(pixels) for pixels in images]
    groups = content_groups(hashes, np.stack(list(map(thumbnail, images))))
    assert groups[0] == groups[1] == groups[3] == min(hashes[0], hashes[1], hashes[3])[:16]
    assert groups[2] == groups[4] == hashes[2][:16]
    assert len(set(groups)) == 3


def test_equal_content_is_equal_pixels_in_an_equal_shape() -> None:
    grey = film(3)
    assert content_hash(grey) == content_hash(np.stack([grey] * 3, axis=-1))
    others = [grey[:, ::-1], grey.reshape(64, 256), grey.astype(np.uint16)]
    assert content_hash(grey) not in {content_hash(np.ascontiguousarray(pixels)) for pixels in others}
    assert content_hash(grey) == content_hash(np.asfortranarray(grey)) != content_hash(grey, inverted=True)
