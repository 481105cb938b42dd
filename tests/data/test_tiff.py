"""TIFF files of every depth, polarity and layout, written by tifffile."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile

from trustseg.data.decode import read_image, read_mask
from trustseg.errors import DataError

Array = npt.NDArray[Any]

RNG = np.random.default_rng(0)
GREY: Array = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
RGB: Array = RNG.integers(0, 65536, (6, 9, 3), dtype=np.uint16)


def tiff(path: Path, values: Array, **options: Any) -> Path:  # noqa: ANN401 - tifffile's options
    tifffile.imwrite(path, values, **options)
    return path


def test_min_is_white_is_obeyed(tmp_path: Path) -> None:
    for values, expected in ((GREY, 255 - GREY), (GREY > 127, 255 * (GREY <= 127))):
        file = tiff(tmp_path / "a.tif", values, photometric="miniswhite")
        for read in (read_image, read_mask):
            np.testing.assert_array_equal(read(file).pixels, expected)
    picture = read_image(tiff(file, RGB[..., 0], photometric="miniswhite"))
    np.testing.assert_array_equal(picture.pixels, RGB[..., 0])
    assert (picture.inverted, picture.white) == (True, None)  # turned by the white of the data set
    with pytest.raises(DataError, match=r"a\.tif"):
        read_mask(file)
    white = tiff(tmp_path / "b.tif", np.array([[0, 65535]], dtype=np.uint16), photometric="miniswhite")
    assert read_mask(white).pixels.tolist() == [[255, 0]]


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits"])
@pytest.mark.parametrize("depth", [8, 16])
def test_colour_keeps_its_depth_in_every_layout(
    tmp_path: Path, byteorder: str, planar: str, compression: str | None, depth: int
) -> None:
    values = RGB if depth == 16 else (RGB >> 8).astype(np.uint8)
    stored = np.moveaxis(values, -1, 0) if planar == "separate" else values
    options = {"planarconfig": planar, "byteorder": byteorder, "compression": compression}
    picture = read_image(tiff(tmp_path / "a.tif", stored, photometric="rgb", **options))
    np.testing.assert_array_equal(picture.pixels, values)
    assert picture.white == (None if depth == 16 else 255)


@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("bits", [2, 4, 10, 12, 14])
def test_odd_depths_tell_their_own_white(tmp_path: Path, bits: int, tile: tuple[int, int] | None) -> None:
    values = (RGB[..., 0] >> (16 - bits)).astype(np.uint8 if bits < 8 else np.uint16)
    if bits < 8:
        values[0, :2] = 0, 2**bits - 1
    file = tiff(tmp_path / "a.tif", values, bitspersample=bits, photometric="minisblack", tile=tile)
    picture = read_image(file)
    white = 255 if bits < 8 else 2**bits - 1
    assert picture.white == white
    np.testing.assert_array_equal(picture.pixels, np.rint(values * (white / (2**bits - 1))))


@pytest.mark.parametrize("kind", [np.uint32, np.int32, np.int16, np.float32, np.float64, np.int8])
def test_whole_numbers_of_other_types_are_read(tmp_path: Path, kind: type) -> None:
    values: Array = ((RGB[..., 0] >> 1) if kind != np.int8 else GREY >> 1).astype(kind)
    picture = read_image(tiff(tmp_path / "a.tif", values))
    np.testing.assert_array_equal(picture.pixels, values)
    assert picture.pixels.dtype == np.uint16
    assert picture.white == (127 if kind == np.int8 else None)  # which 7 bits and a sign tell


def test_transparency_beside_the_colours(tmp_path: Path) -> None:
    values = np.concatenate([RGB, RGB[..., :1] | 1], axis=-1)
    picture = read_image(tiff(tmp_path / "a.tif", values, photometric="rgb", extrasamples=["unassalpha"]))
    np.testing.assert_array_equal(picture.pixels, RGB)
    assert len(picture.notes) == 1
    with pytest.raises(DataError, match=r"b\.tif has an extra channel"):
        read_image(tiff(tmp_path / "b.tif", values, photometric="rgb", extrasamples=["unspecified"]))


@pytest.mark.parametrize(
    ("photometric", "shape"),
    [("separated", (6, 9, 4)), ("cielab", (6, 9, 3)), ("ycbcr", (6, 9, 3)), ("minisblack", (6, 9, 5))],
)
def test_other_colour_spaces_and_channels_are_named(tmp_path: Path, photometric: str, shape: tuple[int, ...]) -> None:
    file = tiff(tmp_path / "a.tif", np.zeros(shape, dtype=np.uint8), photometric=photometric, planarconfig="contig")
    with pytest.raises(DataError, match=r"a\.tif has (the colour space|5 channels)"):
        read_image(file)


def test_stacks_are_refused_however_they_are_written(tmp_path: Path) -> None:
    stack = np.zeros((3, 6, 9), dtype=np.uint8)
    kinds: list[dict[str, Any]] = [{}, {"imagej": True}, {"metadata": None}, {"volumetric": True, "tile": (1, 16, 16)}]
    for number, options in enumerate(kinds):
        file = tiff(tmp_path / f"{number}.tif", stack, photometric="minisblack", **options)
        with pytest.raises(DataError, match=rf"{number}\.tif"):
            read_image(file)


def test_missing_strips_are_no_black_pixels(tmp_path: Path) -> None:
    file = tiff(tmp_path / "a.tif", GREY, rowsperstrip=2)
    with tifffile.TiffFile(file, mode="r+") as opened:
        opened.pages.first.tags["StripByteCounts"].overwrite([18, 0, 18])
    with pytest.raises(DataError, match=r"a\.tif is incomplete"):
        read_image(file)


@pytest.mark.parametrize("photometric", ["minisblack", "rgb"])
def test_a_jpeg_strip_that_ends_early_is_refused(tmp_path: Path, photometric: str) -> None:
    values = RNG.integers(0, 256, (64, 32, 3), dtype=np.uint8)
    values = values if photometric == "rgb" else values[..., 0]
    file = tiff(tmp_path / "a.tif", values, photometric=photometric, compression="jpeg", rowsperstrip=32)
    read_image(file)
    with tifffile.TiffFile(file, mode="r+") as opened:
        tag = opened.pages.first.tags["StripByteCounts"]
        tag.overwrite([tag.value[0], tag.value[1] // 2])
    with pytest.raises(DataError, match=r"a\.tif is incomplete"):
        read_image(file)
