"""The header of a source image, cleaned: what derived objects take over, and the unique names of those objects."""

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from trustseg.data.picture import warnings_of
from trustseg.errors import DataError, MissingPackageError

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.dataelem import DataElement

__all__ = ["LIBRARIES", "Source", "read_source"]

LIBRARIES: Final = "(pydicom|highdicom)"
"""Packages whose warnings and log quote values of patients, for ``warnings_of``."""

_UIDS: Final = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_EMPTY_IF_ABSENT: Final = (  # DICOM demands the attributes, not a value (type 2)
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
)
_IDENTITY: Final = ("PatientID", "PatientName")  # which an object that is filed with a patient must not lack
_PLACE: Final = ("ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID", "PixelSpacing")
_SEXES: Final = ("", "M", "F", "O")
_LARGEST_NUMBER: Final = 21_000_000  # of a source series: 100 times it still is an Integer String
_NAMESPACE: Final = uuid.UUID("7d0c9a52-6b0f-5d0e-9f4b-0f2d3c1f7a11")  # ours: any fixed one does


@dataclass(frozen=True, slots=True)
class Source:
    """The image that a result is about.

    Attributes:
        header: its attributes without pixels, private elements and those whose values break their format.
        left_out: keywords of the values that break their format.
        name: the file, for messages.
    """

    header: "Dataset"
    left_out: tuple[str, ...]
    name: str

    @property
    def has_position(self) -> bool:
        """Whether the image plane has a place in a frame of reference, as slices have and radiographs have not."""
        return all(self.header.get(keyword) for keyword in _PLACE)

    @property
    def instance_number(self) -> int:
        """Its number in its series, 1 if it tells none."""
        return max(1, int(self.header.get("InstanceNumber") or 1))

    def series_number(self, kind: int) -> int:
        """Return a number for the series of a kind of object, next to others that follow the source series."""
        own = int(self.header.get("SeriesNumber") or 0)
        return 100 * (own if 0 < own <= _LARGEST_NUMBER else 90) + kind

    def uid(self, *parts: str, of: str = "SOPInstanceUID") -> str:
        """Return a unique identifier that depends on the source and ``parts`` alone (a name-based UUID, RFC 9562).

        Args:
            parts: what tells it from others of the same source.
            of: the identifier of the source that it derives from.
        """
        text = "\n".join(("trustseg", *parts, str(self.header[of].value)))
        return f"2.25.{uuid.uuid5(_NAMESPACE, text).int}"


def read_source(path: Path) -> Source:
    """Return the header of a DICOM image for objects that refer to it.

    Args:
        path: a file that ``trustseg.data`` can read as an image.

    Raises:
        MissingPackageError: without highdicom.
        DataError: if it lacks an identifier that the objects have to refer to, or is of a class that is not in the
            standard. The message names the attribute, never its value.
    """
    try:
        import highdicom  # noqa: F401 - to know now
        import pydicom
    except ImportError as error:
        raise MissingPackageError(
            "DICOM output needs highdicom; run: pip install 'trustseg[dicom]', or give --no-dicom for PNG alone"
        ) from error
    for library in ("pydicom", "highdicom"):
        logging.getLogger(library).setLevel(logging.CRITICAL)  # their messages quote values
    problem: str
    try:
        with warnings_of(LIBRARIES, "ignore"):
            whole = pydicom.dcmread(path, force=True, stop_before_pixels=True)
            header, left_out = _cleaned(whole)
            problem = _lacking(header, left_out)
            if not problem:
                _complete(header)
                return Source(header, tuple(sorted(left_out)), str(path))
    except (MemoryError, OSError):
        raise
    except Exception as error:  # damaged: pydicom raises almost anything, and quotes values
        problem = f"its header cannot be read, {type(error).__name__}"
    raise DataError(f"{path} cannot be the source of DICOM objects ({problem}); correct it, or give --no-dicom for PNG")


def _cleaned(whole: "Dataset") -> "tuple[Dataset, set[str]]":
    """Return a copy without private elements and values that break their format, and the keywords of the latter."""
    from pydicom import Dataset

    header, left_out = Dataset(), set()
    for element in whole:
        if element.tag.is_private or not element.keyword or element.tag.group in (0x0002, 0x6000):
            continue
        if element.VR == "SQ":
            items = [_cleaned(item) for item in element.value]
            left_out |= set().union(*(names for _, names in items))
            setattr(header, element.keyword, [item for item, _ in items])
        elif _is_valid(element):
            header.add(element)
        else:
            left_out.add(element.keyword)
    return header, left_out


def _is_valid(element: "DataElement") -> bool:
    """Return whether the values of an element have the format that DICOM demands."""
    from pydicom import config
    from pydicom.multival import MultiValue
    from pydicom.valuerep import validate_value

    if element.VR in ("OB", "OW", "UN", "OF", "OD", "OL"):
        return element.VR != "UN"
    values = element.value if isinstance(element.value, MultiValue | list) else [element.value]
    if element.keyword == "PatientSex" and str(element.value or "") not in _SEXES:
        return False
    if element.keyword.endswith("PixelSpacing") and not _is_spacing(values):
        return False
    try:
        for value in values:
            if value not in (None, ""):
                plain = str(value) if element.VR in ("DA", "TM", "DT", "DS", "IS", "PN", "UI", "AS") else value
                validate_value(element.VR, plain, config.RAISE)
    except (ValueError, TypeError):
        return False
    return True


def _is_spacing(values: Sequence[Any]) -> bool:
    """Return whether values are two distances in mm."""
    return len(values) == 2 and all(value and float(value) > 0 for value in values)


def _lacking(header: "Dataset", left_out: set[str]) -> str:
    """Return what keeps a header from being a source, empty if nothing does."""
    from pydicom.uid import UID

    for keyword in _UIDS:
        if not header.get(keyword):
            return f"it has {'an invalid' if keyword in left_out else 'no'} {keyword}"
        if not UID(str(header[keyword].value)).is_valid:
            return f"it has an invalid {keyword}"
    kind = UID(str(header.SOPClassUID))
    if kind.name == kind or kind.is_retired:
        return "its SOPClassUID is of no class in the standard of today"
    if broken := [keyword for keyword in _IDENTITY if keyword in left_out]:
        return f"its {broken[0]} breaks the format that DICOM demands"
    missing = [keyword for keyword in _PLACE if not header.get(keyword)]
    if missing and any(header.get(keyword) for keyword in _PLACE[:2]):
        return f"it has a place in the patient without {missing[0]}"
    return ""


def _complete(header: "Dataset") -> None:
    """Add the attributes that every object has to hold, without a value; write letters of several sets as UTF-8."""
    from pydicom.charset import python_encoding
    from pydicom.multival import MultiValue

    for keyword in _EMPTY_IF_ABSENT:
        if keyword not in header:
            setattr(header, keyword, "")
    if "Modality" not in header:
        header.Modality = "OT"
    letters = header.get("SpecificCharacterSet")
    if isinstance(letters, MultiValue) and all(part in python_encoding for part in letters):
        header.SpecificCharacterSet = "ISO_IR 192"  # texts are decoded by now; highdicom knows no set without a name
