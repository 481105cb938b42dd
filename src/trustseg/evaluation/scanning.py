"""The pass over all image files before the first is predicted."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from trustseg.data.decode import in_threads, read_image
from trustseg.data.findings import blank_note, decoding_notes, image_notes
from trustseg.data.intensity import ImageScan, IntensityScale, decide_scale, scan_image
from trustseg.data.pack import PackOptions
from trustseg.dicom_output import check_source, read_source
from trustseg.errors import DataError

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
        options: how the model sees them.
        scale: that of the data the model was trained on; None decides from these files.
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
        raise DataError(f"{deep[0]} has 16 bits per channel, and the model was trained on 8; export it with 8 bits")
    if note is not None:
        notes = (
            *decoding_notes(images, "image"),
            *image_notes(images, scale, options),
            *blank_note(images, scale),
            *_source_notes([scan for scan in scans if scan.left_out is not None]),
        )
        for sentence in notes:
            note(sentence)
    return scale


class _Scan(NamedTuple):
    """What is known of a file before any is predicted; of a source of DICOM objects also the keywords of bad values."""

    image: ImageScan
    left_out: tuple[str, ...] | None = None
    has_spacing: bool = False


def _scan(file: Path, *, dicom: bool) -> _Scan:
    """Return what is known of a file; raise if it cannot be read as an image, or cannot be the source of objects."""
    picture = read_image(file)
    scan = _Scan(scan_image(picture, file))
    if not dicom or picture.kind != "DICOM":
        return scan
    source = read_source(file)
    check_source(source)
    return scan._replace(left_out=source.left_out, has_spacing="PixelSpacing" in source.header)


def _source_notes(sources: Sequence[_Scan]) -> Iterator[str]:
    left_out = Counter(keyword for each in sources for keyword in each.left_out or ())
    if left_out:
        names = ", ".join(f"{keyword} ({count:,})" for keyword, count in sorted(left_out.items()))
        yield f"DICOM values that break their own format, left out of the DICOM output: {names}"
    if without := sum(not each.has_spacing for each in sources):
        yield f"DICOM images without PixelSpacing, whose DICOM output has no distances: {without:,}"
