"""Radiographs in DICOM files, of noise, for tests of reading them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pydicom import Dataset

Array = npt.NDArray[Any]

STORAGE = "1.2.840.10008.5.1.4.1.1"
CR, DX, US = f"{STORAGE}.1", f"{STORAGE}.1.1", f"{STORAGE}.6.1"
SECRET = "SECRET"  # in every element that tells of a person
FILM: Array = np.random.default_rng(0).integers(0, 65536, (64, 80), dtype=np.uint16)


def film(bits: int = 8, *, kind: str = CR, signed: bool = False, **elements: Any) -> "Dataset":  # noqa: ANN401
    """Return a radiograph of noise with ``bits`` stored, and further elements by keyword; None leaves one out."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    dataset = FileDataset("", {}, file_meta=FileMetaDataset(), preamble=b"\0" * 128)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = UID(kind)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = UID("1.2.3")
    dataset.PatientName = dataset.PatientID = dataset.InstitutionName = dataset.StudyDescription = SECRET
    values = FILM >> (16 - bits)
    stored = values.astype(np.uint8 if bits <= 8 else np.uint16)
    if signed:
        stored = (values.astype(np.int32) - 2 ** (bits - 1)).astype(np.int8 if bits <= 8 else np.int16)
    dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated = 8 * stored.dtype.itemsize
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.PixelRepresentation = int(signed)
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = stored.tobytes()
    for keyword, value in elements.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def save(dataset: "Dataset", path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path
