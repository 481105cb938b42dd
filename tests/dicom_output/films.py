"""DICOM sources written by pydicom, results made up for them, and what ``dciodvfy`` finds in a file."""

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trustseg.dicom_output import ImageResult, SegmentMeaning, Source, read_source, write_objects

if TYPE_CHECKING:
    from pydicom import Dataset

SECRET = "SECRET"  # in every element of a source that tells of a person
CR, DX, CT = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.2"
SIZE = (30, 43)  # rows, columns: no multiple of 8, as bits are packed

IDENTITY: dict[str, Any] = {
    "PatientName": f"{SECRET}^Jane",
    "PatientID": f"{SECRET}-1",
    "PatientBirthDate": "19700101",
    "PatientSex": "F",
    "StudyDate": "20260102",
    "StudyTime": "101010",
    "StudyDescription": f"{SECRET} thorax",
    "AccessionNumber": "A1",
    "StudyID": "S1",
    "ReferringPhysicianName": "",
}
SLICE: dict[str, Any] = {
    "FrameOfReferenceUID": "1.2.3.9",
    "PositionReferenceIndicator": "",
    "ImagePositionPatient": [-10, 20.5, 30],
    "ImageOrientationPatient": [1, 0, 0, 0, 0.6, -0.8],
    "PixelSpacing": [0.5, 0.25],
    "SliceThickness": 2,
}


def film(kind: str = CR, *, size: tuple[int, int] = SIZE, seed: int = 0, **elements: Any) -> "Dataset":  # noqa: ANN401
    """Return an 8-bit image of noise with a patient, a study and a series; None takes an element out."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    dataset = FileDataset("", {}, file_meta=FileMetaDataset(), preamble=b"\0" * 128)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = UID(kind)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = UID(f"1.2.3.{seed + 100}")
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = UID("1.2.3.1"), UID("1.2.3.2")
    dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = "CT" if kind == CT else "CR", 3, seed + 1
    stored = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    dataset.Rows, dataset.Columns = size
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelRepresentation, dataset.SamplesPerPixel = 0, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = stored.tobytes() + b"\0" * (stored.size % 2)
    for keyword, value in {**IDENTITY, **(SLICE if kind == CT else {}), **elements}.items():
        if value is not None:
            setattr(dataset, keyword, value)
        elif keyword in dataset:
            delattr(dataset, keyword)
    return dataset


def save(dataset: "Dataset", path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=False)
    return path


def source_of(tmp_path: Path, *args: Any, **elements: Any) -> Source:  # noqa: ANN401 - of film
    return read_source(save(film(*args, **elements), tmp_path / "film.dcm"))


def written(tmp_path: Path, source: Source, meaning: SegmentMeaning | None = None, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - of result
    """Write the objects of a film into the folder ``dicom`` and read them with pydicom: kind -> dataset."""
    import pydicom

    files = write_objects(source, result(**changes), meaning or SegmentMeaning(), tmp_path / "dicom", "film")
    return {file.name.split(".")[1]: pydicom.dcmread(file) for file in files}


def result(size: tuple[int, int] = SIZE, *, mask: NDArray[np.bool_] | None = None, **changes: Any) -> ImageResult:  # noqa: ANN401
    """Return noise as an uncertainty map and a mask of a third of the pixels, unless given."""
    rng = np.random.default_rng(5)
    values: dict[str, Any] = {
        "mask": rng.random(size) < 1 / 3 if mask is None else mask,
        "uncertainty": rng.random(size, np.float32) * np.float32(np.log(2)),
        "bounds": (0.0, float(np.log(2))),
        "shown": rng.integers(0, 256, size, dtype=np.uint8),
        "score": 0.25,
        "measure": "entropy",
        "aggregation": "mean",
        "review": True,
        "policy": ("reviewed if the score is above 0.2", "at most 0.2 of new patients are reviewed"),
        "mask_rule": "probability > 0.5",
        "model": "0123456789abcdef",
        "version": "0.2.0",
    }
    return ImageResult(**{**values, **changes})


def errors_of(file: Path) -> list[str]:
    """Return the errors that ``dciodvfy`` finds in a file; skips where it is not installed."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy of dicom3tools is not installed")
    told = subprocess.run(["dciodvfy", "-new", file], capture_output=True, text=True, check=False, timeout=60)
    lines = (told.stdout + told.stderr).splitlines()
    assert lines, "dciodvfy said nothing, not even which object it found"
    return [line for line in lines if line.startswith("Error")]
