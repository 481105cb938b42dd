"""Redrawn masks of DICOM images as DICOM Segmentations, next to their PNG."""

from pathlib import Path
from typing import Final

from trustseg import __version__
from trustseg.data.decode import read_image
from trustseg.dicom_output import RedrawnMask, SegmentMeaning, meaning_in, read_source, write_redrawn
from trustseg.review.cases import CaseFolder
from trustseg.review.outcome import Settled
from trustseg.review.pictures import read_mask_png, require_predicted

__all__ = ["write_segmentation"]

_FOLDER: Final = "dicom"


def write_segmentation(folder: CaseFolder, settled: Settled, output: Path) -> Path | None:
    """Write the mask that a person redrew of a DICOM image as ``dicom/NAME.seg.dcm``, and return the file.

    The segment means what it means in the Segmentation that ``predict`` wrote of the same image; where there is none,
    it is called foreground.

    Args:
        folder: the cases.
        settled: one that is done.
        output: folder of the export.

    Returns:
        None if the image is not DICOM, or no mask was drawn.

    Raises:
        DataError: if the image has changed, or its header lacks what a Segmentation has to refer to.
        MissingPackageError: without the extra ``dicom``.
    """
    case, entry, mask = settled
    if mask is None or not entry.content.get("mask"):
        return None
    picture = read_image(case.file)
    if picture.kind != "DICOM":
        return None
    require_predicted(case, picture.sha256)
    predicted = folder.folder / _FOLDER / f"{case.file.stem}.seg.dcm"
    meaning = meaning_in(predicted) if predicted.is_file() else SegmentMeaning()
    drawn = RedrawnMask(read_mask_png(mask, case), entry.hash, folder.model, __version__)
    file = output / _FOLDER / predicted.name
    write_redrawn(read_source(case.file), drawn, meaning, file)
    return file
