"""A case is shown under attack where an evaluation of this very model recorded this very picture, and nowhere else."""

from io import BytesIO
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.review.given import write_gallery, write_predictions, write_run

from trustseg.data.resizing import Fit, image_area, resize_image
from trustseg.errors import DataError
from trustseg.review.attacked import read_attacked
from trustseg.review.cases import open_cases


def pixels(source: Path | bytes) -> NDArray[np.uint8]:
    with Image.open(source if isinstance(source, Path) else BytesIO(source)) as image:
        return np.asarray(image)


def test_the_recorded_pictures_of_a_case_and_of_no_other(tmp_path: Path) -> None:
    folder = write_predictions(tmp_path / "out", size=(16, 16))
    given = {number: pixels(folder / "images" / f"image{number}.png") for number in range(6)}
    run = write_run(tmp_path / "run")
    assert read_attacked(run, open_cases(folder)) == {}
    write_gallery(run, {"image1": given[1], "image2.png": given[2], "image3": given[4], "image9": given[5]})
    for place in (run, run / "evaluation-test", run / "evaluation-test" / "validation.parquet"):
        found = read_attacked(place, open_cases(folder))
        assert sorted(found) == [2, 3]  # not the fourth, whose picture is another one
    upper = np.zeros((16, 16), np.uint8)
    upper[:8] = 255
    assert (found[2].attack, found[2].side) == ("pgd20, budget 8/255", 16)
    assert np.array_equal(pixels(found[2].before), given[1])
    assert np.array_equal(pixels(found[2].after), 255 - given[1])
    assert np.array_equal(pixels(found[2].mask), upper)
    assert read_attacked(write_run(tmp_path / "other", model="of another"), open_cases(folder)) == {}
    (run / "evaluation-test" / "gallery.npz").write_bytes(b"PK cut short")
    with pytest.raises(DataError, match=r"gallery\.npz"):
        read_attacked(run, open_cases(folder))


@pytest.mark.parametrize("fit", get_args(Fit))
def test_pictures_are_shown_at_the_place_of_the_image(tmp_path: Path, fit: Fit) -> None:
    folder = write_predictions(tmp_path / "out", size=(40, 20))
    square = resize_image(pixels(folder / "images" / "image0.png"), 10, fit)
    run = write_run(tmp_path / "run")
    write_gallery(run, {"image0": square})
    (found,) = read_attacked(run, open_cases(folder)).values()
    area = image_area(40, 20, size=10, fit=fit)
    part = Image.fromarray(square[area.slices])
    assert np.array_equal(pixels(found.before), np.asarray(part.resize((40, 20), Image.Resampling.BILINEAR)))
    edge = 20 * (5 - area.top) // area.height  # of the mask, which is the upper half of the square
    assert pixels(found.mask)[: edge - 1].all()
    assert not pixels(found.mask)[edge + 1 :].any()
