"""The header of a source image, cleaned: what derived objects take over, and the unique names of those objects."""

import logging
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from trustseg.data.picture import warnings_of
from trustseg.dicom_output.result import ImageResult, RedrawnMask
from trustseg.errors import DataError, MissingPackageError

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.dataelem import DataElement

__all__ = ["LIBRARIES", "NAME", "Source", "identity", "read_source"]

NAME: Final = "trustseg"
"""Manufacturer and device of all objects."""

LIBRARIES: Final = "(pydicom|highdicom)"
"""Packages whose warnings and log quote values of patients, for ``warnings_of``."""

_DESCRIPTIONS: Final = {  # of the series, numbered in this order
    "seg": "segmentation",
    "map": "uncertainty map",
    "capture": "secondary capture",
    "report": "report",
    "redrawn": "redrawn segmentation",
}
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

    def uid(self, *parts: str, of: str = "SOPInstanceUID") -> str:
        """Return a name-based UUID (RFC 9562) of ``parts`` and of one identifier of the source, and nothing else."""
        text = "\n".join(("trustseg", *parts, str(self.header[of].value)))
        return f"2.25.{uuid.uuid5(_NAMESPACE, text).int}"


def identity(kind: str, source: Source, result: ImageResult | RedrawnMask) -> dict[str, Any]:
    """Return what the constructors of highdicom take on series, instance and device, by name.

    The instance is named after everything it says, so that equal results have equal names and different ones never
    share one. All instances of a kind that a run derives from a source series are in one series, but for maps of images
    without a place in space: a series has one frame of reference, and each of these has its own.
    """
    alone = kind == "map" and not source.has_position
    own = int(source.header.get("SeriesNumber") or 0)
    number = 1 + list(_DESCRIPTIONS).index(kind)
    return {
        "series_instance_uid": source.uid(
            f"{kind} series", result.settings, of="SOPInstanceUID" if alone else "SeriesInstanceUID"
        ),
        "series_number": 100 * (own if 0 < own <= _LARGEST_NUMBER else 90) + number,
        "series_description": f"{NAME} {_DESCRIPTIONS[kind]}",
        "sop_instance_uid": source.uid(kind, result.digest),
        "instance_number": max(1, int(source.header.get("InstanceNumber") or 1)),
        "manufacturer": NAME,
        "manufacturer_model_name": NAME,
        "software_versions": result.version,
        "device_serial_number": result.model or "0",
    }


def read_source(path: Path) -> Source:
    """Return the header of a DICOM image, which ``trustseg.data`` can read, for objects that refer to it.

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
    except Exception:  # damaged: pydicom raises almost anything, and quotes values
        problem = "its header is damaged"
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
    try:
        if element.keyword.endswith("PixelSpacing") and not (
            len(values) == 2 and all(value and float(value) > 0 for value in values)
        ):
            return False
        for value in values:
            if value not in (None, ""):
                plain = str(value) if element.VR in ("DA", "TM", "DT", "DS", "IS", "PN", "UI", "AS") else value
                validate_value(element.VR, plain, config.RAISE)
    except (ValueError, TypeError):
        return False
    return True


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
