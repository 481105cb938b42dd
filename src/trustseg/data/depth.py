"""Values of images of more than 8 bits, for viewers in which people choose level and window themselves."""

import hashlib
from pathlib import Path

import numpy as np

from trustseg.data.decode import read_image
from trustseg.data.dicom import deep_dicom
from trustseg.data.picture import DeepImage

__all__ = ["DeepImage", "read_depth"]


def read_depth(path: Path, *, white: int | None) -> DeepImage | None:
    """Return the values of an image before they became 8-bit grey levels; None if the file has no more than 8 bits.

    Args:
        path: of an image that ``trustseg.data.decode.read_image`` reads.
        white: value that is white in files that do not tell it, as ``IntensityScale`` has it.

    Raises:
        DataError: as ``read_image``.
        MissingFileError: likewise.
        MissingPackageError: likewise.
    """
    picture = read_image(path)
    if picture.kind == "DICOM":
        data = path.read_bytes()
        return deep_dicom(data, path, hashlib.sha256(data).hexdigest(), white=white)
    pixels = picture.pixels
    if pixels.dtype != np.uint16:
        return None
    bright = float(picture.white or white or pixels.max())
    return DeepImage(pixels, 1.0, 0.0, 0.0, bright, picture.inverted, picture.sha256)
