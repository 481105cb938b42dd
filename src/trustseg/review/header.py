"""What the header of a DICOM file says of the image and cannot identify a patient."""

from pathlib import Path
from typing import Final

from trustseg.data.dicom import is_dicom

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


def header_of(path: Path) -> dict[str, str]:
    """Return the attributes that may be shown, as text; nothing of files that are no DICOM, or cannot be read."""
    with path.open("rb") as stream:
        if not is_dicom(stream.read(132)):
            return {}
    try:
        import pydicom

        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(SHOWN))
    except Exception:  # a header that cannot be read is not shown; the image itself will be refused by name
        return {}
    return {keyword: str(dataset.get(keyword)) for keyword in SHOWN if dataset.get(keyword) not in (None, "")}
