"""Of a DICOM header only what cannot identify a patient is shown."""

from pathlib import Path

import pytest
from tests.fake import image, save
from tests.review.given import write_predictions

from trustseg.review.header import SHOWN, header_of


def test_only_named_attributes_of_dicom_are_shown(tmp_path: Path) -> None:
    pytest.importorskip("pydicom", reason="the extra 'dicom' is not installed")
    from tests.dicom_output.films import SECRET, film

    dataset = film(ViewPosition="PA", PixelSpacing=[0.5, 0.25], Manufacturer="Phantoms", InstitutionName=SECRET)
    path = tmp_path / "film"
    dataset.save_as(path, enforce_file_format=True)
    found = header_of(path)
    assert found.items() >= {"ViewPosition": "PA", "Manufacturer": "Phantoms", "Rows": "30", "Columns": "43"}.items()
    assert set(found) <= set(SHOWN)
    assert SECRET not in str(found)
    for keyword in SHOWN:
        assert not any(word in keyword for word in ("Patient", "Name", "Date", "Time", "UID", "ID")) or (
            keyword == "ManufacturerModelName"
        )
    path.write_bytes(path.read_bytes()[:200])  # cut
    assert set(header_of(path)) <= set(SHOWN)


def test_files_without_preamble_are_read_and_what_is_damaged_is_told(tmp_path: Path) -> None:
    pytest.importorskip("pydicom", reason="the extra 'dicom' is not installed")
    from tests.dicom_output.films import film

    path = tmp_path / "bare"
    film(ViewPosition="PA").save_as(path, enforce_file_format=True)
    data = path.read_bytes()
    data = data[data.index(b"\x08\0\x16\0UI") :]  # from the SOP class on: no preamble, no meta header
    path.write_bytes(data)
    assert header_of(path).items() >= {"ViewPosition": "PA", "Rows": "30", "Columns": "43"}.items()
    start = data.index(b"\x28\0\x10\0US")  # Rows, of which one of two bytes is left
    path.write_bytes(data[: start + 6] + b"\x01\0\x1e" + data[start + 10 :])
    found = header_of(path)
    assert (found["Rows"], found["ViewPosition"]) == ("cannot be read", "PA")


def test_other_files_have_no_header(tmp_path: Path) -> None:
    assert header_of(save(image("film"), tmp_path / "film.png")) == {}
    assert header_of(write_predictions(tmp_path) / "prediction.json") == {}
