"""The secondary capture, pixel by pixel; its letters are looked at through what they do, not through their font."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.dicom_output.films import result, source_of, written

pytest.importorskip("highdicom")

from trustseg.dicom_output.capture import CONTOUR, burnt_in

pydicom = pytest.importorskip("pydicom")


def disc(size: tuple[int, int], radius: float) -> NDArray[np.bool_]:
    rows, columns = np.indices(size)
    return np.hypot(rows - size[0] // 2, columns - size[1] // 2) <= radius


@pytest.mark.parametrize("size", [(64, 90), (300, 200), (900, 1100)])
def test_the_contour_is_the_border_of_the_mask_and_hides_nothing_else(size: tuple[int, int]) -> None:
    mask = disc(size, 20)
    told = result(size, mask=mask)
    seen = burnt_in(told)[: size[0], : size[1]]
    drawn = (seen == CONTOUR).all(axis=-1)
    neighbours = np.pad(mask, 1)
    border = mask & ~np.all(
        [np.roll(neighbours, (row, column), (0, 1))[1:-1, 1:-1] for row in (-1, 0, 1) for column in (-1, 0, 1)], axis=0
    )
    assert drawn[border].all()
    assert not drawn[~mask].any()
    if max(size) <= 512:
        np.testing.assert_array_equal(drawn, border)
    np.testing.assert_array_equal(seen[~drawn], np.repeat(told.shown[~drawn][:, None], 3, axis=1))


@pytest.mark.parametrize("size", [(1, 1), (7, 90), (64, 64), (300, 200)])
def test_the_words_stand_below_the_image_and_fit(size: tuple[int, int]) -> None:
    full, empty = np.ones(size, bool), np.zeros(size, bool)
    strips = {
        name: burnt_in(result(size, mask=mask, review=review, score=score))[size[0] :]
        for name, mask, review, score in (
            ("review", full, True, 0.25),
            ("no review", full, False, 0.25),
            ("no policy", full, None, 0.25),
            ("score", full, True, 0.26),
            ("empty", empty, True, 0.25),
        )
    }
    assert all(strip.any() for strip in strips.values())
    assert len({strip.tobytes() for strip in strips.values()}) == len(strips)
    for strip in strips.values():
        assert not strip[:, -2:].any()  # no word is cut off
        assert not strip[-1:].any()


def test_the_object_holds_what_is_burnt_in(tmp_path: Path) -> None:
    source = source_of(tmp_path, BurnedInAnnotation="YES", PixelSpacing=[0.2, 0.1])
    made = written(tmp_path, source)["capture"]
    assert made.SOPClassUID == pydicom.uid.SecondaryCaptureImageStorage
    np.testing.assert_array_equal(made.pixel_array, burnt_in(result()))
    assert (made.PhotometricInterpretation, made.BurnedInAnnotation) == ("RGB", "YES")
    assert made.PixelSpacing == [0.2, 0.1]
    (reference,) = made.SourceImageSequence
    assert reference.ReferencedSOPInstanceUID == source.header.SOPInstanceUID
