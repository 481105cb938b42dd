"""Predictions of DICOM images come back as DICOM, pixel by pixel what the PNGs beside them show."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tests.dicom_output.films import CT, film, save
from tests.evaluation.packs import small_segmenter
from tests.policies import policy_with

from trustseg.data.resizing import Fit
from trustseg.dicom_output import SegmentMeaning
from trustseg.errors import DataError
from trustseg.evaluation.loading import hash_of_model
from trustseg.evaluation.predict import predict
from trustseg.uncertainty import MEASURES

highdicom = pytest.importorskip("highdicom")
pydicom = pytest.importorskip("pydicom")

MEANING = SegmentMeaning("lesion")


def read(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image)


def objects(folder: Path, stem: str = "film") -> dict[str, Any]:
    found = (folder / "dicom").glob(f"{stem}.*.dcm")
    return {file.name.removeprefix(f"{stem}.").removesuffix(".dcm"): pydicom.dcmread(file) for file in found}


@pytest.mark.parametrize(
    ("fit", "size", "photometric"),
    [
        ("squash", (32, 32), "MONOCHROME2"),
        ("squash", (50, 33), "MONOCHROME1"),
        ("pad", (50, 33), "MONOCHROME2"),
        ("pad", (7, 90), "MONOCHROME1"),
    ],
)
def test_masks_maps_and_captures_are_those_of_the_png(
    tmp_path: Path, fit: Fit, size: tuple[int, int], photometric: str
) -> None:
    windows: dict[str, Any] = {"WindowCenter": [100, 5], "WindowWidth": [91, 2]}
    file = save(film(CT, size=size, PhotometricInterpretation=photometric, **windows), tmp_path / "film.dcm")
    predict(small_segmenter(), [file], tmp_path / "out", fit=fit, measure="vacuity", dicom=MEANING)
    found = objects(tmp_path / "out")
    assert set(found) == {"seg", "map", "capture", "report"}
    mask = read(tmp_path / "out" / "masks" / "film.png")
    assert mask.shape == size
    np.testing.assert_array_equal(255 * found["seg"].pixel_array.reshape(size), mask)
    drawn = np.rint(255 * found["map"].pixel_array.reshape(size).astype(np.float32))
    np.testing.assert_array_equal(drawn, read(tmp_path / "out" / "uncertainty" / "film.png"))
    seen = found["capture"].pixel_array[: size[0], : size[1]]
    shown = (seen[..., 0] == seen[..., 1]) & (seen[..., 0] == seen[..., 2])
    plain = pydicom.dcmread(file).pixel_array.astype(float)
    expected = np.rint(((plain - 99.5) / 90 + 0.5).clip(0, 1) * 255)
    expected = 255 - expected if photometric == "MONOCHROME1" else expected
    np.testing.assert_array_equal(seen[..., 0][shown], expected[shown])


def test_png_beside_dicom_gets_png_alone_and_no_dicom_means_none(tmp_path: Path) -> None:
    files = [save(film(), tmp_path / "film.dcm"), tmp_path / "plain.png"]
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(files[1])
    predict(small_segmenter(), files, tmp_path / "out", dicom=MEANING)
    assert {file.name.split(".")[0] for file in (tmp_path / "out" / "dicom").iterdir()} == {"film"}
    predict(small_segmenter(), files, tmp_path / "none")
    assert not (tmp_path / "none" / "dicom").exists()


def test_objects_of_former_predictions_are_replaced_and_nothing_else(tmp_path: Path) -> None:
    first, second = (save(film(seed=seed), tmp_path / f"{seed}.film.dcm") for seed in (1, 2))
    predict(small_segmenter(), [first, second], tmp_path / "out", dicom=MEANING)
    other = tmp_path / "out" / "dicom" / "other.dcm"
    other.touch()
    before = {name: made.SOPInstanceUID for name, made in objects(tmp_path / "out", "1.film").items()}
    predict(small_segmenter(), [first], tmp_path / "out", dicom=MEANING)
    assert {file.name for file in (tmp_path / "out" / "dicom").iterdir()} == {
        "other.dcm",
        *(f"1.film.{kind}.dcm" for kind in ("seg", "map", "capture", "report")),
    }
    assert {name: made.SOPInstanceUID for name, made in objects(tmp_path / "out", "1.film").items()} == before
    predict(small_segmenter(seed=1), [first], tmp_path / "out", dicom=MEANING)
    assert not set(before.values()) & {made.SOPInstanceUID for made in objects(tmp_path / "out", "1.film").values()}


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_the_decision_of_a_policy_is_in_capture_and_report(tmp_path: Path, threshold: float) -> None:
    file = save(film(), tmp_path / "film.dcm")
    model = small_segmenter()
    policy = policy_with(threshold=threshold, model=hash_of_model(model), statement="a promise")
    predict(model, [file], tmp_path / "out", policy=policy, dicom=MEANING)
    texts = [str(element.value) for element in objects(tmp_path / "out")["report"].iterall()]
    assert "policy: a promise" in texts
    assert ("Yes" if threshold == 0 else "No") in texts


@pytest.mark.parametrize("measure", ["entropy", "differential_entropy", "mutual_information"])
def test_maps_hold_the_measure_in_its_own_units(tmp_path: Path, measure: str) -> None:
    model = small_segmenter().eval()
    file = save(film(size=(32, 32)), tmp_path / "film.dcm")
    predict(model, [file], tmp_path / "out", measure=measure, aggregation="mean", dicom=MEANING)
    pixels = torch.from_numpy(pydicom.dcmread(file).pixel_array.copy())[None, None].float() / 255
    with torch.no_grad():
        expected = MEASURES[measure](model.belief(pixels))[0, 0].numpy()
    made = objects(tmp_path / "out")["map"]
    np.testing.assert_allclose(made.pixel_array.reshape(32, 32), expected, rtol=1e-6)
    window = made.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence[0]
    low, high = window.WindowCenter - window.WindowWidth / 2, window.WindowCenter + window.WindowWidth / 2
    assert low <= expected.min() + 1e-6
    assert high >= expected.max() - 1e-6


def test_a_source_that_cannot_be_referred_to_is_named_before_anything_is_written(tmp_path: Path) -> None:
    files = [save(film(), tmp_path / "a.dcm"), save(film(StudyInstanceUID=None), tmp_path / "b.dcm")]
    with pytest.raises(DataError, match=r"b\.dcm.*StudyInstanceUID.*--no-dicom"):
        predict(small_segmenter(), files, tmp_path / "out", dicom=MEANING)
    assert not (tmp_path / "out").exists()
    predict(small_segmenter(), files, tmp_path / "out")


def test_what_the_objects_lack_is_counted(tmp_path: Path) -> None:
    dataset = film(PixelSpacing=[0.2, 0.2])
    dataset.add(pydicom.DataElement("StudyDate", "DA", "1995.07.20", validation_mode=pydicom.config.IGNORE))
    files = [save(dataset, tmp_path / "a.dcm"), save(film(seed=1), tmp_path / "b.dcm")]
    notes: list[str] = []
    predict(small_segmenter(), files, tmp_path / "out", dicom=MEANING, note=notes.append)
    assert any("StudyDate (1)" in note for note in notes)
    assert any("without PixelSpacing" in note and note.endswith(": 1") for note in notes)
