"""White is decided for a data set: which depth, what outliers do, and that 8 bits stay as they are."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from trustseg.data.intensity import IntensityScale, blank_images, decide_scale, render, scan_image
from trustseg.data.picture import Picture
from trustseg.errors import DataError

Array = npt.NDArray[Any]


def deep(highest: int, *, side: int = 64, seed: int = 0, white: int | None = None, inverted: bool = False) -> Picture:
    """Values spread from 0 to ``highest``."""
    values = np.linspace(0, highest, side * side).round().astype(np.uint16)
    pixels = np.random.default_rng(seed).permutation(values).reshape(side, side)
    return Picture(pixels, "", "PNG", white=white, inverted=inverted)


def scale_of(*pictures: Picture) -> IntensityScale:
    return decide_scale([scan_image(picture, Path(f"{number}.png")) for number, picture in enumerate(pictures)])


@pytest.mark.parametrize(
    ("highest", "white"),
    [
        *((0, 255), (255, 255), (300, 1023), (1023, 1023), (1100, 4095), (4095, 4095), (4300, 16383)),
        *((16383, 16383), (17000, 32767), (32767, 32767), (34000, 65535), (65535, 65535)),
    ],
)
@pytest.mark.parametrize("inverted", [False, True])
def test_the_smallest_depth_that_holds_the_images_is_taken(highest: int, white: int, inverted: bool) -> None:
    picture = deep(highest, inverted=inverted)
    dark = deep(highest // 4)  # scaled as the other is
    scale = scale_of(*[dark] * 50, picture)
    assert scale.white == white
    values = white - picture.pixels if inverted else picture.pixels
    np.testing.assert_array_equal(render(picture, scale, channels=1), np.rint(values * (255 / white)))
    np.testing.assert_array_equal(render(dark, scale, channels=1), np.rint(dark.pixels * (255 / white)))


@pytest.mark.parametrize(("side", "hot"), [(64, 1), (64, 16), (32, 9), (512, 26)])
def test_hot_pixels_neither_darken_a_film_nor_the_data_set(side: int, hot: int) -> None:
    clean, spoiled = deep(4000, side=side), deep(4000, side=side)
    spoiled.pixels.ravel()[:hot] = 65535
    scale = scale_of(clean, spoiled)
    assert scale.white == 4095
    assert len(scale.notes) == 2
    assert "in 1 image" in scale.notes[1]
    shown = render(spoiled, scale, channels=1).ravel()
    assert (shown[:hot] == 255).all()
    np.testing.assert_array_equal(shown[hot:], render(clean, scale, channels=1).ravel()[hot:])


@pytest.mark.parametrize(
    ("highest", "marker", "white"),
    [(4000, 65535, 4095), (4000, 16383, 4095), (1000, 4095, 1023), (4000, 9000, 4095), (30000, 65535, 65535)],
)
def test_a_marker_does_not_darken_the_films_but_bright_anatomy_counts(highest: int, marker: int, white: int) -> None:
    marked = deep(highest)
    marked.pixels[:12, :12] = marker
    marked.pixels[12, :12] = (marker + highest) // 2  # its soft edge
    assert scale_of(marked, deep(highest), deep(highest)).white == white


@pytest.mark.parametrize("inverted", [False, True])
def test_images_that_come_out_dark_are_noted(inverted: bool) -> None:
    dark, bright = deep(4000), deep(65535)
    if inverted:
        dark = Picture(65535 - dark.pixels, "", "TIFF", white=None, inverted=True)
    assert any("1 image " in note and "dark" in note for note in scale_of(dark, bright).notes)
    assert not any("dark" in note for note in scale_of(bright, bright).notes)


def test_blank_images_are_those_that_come_out_as_one_level() -> None:
    scale = IntensityScale(65535)
    black, colour = np.zeros((64, 64), np.uint8), np.full((64, 64, 3), (9, 0, 0), np.uint8)
    hot = black.copy()
    hot[0, :3] = 255
    lines = black.copy()
    lines[::8] = 9
    shown = [*(Picture(pixels, "", "PNG") for pixels in (black, colour, hot)), deep(100), deep(2, white=4095)]
    seen = [Picture(lines, "", "PNG"), deep(4000), Picture(np.repeat(lines[..., None], 3, -1) // 9, "", "PNG")]
    scans = [scan_image(picture, Path(f"{number}")) for number, picture in enumerate([*shown, *seen])]
    assert blank_images(scans, scale) == scans[: len(shown)]


@pytest.mark.parametrize("white", [255, 1023, 32767])
def test_files_that_tell_their_white_have_no_say_and_are_not_touched(white: int) -> None:
    told = deep(white, white=white)
    told = Picture(told.pixels.astype(np.uint8), "", "PNG") if white == 255 else told
    assert scale_of(told) == IntensityScale()
    scale = scale_of(told, deep(4000))
    assert scale.white == 4095
    np.testing.assert_array_equal(render(told, scale, channels=1), np.rint(told.pixels * (255 / white)))


def test_colour_becomes_luminance_as_pillow_computes_it() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    picture = Picture(colours, "", "PNG")
    np.testing.assert_array_equal(
        render(picture, IntensityScale(), channels=1), np.asarray(Image.fromarray(colours).convert("L"))
    )
    assert render(picture, IntensityScale(), channels=3) is picture.pixels
    grey = Picture(colours[..., 0], "", "PNG")
    np.testing.assert_array_equal(render(grey, IntensityScale(), channels=3), np.stack([colours[..., 0]] * 3, axis=-1))


def test_films_of_more_bits_than_the_scale_are_named_and_bright_ones_are_not() -> None:
    with pytest.raises(DataError, match=r"new\.png"):
        render(deep(4000), IntensityScale(), channels=1, path=Path("new.png"))
    films = deep(60000)
    films.pixels[:40] = 4095  # of 64 rows: most within the scale
    render(films, IntensityScale(4095), channels=1)
    whole = Picture(np.maximum(deep(60000).pixels, 5000), "", "PNG", white=None)
    assert blank_images([scan_image(whole, Path("new.png"))], IntensityScale(4095)) == []
    with pytest.raises(DataError, match=r"new\.png.*bit depth.*4095"):
        render(deep(60000), IntensityScale(4095), channels=1, path=Path("new.png"))
