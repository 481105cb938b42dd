"""Of a DICOM header only what cannot identify a patient is shown."""

from pathlib import Path

import pytest
from tests.fake import image, save
from tests.review.given import write_predictions

from trustseg.review.pictures import SHOWN, header_of


def test_only_named_attributes_of_dicom_are_shown(tmp_path: Path) -> None:
    pytest.importorskip("pydicom", reason="the extra 'dicom' is not installed")
    from tests.dicom_output.films import SECRET, film

    dataset = film(ViewPosition="PA", PixelSpacing=[0.5, 0.25], Manufacturer="Phantoms", InstitutionName=SECRET)
    path = tmp_path / "film"
    dataset.save_as(path, enforce_file_format=True)
    data = path.read_bytes()
    found = header_of(path)
    assert found.items() >= {"ViewPosition": "PA", "Manufacturer": "Phantoms", "Rows": "30", "Columns": "43"}.items()
    assert set(found) <= set(SHOWN)
    assert SECRET not in str(found)
    telling = ("Patient", "Name", "Date", "Time", "UID", "ID")
    assert [each for each in SHOWN if any(word in each for word in telling)] == ["ManufacturerModelName"]
    path.write_bytes(data[:200])  # cut
    assert set(header_of(path)) <= set(SHOWN)
    bare = data[data.index(b"\x08\0\x16\0UI") :]  # from the SOP class on: no preamble, no meta header
    path.write_bytes(bare)
    assert header_of(path) == found
    start = bare.index(b"\x28\0\x10\0US")  # Rows, of which one of two bytes is left
    path.write_bytes(bare[: start + 6] + b"\x01\0\x1e" + bare[start + 10 :])
    assert header_of(path)["Rows"] == "cannot be read"


def test_other_files_have_no_header(tmp_path: Path) -> None:
    assert header_of(save(image("film"), tmp_path / "film.png")) == {}
    assert header_of(write_predictions(tmp_path) / "prediction.json") == {}
