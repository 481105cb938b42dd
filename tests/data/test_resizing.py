"""Resizing against a brute-force area integral on the common grid of old and new pixels."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustseg.data.resizing import IGNORED, Fit, image_area, resize_image, resize_mask

Array = npt.NDArray[np.uint8]
SIDES = st.integers(1, 12)


def averaged(values: npt.NDArray[np.float64], height: int, width: int) -> npt.NDArray[np.float64]:
    """Return the area averages: every old pixel is repeated until blocks of the copies are the new pixels."""
    rows, columns = values.shape
    tall = values.repeat(height, axis=0).reshape(height, rows, columns).mean(axis=1)
    small: npt.NDArray[np.float64] = tall.repeat(width, axis=1).reshape(height, width, columns).mean(axis=2)
    return small


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(("side", "size"), [(256, 224), (224, 96), (100, 64), (97, 13), (12, 4), (5, 1)])
def test_a_shrunk_image_is_the_area_integral(side: int, size: int) -> None:
    pixels = noise(side, side + 1)
    found = resize_image(pixels, size).astype(float)
    assert np.abs(found - averaged(pixels.astype(float), size, size)).max() <= 0.5 + 1e-9


@settings(deadline=None)
@given(height=SIDES, width=SIDES, size=SIDES, seed=st.integers(0, 9))
def test_a_mask_pixel_is_what_covers_most_of_it(height: int, width: int, size: int, seed: int) -> None:
    mask = np.random.default_rng(seed).choice(np.array([0, 1, IGNORED], dtype=np.uint8), (height, width))
    found = resize_mask(mask, size)
    shares = {value: averaged((mask == value).astype(float), size, size) for value in (0, 1, IGNORED)}
    margin = 1e-9  # ties have tests of their own
    ignored = shares[IGNORED] > 0.5 + margin
    counted = shares[IGNORED] < 0.5 - margin
    assert (found[ignored] == IGNORED).all()
    assert (found[counted & (shares[1] > shares[0] + margin)] == 1).all()
    assert (found[counted & (shares[1] < shares[0] - margin)] == 0).all()
    assert set(np.unique(found)) <= {0, 1, IGNORED}


def test_an_even_split_goes_neither_always_to_the_background_nor_always_to_the_foreground() -> None:
    for band in (np.s_[:, 3:9], np.s_[3:9, :]):  # cuts new pixels in half on both sides
        mask = np.zeros((12, 12), dtype=np.uint8)
        mask[band] = 1
        assert resize_mask(mask, 6).sum() == mask.sum() / 4
    half_ignored = np.array([[1, IGNORED]], dtype=np.uint8)
    assert resize_mask(half_ignored, 1).tolist() == [[IGNORED]]


def test_a_side_that_grows_is_interpolated_between_centres() -> None:
    ramp = np.array([[0, 80]], dtype=np.uint8)
    assert resize_image(ramp, 4).tolist() == [[0, 20, 60, 80]] * 4
    pixels = noise(3, 9)
    centres = np.clip((np.arange(5) + 0.5) * 3 / 5 - 0.5, 0, 2)
    columns = averaged(pixels.astype(float), 3, 5)  # this side shrinks
    expected = np.stack([np.interp(centres, np.arange(3), column) for column in columns.T], axis=1)
    assert np.abs(resize_image(pixels, 5) - expected).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colours_depth_and_extremes_are_kept(dtype: type[np.uint8] | type[np.uint16]) -> None:
    highest = np.iinfo(dtype).max
    pixels: npt.NDArray[np.uint8 | np.uint16] = (
        np.random.default_rng(0).integers(0, highest, (40, 30, 3), endpoint=True).astype(dtype)
    )
    found = resize_image(pixels, 16)
    assert found.dtype == dtype
    for channel in range(3):
        np.testing.assert_array_equal(found[..., channel], resize_image(np.ascontiguousarray(pixels[..., channel]), 16))
    for size in (7, 50):
        assert (resize_image(np.full((40, 30), highest, dtype=dtype), size) == highest).all()


@pytest.mark.parametrize("fit", ["squash", "pad"])
def test_an_image_of_the_right_size_stays_as_it_is(fit: Fit) -> None:
    pixels = noise(5, 5)
    assert resize_image(pixels, 5, fit) is pixels
    mask = (pixels > 127).astype(np.uint8)
    assert resize_mask(mask, 5, fit) is mask


@settings(deadline=None)
@given(width=st.integers(1, 300), height=st.integers(1, 300), size=st.integers(1, 64))
def test_padding_keeps_the_aspect_ratio_and_is_ignored(width: int, height: int, size: int) -> None:
    area = image_area(width, height, size=size, fit="pad")
    assert max(area.height, area.width) == size
    shorter = min(width, height) / max(width, height) * size
    assert min(area.height, area.width) == pytest.approx(max(shorter, 1), abs=0.5)
    assert abs(2 * area.top + area.height - size) <= 1
    assert abs(2 * area.left + area.width - size) <= 1
    white = np.full((height, width), 255, dtype=np.uint8)
    image, mask = resize_image(white, size, "pad"), resize_mask((white > 0).astype(np.uint8), size, "pad")
    inside = np.zeros((size, size), dtype=bool)
    inside[area.slices] = True
    assert ((image == 255) == inside).all()
    assert ((mask == 1) == inside).all()
    assert (mask[~inside] == IGNORED).all()
