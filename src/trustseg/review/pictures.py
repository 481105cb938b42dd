"""What the page is sent of a case: pictures and parts of the DICOM header; and the masks that it sends back."""

import logging
import math
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from trustseg.data.decode import DeepImage, read_depth, read_image
from trustseg.data.dicom import is_dicom
from trustseg.data.intensity import IntensityScale, render
from trustseg.data.picture import warnings_of
from trustseg.errors import DataError
from trustseg.metrics import dice_from_counts
from trustseg.review.cases import Case

__all__ = ["SHOWN", "deep_values", "header_of", "image_png", "overlap", "png", "read_mask_png", "require_predicted"]

Mask = NDArray[np.bool_]

SHOWN: Final = (
    *("Modality", "BodyPartExamined", "ViewPosition", "PhotometricInterpretation", "BitsStored", "Rows", "Columns"),
    *("PixelSpacing", "ImagerPixelSpacing", "WindowCenter", "WindowWidth", "KVP"),
    *("Manufacturer", "ManufacturerModelName"),
)
"""Keywords of the attributes that are shown; all others, names, dates and numbers of patients among them, are not."""

_DAMAGED: Final = (
    *(AttributeError, EOFError, LookupError, NotImplementedError, OverflowError, TypeError, ValueError),
    *(struct.error, zlib.error),
)
"""What pydicom raises on damaged or unusual elements, besides an error of its own."""

_THUMBNAIL: Final = 72  # longest side in pixels


def image_png(case: Case, *, white: int | None, small: bool = False) -> bytes:
    """Return an image as the model was given it, 8 bits, at its own size, as PNG; or a small grey one.

    Raises:
        DataError: if its file is no longer the one that was predicted, or cannot be read.
    """
    picture = read_image(case.file)
    require_predicted(case, picture.sha256)
    channels = 3 if picture.pixels.ndim == 3 else 1
    pixels = render(picture, IntensityScale(white), channels=channels, path=case.file)
    if not small:
        return png(pixels)
    thumbnail = Image.fromarray(pixels)
    thumbnail.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return png(np.asarray(thumbnail.convert("L")))


def deep_values(case: Case, *, white: int | None) -> DeepImage | None:
    """Return the values of an image of more than 8 bits, before any window; None of others. Errors as ``image_png``."""
    found = read_depth(case.file, white=white)
    if found is not None:
        require_predicted(case, found.sha256)
    return found


def require_predicted(case: Case, sha256: str) -> None:
    """Raise a DataError unless a file with this SHA-256 is the one that was predicted."""
    if sha256 != case.image_sha256:
        raise DataError(f"the image of case {case.number} is not the one that was predicted; its file has changed")


def read_mask_png(data: bytes, case: Case) -> Mask:
    """Return a mask (H, W), true where the PNG is above 127.

    Raises:
        DataError: if it is no PNG, or not of the size of the case's image.
    """
    try:
        with Image.open(BytesIO(data), formats=("PNG",)) as image:
            size = image.size
            mask = np.asarray(image.convert("L")) > 127 if size == (case.width, case.height) else None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"a mask of case {case.number} is no PNG that can be read ({error})") from error
    if mask is None:
        expected = f"expected {case.width}x{case.height}"
        raise DataError(f"a mask of case {case.number} has {size[0]}x{size[1]} pixels, {expected}")
    return mask


def overlap(first: Mask, second: Mask) -> float | None:
    """Return the Dice of two masks of one size, None (undefined) if both are empty.

    Example:
        >>> overlap(np.array([True, True]), np.array([True, False]))
        0.6666666666666666
    """
    both, one, other = (np.array([mask.sum()]) for mask in (first & second, first, second))
    value = float(dice_from_counts(both, one, other)[0])
    return None if math.isnan(value) else value


def png(pixels: NDArray[np.generic]) -> bytes:
    """Return grey levels (H, W) or colours (H, W, 3), uint8, as PNG."""
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG", compress_level=1)
    return stream.getvalue()


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
    damaged = (*_DAMAGED, BytesLengthException)
    found: dict[str, str] = {}
    with warnings_of("pydicom", "ignore"):
        try:
            dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=list(SHOWN))
        except damaged:
            return {}
        for keyword in SHOWN:
            try:
                value = dataset.get(keyword)
            except damaged:  # decoded only now
                value = "cannot be read"
            if value is not None and str(value):
                found[keyword] = str(value)
    return found
