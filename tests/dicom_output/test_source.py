"""Headers of sources: what is missing is named, what identifies nobody stays so."""

import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.dicom_output.films import CR, CT, IDENTITY, SECRET, SIZE, film, result, save, source_of, written

from trustseg.dicom_output import SegmentMeaning, check_source, read_source, write_objects
from trustseg.errors import DataError, MissingPackageError

pytest.importorskip("highdicom")
pydicom = pytest.importorskip("pydicom")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"StudyInstanceUID": None}, "no StudyInstanceUID"),
        ({"SeriesInstanceUID": None}, "no SeriesInstanceUID"),
        ({"SeriesInstanceUID": ""}, "no SeriesInstanceUID"),
        ({"SOPInstanceUID": None}, "no SOPInstanceUID"),
        ({"PatientID": "1" * 65}, "PatientID breaks the format"),
        ({"kind": CT, "FrameOfReferenceUID": None}, "a place in the patient without FrameOfReferenceUID"),
        ({"kind": CT, "PixelSpacing": [0, 1]}, "a place in the patient without PixelSpacing"),
        ({"SOPClassUID": "1.2.3.4"}, "SOPClassUID is of no class"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.6"}, "SOPClassUID is of no class in the standard"),
    ],
)
def test_what_cannot_be_referred_to_is_named(tmp_path: Path, change: dict[str, Any], word: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, of what is wrong on purpose
        file = save(film(**change), tmp_path / "film.dcm")
    with pytest.raises(DataError, match=rf"film\.dcm.*{word}.*--no-dicom") as caught:
        read_source(file)
    assert SECRET not in str(caught.value)


def test_values_that_break_their_format_are_left_out_and_named(tmp_path: Path) -> None:
    dataset = film()
    for keyword, vr, value in (
        ("StudyDate", "DA", "1995.07.20"),
        ("PatientAge", "AS", "62"),
        ("PatientSex", "CS", "FEMALE"),
        ("PixelSpacing", "DS", ["0", "0"]),
        ("FrameOfReferenceUID", "UI", f"{SECRET}.1"),
    ):
        element = pydicom.DataElement(keyword, vr, value, validation_mode=pydicom.config.IGNORE)
        dataset.add(element)
    source = read_source(save(dataset, tmp_path / "film.dcm"))
    assert source.left_out == ("FrameOfReferenceUID", "PatientAge", "PatientSex", "PixelSpacing", "StudyDate")
    for made in written(tmp_path, source).values():
        assert (made.StudyDate, made.PatientSex) == ("", "")
        assert "PatientAge" not in made


def test_a_source_without_a_patient_is_enough(tmp_path: Path) -> None:
    nobody: dict[str, Any] = dict.fromkeys(IDENTITY)
    source = read_source(save(film(CR, **nobody), tmp_path / f"{SECRET}.dcm"))
    for file in write_objects(source, result(), SegmentMeaning(), tmp_path, "film"):
        assert SECRET.encode() not in file.read_bytes()  # not even the name of the file
        assert not pydicom.dcmread(file).PatientID


def test_nothing_is_told_of_a_patient_that_the_source_does_not_tell(tmp_path: Path) -> None:
    dataset = film(SeriesDescription=SECRET, ImageComments=SECRET, OperatorsName=SECRET, PatientIdentityRemoved="YES")
    dataset.add_new(0x00091010, "LO", SECRET)
    for made in written(tmp_path, read_source(save(dataset, tmp_path / "film.dcm"))).values():
        telling = {element.keyword for element in made.iterall() if SECRET in str(element.value) and element.VR != "SQ"}
        assert telling <= set(IDENTITY)
        assert made.PatientIdentityRemoved == "YES"


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Müller^Jörg"),
        (None, "Müller^Jörg"),
        ("ISO_IR 192", "山田^太郎"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["ISO 2022 IR 100", "ISO 2022 IR 126"], "Müller^Jörg=Διονυσιος"),
    ],
)
def test_names_keep_their_letters(tmp_path: Path, charset: str | list[str] | None, name: str) -> None:
    source = source_of(tmp_path, SpecificCharacterSet=charset, PatientName=name)
    check_source(source)
    for made in written(tmp_path, source).values():
        assert str(made.PatientName) == name


def test_an_unknown_character_set_gets_a_sentence(tmp_path: Path) -> None:
    file = save(film(), tmp_path / "film.dcm")
    dataset = pydicom.dcmread(file)
    dataset.SpecificCharacterSet = "ISO_IR 999"
    dataset.PatientName = "Jane"
    with pytest.warns(UserWarning, match="ISO_IR 999"):
        save(dataset, tmp_path / "odd.dcm")
    with pytest.raises(DataError, match=r"odd\.dcm"):
        check_source(read_source(tmp_path / "odd.dcm"))


def test_files_without_a_meta_header_are_sources_too(tmp_path: Path) -> None:
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = True, True
    write_dataset(stream, film(CR))
    (tmp_path / "film").write_bytes(stream.getvalue())
    assert read_source(tmp_path / "film").header.StudyInstanceUID == "1.2.3.1"


def test_without_highdicom_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = save(film(), tmp_path / "film.dcm")
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(MissingPackageError, match=r"trustseg\[dicom\].*--no-dicom"):
        read_source(file)


def test_damaged_headers_are_refused_before_or_written_and_name_no_patient(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = [save(film(kind, PatientOrientation=["L", "F"]), tmp_path / "w.dcm").read_bytes() for kind in (CR, CT)]
    told: list[str] = []
    made = 0
    for number in range(30):
        data = bytearray(whole[number % 2])
        for place in rng.integers(300, len(data) - 1500, 3):
            data[place] = int(rng.integers(256))
        (tmp_path / "film.dcm").write_bytes(data)
        try:
            source = read_source(tmp_path / "film.dcm")
            check_source(source)
        except DataError as error:
            told.append("".join(traceback.format_exception(error)))
            continue
        if (source.header.get("Rows"), source.header.get("Columns")) == SIZE:
            made += len(written(tmp_path, source))
    assert not any(SECRET in text for text in told)
    assert min(len(told), made) > 3
