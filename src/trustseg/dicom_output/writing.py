"""All objects of one image, to files."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from trustseg.data.picture import warnings_of
from trustseg.dicom_output.capture import capture
from trustseg.dicom_output.maps import parametric_map, segmentation
from trustseg.dicom_output.report import report
from trustseg.dicom_output.result import ImageResult, SegmentMeaning
from trustseg.dicom_output.source import LIBRARIES, Source
from trustseg.errors import DataError
from trustseg.files import replacing

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["OBJECTS", "write_objects"]

Made = Mapping[str, "Dataset"]

OBJECTS: Final[Mapping[str, Callable[[Source, ImageResult, SegmentMeaning, Made], "Dataset"]]] = {
    "seg": lambda source, result, meaning, _: segmentation(source, result, meaning),
    "map": lambda source, result, meaning, _: parametric_map(source, result),
    "capture": lambda source, result, meaning, _: capture(source, result),
    "report": lambda source, result, meaning, made: report(source, result, meaning, list(made.values())),
}
"""What is written of an image: name of the object, which is part of its file's name, and what makes it of the
source, the result, the meaning of the mask and the objects before it."""


def write_objects(source: Source, result: ImageResult, meaning: SegmentMeaning, folder: Path, stem: str) -> list[Path]:
    """Write ``STEM.seg.dcm``, ``STEM.map.dcm`` ... and return them; each file whole or not at all.

    Args:
        source: the image that the result is about.
        result: at the size of that image.
        meaning: of the mask.
        folder: where to write.
        stem: first part of the files' names.

    Raises:
        DataError: if the source's values cannot be written; the message names the file, never a value.
    """
    files, made_so_far = [], dict[str, "Dataset"]()
    for kind, make in OBJECTS.items():
        problem: Exception
        try:
            with warnings_of(LIBRARIES, "ignore"):
                made = made_so_far[kind] = make(source, result, meaning, made_so_far)
                file = folder / f"{stem}.{kind}.dcm"
                with replacing(file) as temporary:
                    made.save_as(temporary, enforce_file_format=True)
            files.append(file)
            continue
        except (MemoryError, OSError):
            raise
        except Exception as error:  # of values that are valid one by one and not together
            problem = error
        raise DataError(
            f"{source.name}: the DICOM object '{kind}' cannot be made from its header ({type(problem).__name__}); "
            "correct the header, or give --no-dicom for PNG alone"
        )
    return files
