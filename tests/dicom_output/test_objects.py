"""Segmentations, parametric maps and reports, read back by highdicom and pydicom."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.dicom_output.films import CR, CT, DX, SIZE, SLICE, result, source_of, written

from trustseg.dicom_output import Code, SegmentMeaning, Source
from trustseg.errors import ConfigError

highdicom = pytest.importorskip("highdicom")
pydicom = pytest.importorskip("pydicom")

MEANING = SegmentMeaning("infection", type=Code("SCT", "233604007", "Pneumonia"))


@pytest.mark.parametrize("size", [(1, 1), (7, 90), (50, 33)])
@pytest.mark.parametrize("kind", ["some", "none", "all", "one"])
def test_the_mask_comes_back_pixel_by_pixel(tmp_path: Path, size: tuple[int, int], kind: str) -> None:
    mask = {"some": np.random.default_rng(0).random(size) < 0.5, "all": np.ones(size, bool)}.get(
        kind, np.zeros(size, bool)
    )
    mask[-1, -1] |= kind == "one"
    written(tmp_path, source_of(tmp_path, size=size), MEANING, size=size, mask=mask)
    seg = highdicom.seg.segread(tmp_path / "dicom" / "film.seg.dcm")
    assert (seg.Rows, seg.Columns, seg.SegmentationType, seg.NumberOfFrames) == (*size, "BINARY", 1)
    np.testing.assert_array_equal(seg.pixel_array.reshape(size), mask)
    (described,) = seg.SegmentSequence
    assert (described.SegmentLabel, described.SegmentAlgorithmType) == ("infection", "AUTOMATIC")
    assert described.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Pneumonia"


def test_the_map_comes_back_bit_by_bit_in_units_of_the_measure(tmp_path: Path) -> None:
    made = written(tmp_path, source_of(tmp_path))["map"]
    assert made.pixel_array.dtype == np.float32
    np.testing.assert_array_equal(made.pixel_array.reshape(SIZE), result().uncertainty)
    shared = made.SharedFunctionalGroupsSequence[0]
    assert "entropy" in shared.RealWorldValueMappingSequence[0].LUTExplanation
    window = shared.FrameVOILUTSequence[0]
    assert (window.WindowCenter, window.WindowWidth) == pytest.approx((np.log(2) / 2, np.log(2)))


@pytest.mark.parametrize("kind", [CR, DX, CT])
def test_all_objects_refer_to_the_image_and_are_of_its_patient_and_study(tmp_path: Path, kind: str) -> None:
    source = source_of(tmp_path, kind)
    objects = written(tmp_path, source)
    for name, made in objects.items():
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate"):
            assert made[keyword].value == source.header[keyword].value, (name, keyword)
        assert source.header.SOPInstanceUID in str(made)
        assert made.SeriesInstanceUID != source.header.SeriesInstanceUID
        assert "trustseg" in made.ManufacturerModelName
    for name in ("seg", "map"):
        (series,) = objects[name].ReferencedSeriesSequence
        assert series.SeriesInstanceUID == source.header.SeriesInstanceUID
    assert len({made.SeriesInstanceUID for made in objects.values()}) == len(objects)
    assert len({made.SeriesNumber for made in objects.values()}) == len(objects)


def test_slices_keep_their_place_in_the_patient(tmp_path: Path) -> None:
    objects = written(tmp_path, source_of(tmp_path, CT))
    for name in ("seg", "map"):
        made = objects[name]
        assert made.FrameOfReferenceUID == SLICE["FrameOfReferenceUID"]
        shared, frame = made.SharedFunctionalGroupsSequence[0], made.PerFrameFunctionalGroupsSequence[0]
        assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == SLICE["ImageOrientationPatient"]
        assert shared.PixelMeasuresSequence[0].PixelSpacing == SLICE["PixelSpacing"]
        assert shared.PixelMeasuresSequence[0].SliceThickness == SLICE["SliceThickness"]
        assert frame.PlanePositionSequence[0].ImagePositionPatient == SLICE["ImagePositionPatient"]


@pytest.mark.parametrize("spacing", [None, [0.2, 0.1]])
def test_a_radiograph_gets_no_place_in_the_patient_and_no_distance_it_does_not_tell(
    tmp_path: Path, spacing: list[float] | None
) -> None:
    objects = written(tmp_path, source_of(tmp_path, PixelSpacing=spacing, ImagerPixelSpacing=[9, 9]))
    seg, plane = objects["seg"], objects["map"]
    assert "FrameOfReferenceUID" not in seg
    assert "PlanePositionSequence" not in seg.PerFrameFunctionalGroupsSequence[0]
    other = written(tmp_path, source_of(tmp_path, seed=1, PixelSpacing=spacing))["map"]
    assert plane.FrameOfReferenceUID != other.FrameOfReferenceUID  # of its own: nothing can be laid over it by place
    for made in (seg, plane):
        measures = made.SharedFunctionalGroupsSequence[0].get("PixelMeasuresSequence", [{}])[0]
        assert measures.get("PixelSpacing") == spacing
        assert not measures.get("SpacingBetweenSlices")


def test_equal_results_have_equal_names_and_others_never(tmp_path: Path) -> None:
    source = source_of(tmp_path)

    def names(used: Source = source, **changes: Any) -> list[str]:  # noqa: ANN401
        return [made.SOPInstanceUID for made in written(tmp_path, used, **changes).values()]

    first = names()
    assert names() == first
    assert len(set(first)) == len(first)
    assert all(pydicom.uid.UID(name).is_valid for name in first)
    for change in (
        {"score": 0.26},
        {"model": "f" * 16},
        {"review": False},
        {"policy": ()},
        {"version": "9"},
        {"mask": ~result().mask},
        {"uncertainty": np.nextafter(result().uncertainty, np.float32(1))},
    ):
        assert not set(names(**change)) & set(first), change
    assert not set(names(source_of(tmp_path, seed=1))) & set(first)


def test_the_files_of_a_second_run_differ_in_dates_alone(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    first, second = written(tmp_path, source), written(tmp_path, source)
    for made in (*first.values(), *second.values()):
        for element in made.iterall():
            if element.VR in ("DA", "TM", "DT"):
                element.value = None
    assert first == second


@pytest.mark.parametrize("kind", [CR, CT])
def test_objects_of_a_series_are_in_one_series_unless_their_frames_of_reference_differ(
    tmp_path: Path, kind: str
) -> None:
    first = written(tmp_path, source_of(tmp_path, kind))
    second = written(tmp_path, source_of(tmp_path, kind, seed=4))
    for name, made in first.items():
        same_place = made.get("FrameOfReferenceUID") == second[name].get("FrameOfReferenceUID")
        assert (made.SeriesInstanceUID == second[name].SeriesInstanceUID) == same_place
        assert same_place == (name != "map" or kind == CT)
        assert (made.InstanceNumber, second[name].InstanceNumber) == (1, 5)
        assert made.SeriesNumber // 100 == 3


def read_report(tmp_path: Path, **changes: Any) -> Any:  # noqa: ANN401
    written(tmp_path, source_of(tmp_path), **changes)
    return highdicom.sr.srread(tmp_path / "dicom" / "film.report.dcm")


@pytest.mark.parametrize("review", [True, False, None])
def test_score_share_and_decision_are_read_back(tmp_path: Path, review: bool | None) -> None:
    from trustseg.dicom_output.report import FRACTION, REVIEW, SCORE

    document = read_report(tmp_path, review=review, policy=("a", "b") if review is not None else ())
    (group,) = document.content.get_image_measurement_groups()
    found = {item.name.value: float(item.value) for item in group.get_measurements()}
    assert found == {SCORE.value: 0.25, FRACTION.value: pytest.approx(result().mask.mean(), rel=1e-5)}
    decisions = [(item.name.value, item.value.meaning) for item in group.get_qualitative_evaluations()]
    assert decisions == ([] if review is None else [(REVIEW.value, "Yes" if review else "No")])
    text = [element.value for element in document.iterall() if element.keyword == "TextValue"]
    for words in ("measure: entropy", "aggregation: mean", "model: 0123456789abcdef"):
        assert words in text
    assert ("policy: a" in text) == (review is not None)


def test_it_is_complete_unverified_and_names_its_evidence(tmp_path: Path) -> None:
    document = read_report(tmp_path)
    flags = (document.CompletionFlag, document.VerificationFlag, document.PreliminaryFlag)
    assert flags == ("COMPLETE", "UNVERIFIED", "PRELIMINARY")
    named = {instance for _, _, instance, _ in document.get_evidence()}
    assert len(named) == 4
    assert "1.2.3.100" in named


@pytest.mark.parametrize("text", ["Lesion", "SCT:1", "SCT::Lesion", "S" * 17 + ":1:Lesion", "SCT:1:Läsion", "A:1:a\\b"])
def test_what_is_no_code_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="SCT:52988006:Lesion"):
        Code.parse(text)
    with pytest.raises(ConfigError, match="label"):
        SegmentMeaning("")
