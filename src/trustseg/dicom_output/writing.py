"""All objects of one image, to files."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from trustseg.data.picture import warnings_of
from trustseg.dicom_output.result import Code, ImageResult, RedrawnMask, SegmentMeaning
from trustseg.dicom_output.source import LIBRARIES, Source
from trustseg.errors import DataError
from trustseg.files import replacing

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["OBJECTS", "check_source", "meaning_in", "write_objects", "write_redrawn"]

OBJECTS: Final = ("seg", "map", "capture", "report")
"""What is written of an image, in this order; each name is part of its file's name."""


def write_objects(source: Source, result: ImageResult, meaning: SegmentMeaning, folder: Path, stem: str) -> list[Path]:
    """Write ``STEM.seg.dcm``, ``STEM.map.dcm`` ... into a folder and return them; each file whole or not at all.

    Raises:
        DataError: if the source's values cannot be written; the message names the file, never a value.
    """
    files = {kind: folder / f"{stem}.{kind}.dcm" for kind in OBJECTS}
    _make_all(source, result, meaning, lambda kind, made: _save(made, files[kind]))
    return list(files.values())


def write_redrawn(source: Source, drawn: RedrawnMask, meaning: SegmentMeaning, file: Path) -> None:
    """Write a redrawn mask as a Segmentation, whole or not at all; errors as ``write_objects``."""
    from trustseg.dicom_output.maps import segmentation

    with _explained(source, "seg"):
        _save(segmentation(source, drawn, meaning), file)


def meaning_in(file: Path) -> SegmentMeaning:
    """Return what the mask marks in a Segmentation that ``write_objects`` has written.

    Raises:
        DataError: if it cannot be read.
    """
    import pydicom

    try:
        (segment,) = pydicom.dcmread(file, stop_before_pixels=True).SegmentSequence
        (category,), (kind,) = segment.SegmentedPropertyCategoryCodeSequence, segment.SegmentedPropertyTypeCodeSequence
        codes = (
            Code(str(item.CodingSchemeDesignator), str(item.CodeValue), str(item.CodeMeaning))
            for item in (category, kind)
        )
        return SegmentMeaning(str(segment.SegmentLabel), *codes)
    except (pydicom.errors.InvalidDicomError, AttributeError, ValueError) as error:
        raise DataError(f"'{file}' is no Segmentation that trustseg wrote; predict again, or remove it") from error


def check_source(source: Source) -> None:
    """Make all objects of a source, with one pixel each, to know whether they can be made before any is written.

    Raises:
        DataError: if they cannot; the message names the file, never a value.
    """
    header = deepcopy(source.header)
    header.Rows = header.Columns = 1
    pixel = np.zeros((1, 1))
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
    _make_all(
        replace(source, header=header),
        result,
        SegmentMeaning(),
        lambda _, made: made.save_as(BytesIO(), enforce_file_format=True),
    )


def _make_all(
    source: Source, result: ImageResult, meaning: SegmentMeaning, save: "Callable[[str, Dataset], None]"
) -> None:
    """Make and save the objects one by one; the report refers to those before it."""
    from trustseg.dicom_output.capture import capture
    from trustseg.dicom_output.maps import parametric_map, segmentation
    from trustseg.dicom_output.report import report

    made: list[Dataset] = []
    makers: dict[str, Callable[[], Dataset]] = {
        "seg": lambda: segmentation(source, result, meaning),
        "map": lambda: parametric_map(source, result),
        "capture": lambda: capture(source, result),
        "report": lambda: report(source, result, meaning, list(made)),
    }
    for kind in OBJECTS:
        with _explained(source, kind):
            made.append(makers[kind]())
            save(kind, made[-1])


def _save(made: "Dataset", file: Path) -> None:
    with replacing(file) as temporary:
        made.save_as(temporary, enforce_file_format=True)


@contextmanager
def _explained(source: Source, kind: str) -> Iterator[None]:
    """Turn what the libraries raise of a source's values, which it may quote, into a sentence that quotes none."""
    try:
        with warnings_of(LIBRARIES, "ignore"):
            yield
        return
    except (MemoryError, OSError):
        raise
    except Exception:  # of values that are valid one by one and not together
        pass
    raise DataError(
        f"{source.name}: the DICOM object '{kind}' cannot be made, as values of the header do not fit; correct them, "
        "or give --no-dicom for PNG alone"
    ) from None
