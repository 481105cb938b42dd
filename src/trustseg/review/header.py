"""The part of a DICOM header that describes the image and cannot identify a patient."""

import logging
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from trustseg.data.dicom import is_dicom
from trustseg.data.picture import warnings_of

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["SHOWN", "header_of"]

SHOWN: Final = (
    "Modality",
    "BodyPartExamined",
    "ViewPosition",
    "PhotometricInterpretation",
    "BitsStored",
    "Rows",
    "Columns",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "WindowCenter",
    "WindowWidth",
    "KVP",
    "Manufacturer",
    "ManufacturerModelName",
)
"""Keywords of the attributes that are shown; all others, names, dates and numbers of patients among them, are not."""


_UNREADABLE: Final = "cannot be read"
_DAMAGED: Final = (
    *(AttributeError, EOFError, LookupError, NotImplementedError, OverflowError, TypeError, ValueError),
    *(struct.error, zlib.error),
)
"""What pydicom raises on damaged or unusual elements, besides an error of its own."""


def header_of(path: Path) -> dict[str, str]:
    """Return the attributes that may be shown, as text, also of DICOM files without preamble; none of other files.

    An attribute that cannot be decoded says so. A file that cannot be parsed, or for which pydicom is not installed,
    shows none: its image is refused by name.
    """
    with path.open("rb") as stream:
        if not is_dicom(stream.read(132)):
            return {}
    try:
        import pydicom
        from pydicom.errors import BytesLengthException
    except ImportError:
        return {}
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # its messages quote values
    with warnings_of("pydicom", "ignore"):
        try:
            dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=list(SHOWN))
        except (*_DAMAGED, BytesLengthException):
            return {}
        found = {keyword: _text(dataset, keyword) for keyword in SHOWN}
    return {keyword: text for keyword, text in found.items() if text}


def _text(dataset: "Dataset", keyword: str) -> str:
    """Return the value of an attribute as text, empty if it is absent or empty."""
    from pydicom.errors import BytesLengthException

    try:
        value = dataset.get(keyword)
        return "" if value is None else str(value)
    except (*_DAMAGED, BytesLengthException):  # decoded only now
        return _UNREADABLE
