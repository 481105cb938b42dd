"""Files to arrays: values are held against Pillow and against sums by hand; every bad file gets a sentence."""

import hashlib
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tests import fake

from trustseg.data.decode import (
    check_sizes,
    foreground,
    in_threads,
    read_image,
    read_mask,
)
from trustseg.errors import DataError, MissingFileError

Array = npt.NDArray[Any]


def test_grey_and_colour_are_read_as_pillow_reads_them(tmp_path: Path) -> None:
    file = fake.save(fake.image("a", size=(7, 5)), tmp_path / "a.png")
    grey = read_image(file)
    np.testing.assert_array_equal(grey.pixels, fake.image("a", size=(7, 5)))
    assert (grey.size, grey.white) == ((7, 5), 255)
    assert grey.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    np.testing.assert_array_equal(read_image(file, channels=3).pixels, np.stack([grey.pixels] * 3, axis=-1))


def test_colour_becomes_luminance(tmp_path: Path) -> None:
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]], dtype=np.uint8)
    file = fake.save(colours, tmp_path / "a.png")
    assert read_image(file).pixels.tolist() == [[76, 150, 29, 9]]  # 0.299 R + 0.587 G + 0.114 B of ITU-R BT.601
    np.testing.assert_array_equal(read_image(file, channels=3).pixels, colours)
    assert read_mask(file).pixels.tolist() == [[76, 150, 29, 9]]


def test_one_bit_and_transparency_are_no_obstacle(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "bit.png")
    Image.fromarray(np.array([[[7, 0], [9, 255]]], dtype=np.uint8), "LA").save(tmp_path / "alpha.png")
    for read in (read_image, read_mask):
        assert read(tmp_path / "bit.png").pixels.tolist() == [[255, 0]]
        assert read(tmp_path / "alpha.png").pixels.tolist() == [[7, 9]]


@pytest.mark.parametrize("kind", [np.uint16, np.int32])
@pytest.mark.parametrize(
    ("highest", "white"),
    [
        *((0, 255), (1, 255), (255, 255), (256, 1023), (1023, 1023), (1024, 4095), (4095, 4095)),
        *((4096, 16383), (16383, 16383), (16384, 65535), (65535, 65535)),
    ],
)
def test_deep_values_are_scaled_from_the_depth_that_holds_them(
    tmp_path: Path, highest: int, white: int, kind: type
) -> None:
    values: Array = np.array([[0, highest // 5, highest]], dtype=kind)
    file = fake.save(values, tmp_path / "a.tif")
    image = read_image(file)
    assert image.white == white
    assert np.abs(image.pixels - values * (255 / white)).max() <= 0.5
    np.testing.assert_array_equal(read_mask(file).pixels, image.pixels)
    np.testing.assert_array_equal(read_image(file, channels=3).pixels, np.stack([image.pixels] * 3, axis=-1))


def test_a_palette_with_colours_is_read_as_its_indices(tmp_path: Path) -> None:
    labels = np.array([[0, 1], [2, 1]], dtype=np.uint8)
    image = Image.fromarray(labels, "P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 0, 200])  # luminance 38 and 23: no grey value of a mask
    image.save(tmp_path / "labels.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "labels.png").pixels, labels)
    image.putpalette([0, 0, 0, 255, 255, 255, 90, 90, 90])
    image.save(tmp_path / "greys.png")
    assert read_mask(tmp_path / "greys.png").pixels.tolist() == [[0, 255], [90, 255]]


@pytest.mark.parametrize(
    ("values", "marked"),
    [
        ([[0, 255]], [[0, 1]]),
        ([[0, 127, 128, 254]], [[0, 0, 1, 1]]),
        ([[0, 1, 1]], [[0, 1, 1]]),
        ([[0, 1, 255]], [[0, 0, 1]]),
        ([[0, 0]], [[0, 0]]),
        ([[255], [255]], [[1], [1]]),
        ([[1]], [[1]]),
        ([[128]], [[1]]),
    ],
)
def test_what_a_mask_marks(values: list[list[int]], marked: list[list[int]]) -> None:
    found = foreground(np.array(values, dtype=np.uint8), Path("mask.png"))
    assert found.dtype == bool
    assert found.astype(int).tolist() == marked


@pytest.mark.parametrize("highest", [2, 100, 127])
def test_a_mask_that_would_turn_empty_in_silence_is_refused(highest: int) -> None:
    with pytest.raises(DataError, match=rf"m\.png is a mask whose largest grey value is {highest}, expected 0 and 255"):
        foreground(np.array([[0, 1, highest]], dtype=np.uint8), Path("m.png"))


def test_an_image_and_its_mask_have_one_size(tmp_path: Path) -> None:
    image = read_image(fake.save(fake.image("a", size=(4, 3)), tmp_path / "a.png"))
    mask = read_mask(fake.save(fake.mask("a", size=(3, 4)), tmp_path / "m.png"))
    check_sizes(image, image, image_path=Path("a.png"), mask_path=Path("a.png"))
    with pytest.raises(DataError, match=r"m\.png has 3x4 pixels but its image a\.png has 4x3, expected the same size"):
        check_sizes(image, mask, image_path=Path("a.png"), mask_path=Path("m.png"))


def test_threads_give_results_in_order_and_count_them() -> None:
    second_done = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert second_done.wait(10)  # the first item ends last
        if number == 1:
            second_done.set()
        return 10 * number

    calls: list[tuple[int, int]] = []
    assert in_threads(work, [0, 1, 2], progress=lambda *call: calls.append(call)) == [0, 10, 20]
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert in_threads(work, [], progress=None) == []


def test_an_error_in_a_thread_is_raised() -> None:
    def work(number: int) -> None:
        raise DataError(f"image {number}")

    with pytest.raises(DataError, match="image 4"):
        in_threads(work, [4, 5], progress=None)


def test_files_that_are_not_there_or_no_images(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"a\.png does not exist, expected an image file; check the path"):
        read_image(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\), expected an image file; check its rights"):
        read_mask(tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot be decoded \(0 bytes\), expected a PNG, JPEG, BMP or TIFF image"):
        read_image(tmp_path / "a.png")
    Image.fromarray(fake.image("a")).save(tmp_path / "a.png", "GIF")  # whatever its name says
    with pytest.raises(DataError, match=r"cannot be decoded \(unknown format\)"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([[0.5, np.nan]], r"NaN or infinite values \(32-bit float\), expected 8- or 16-bit"),
        ([[0.5, np.inf]], "NaN or infinite values"),
        ([[0.5, 1.0]], "fractional numbers"),
        ([[-1, 5]], "holds values from -1 to 5"),
        ([[0, 70000]], "holds values from 0 to 70000, expected 8- or 16-bit whole numbers; window"),
    ],
)
def test_values_that_are_no_grey_levels(tmp_path: Path, values: list[list[float]], sentence: str) -> None:
    found = np.array(values)
    file = fake.save(found.astype(np.float32 if found.dtype.kind == "f" else np.int32), tmp_path / "a.tif")
    for read in (read_image, read_mask):
        with pytest.raises(DataError, match=sentence):
            read(file)


def test_several_frames_are_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(fake.image(name)) for name in "ab"]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="has 2 frames of 20x16 pixels, expected one image with pixels; replace"):
        read_image(tmp_path / "a.tif")
