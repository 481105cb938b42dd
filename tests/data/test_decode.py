"""Files to arrays: values are held against Pillow and against sums by hand; every bad file gets a sentence."""

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
    in_threads,
    read_image,
    read_mask,
)
from trustseg.errors import DataError, MissingFileError

Array = npt.NDArray[Any]


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
    with pytest.raises(DataError, match=r"cannot be decoded \(0 bytes\), expected a PNG, JPEG"):
        read_image(tmp_path / "a.png")
    Image.fromarray(fake.image("a")).save(tmp_path / "a.png", "WEBP")  # whatever its name says
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
