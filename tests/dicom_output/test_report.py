"""The structured report, read back by highdicom's own reader of TID 1500."""

from pathlib import Path
from typing import Any

import pytest
from tests.dicom_output.films import film, result, save

from trustseg.dicom_output import Code, SegmentMeaning, read_source, write_objects
from trustseg.dicom_output.report import FRACTION, REVIEW, SCORE
from trustseg.errors import ConfigError

highdicom = pytest.importorskip("highdicom")


def read(tmp_path: Path, **changes: Any) -> Any:  # noqa: ANN401
    source = read_source(save(film(), tmp_path / "film.dcm"))
    files = write_objects(source, result(**changes), SegmentMeaning(), tmp_path, "film")
    return highdicom.sr.srread(next(file for file in files if ".report." in file.name))


@pytest.mark.parametrize("review", [True, False, None])
def test_score_share_and_decision_are_read_back(tmp_path: Path, review: bool | None) -> None:
    document = read(tmp_path, review=review, policy=("a", "b") if review is not None else ())
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
    document = read(tmp_path)
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
