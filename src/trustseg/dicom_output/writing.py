"""All objects of one image, to files."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from trustseg.data.picture import warnings_of
from trustseg.dicom_output.capture import capture
from trustseg.dicom_output.maps import parametric_map, segmentation
from trustseg.dicom_output.report import report
from trustseg.dicom_output.result import Code, ImageResult, RedrawnMask, SegmentMeaning
from trustseg.dicom_output.source import LIBRARIES, Source
from trustseg.errors import DataError
from trustseg.files import replacing

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["OBJECTS", "check_source", "meaning_in", "write_objects", "write_redrawn"]

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
    files, made = [], dict[str, "Dataset"]()
    for kind, make in OBJECTS.items():
        file = folder / f"{stem}.{kind}.dcm"
        with _explained(source, kind), replacing(file) as temporary:
            made[kind] = make(source, result, meaning, made)
            made[kind].save_as(temporary, enforce_file_format=True)
        files.append(file)
    return files


def write_redrawn(source: Source, drawn: RedrawnMask, meaning: SegmentMeaning, file: Path) -> None:
    """Write a redrawn mask as a Segmentation, whole or not at all; errors as ``write_objects``."""
    with _explained(source, "seg"), replacing(file) as temporary:
        segmentation(source, drawn, meaning).save_as(temporary, enforce_file_format=True)


def meaning_in(file: Path) -> SegmentMeaning:
    """Return what the mask marks in a Segmentation that ``write_objects`` has written.

    Raises:
        DataError: if it cannot be read.
    """
    import pydicom

    try:
        (segment,) = pydicom.dcmread(file, stop_before_pixels=True).SegmentSequence
        category, kind = (
            Code(str(item.CodingSchemeDesignator), str(item.CodeValue), str(item.CodeMeaning))
            for item in (
                segment.SegmentedPropertyCategoryCodeSequence[0],
                segment.SegmentedPropertyTypeCodeSequence[0],
            )
        )
        return SegmentMeaning(str(segment.SegmentLabel), category, kind)
    except (pydicom.errors.InvalidDicomError, AttributeError, IndexError, ValueError) as error:
        raise DataError(f"'{file}' is damaged ({type(error).__name__}); predict again, or remove it") from error


def check_source(source: Source) -> None:
    """Make all objects of a source, with one pixel each, to know whether they can be made before any is written.

    Raises:
        DataError: if they cannot; the message names the file, never a value.
    """
    header = deepcopy(source.header)
    header.Rows = header.Columns = 1
    pixel, made = np.zeros((1, 1)), dict[str, "Dataset"]()
    result = ImageResult(
        mask=pixel > 0,
        uncertainty=pixel.astype(np.float32),
        bounds=(0.0, 1.0),
        shown=pixel.astype(np.uint8),
        score=0.0,
        measure="",
        aggregation="",
        review=None,
        policy=(),
        mask_rule="-",
        model="",
        version="-",
    )
    for kind, make in OBJECTS.items():
        with _explained(source, kind):
            made[kind] = make(replace(source, header=header), result, SegmentMeaning(), made)
            made[kind].save_as(BytesIO(), enforce_file_format=True)


@contextmanager
def _explained(source: Source, kind: str) -> Iterator[None]:
    """Turn what the libraries raise of a source's values, which it may quote, into a sentence that quotes none."""
    problem: str
    try:
        with warnings_of(LIBRARIES, "ignore"):
            yield
        return
    except (MemoryError, OSError):
        raise
    except Exception as error:  # of values that are valid one by one and not together
        problem = type(error).__name__
    raise DataError(
        f"{source.name}: the DICOM object '{kind}' cannot be made from its header ({problem}); correct the header, or "
        "give --no-dicom for PNG alone"
    ) from None
