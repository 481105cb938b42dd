"""The pass over all image files before the first is predicted."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from trustseg.data.decode import in_threads, read_image
from trustseg.data.intensity import ImageScan, IntensityScale, decide_scale, scan_image
from trustseg.data.pack_notes import blank_note, decoding_notes, image_notes
from trustseg.data.reading import PackOptions
from trustseg.errors import DataError
from trustseg.evaluation.predicted_dicom import SourceFacts, source_facts, source_notes

__all__ = ["scale_of"]


def scale_of(
    files: Sequence[Path],
    options: PackOptions,
    scale: IntensityScale | None,
    note: Callable[[str], None] | None,
    *,
    dicom: bool,
) -> IntensityScale:
    """Return the scale of intensity for all files, after reading each of them once, and note how they are read.

    Args:
        files: image files.
        options: how the model sees them.
        scale: that of the data the model was trained on; None decides from these files.
        note: called with each sentence on how they are read.
        dicom: whether DICOM objects are to be written.

    Raises:
        DataError: if there is no file, or one cannot be read, or is deeper than the images of the model's training
            were, or is to be the source of DICOM objects and cannot be.
    """
    if not files:
        raise DataError("no image to predict; choose another folder")
    scans = in_threads(partial(_scan, dicom=dicom), files, progress=None)
    images = [scan.image for scan in scans]
    scale = decide_scale(images) if scale is None else scale
    if scale.white is None and (deep := [image.path for image in images if image.level is not None]):
        raise DataError(
            f"{deep[0]} has 16 bits per channel, and no intensity scale for such images is kept with the model; export "
            "it with 8 bits, as the model was trained on"
        )
    if note is not None:
        notes = (
            *decoding_notes(images, "image"),
            *image_notes(images, scale, options),
            *blank_note(images, scale),
        )
        for sentence in notes:
            note(sentence)
        for sentence in source_notes([scan.source for scan in scans if scan.source is not None]):
            note(sentence)
    return scale


class _Scan(NamedTuple):
    """What is known of a file before any is predicted."""

    image: ImageScan
    source: SourceFacts | None


def _scan(file: Path, *, dicom: bool) -> _Scan:
    """Return what is known of a file; raises if it cannot be read as an image."""
    picture = read_image(file)
    facts = source_facts(file) if dicom and picture.kind == "DICOM" else None
    return _Scan(scan_image(picture, file), facts)
