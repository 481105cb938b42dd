"""Stored values of a DICOM image, from the bits that hold them; bits elsewhere are refused, not dropped.

Decoders mask the bits beside those stored, and fill the rest of a frame that ends early, both without an error.
"""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy.typing as npt

from trustseg.data.jpeg import ends_early
from trustseg.data.picture import warnings_of
from trustseg.errors import DataError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["check_complete", "overlays", "stored_range", "stored_values"]

_JPEG: Final = tuple(f"1.2.840.10008.1.2.4.{kind}" for kind in (50, 51, 57, 70))
_CODE_STREAMS: Final = tuple(f"1.2.840.10008.1.2.4.{kind}" for kind in (80, 81, 90, 91))  # JPEG-LS, JPEG 2000


def check_complete(dataset: "Dataset", path: Path) -> None:
    """Raise a DataError if native pixels are no whole frame, or compressed ones end early, which decoders pass over."""
    from imagecodecs import Jpeg8Error, jpeg8_decode
    from pydicom.encaps import get_frame

    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        frame = int(dataset.Rows) * int(dataset.Columns) * int(dataset.BitsAllocated) // 8
        if (frames := len(dataset.PixelData) // frame) > 1:
            raise DataError(f"{path} holds {frames} frames, or another size or depth than it says; export it again")
        dataset.PixelData = dataset.PixelData[:frame]
        return
    if syntax not in (*_JPEG, *_CODE_STREAMS):
        return

    stream = get_frame(dataset.PixelData, 0, number_of_frames=1)
    early = not stream.rstrip(b"\0").endswith(b"\xff\xd9")
    if syntax in _JPEG and not early:
        with suppress(Jpeg8Error):  # lossy JPEG of 12 bits, which this decoder cannot read
            early = ends_early(stream, jpeg8_decode)
    if early:
        raise DataError(f"{path} is incomplete: its compressed pixels end early; copy it again")


def _pixels(dataset: "Dataset") -> npt.NDArray[Any]:
    """Return the pixels as they stand in the file, unused bits included, without the warnings of pydicom."""
    from pydicom.pixels.utils import pixel_array

    with warnings_of("pydicom", "ignore"):
        return pixel_array(dataset, correct_unused_bits=False, allow_excess_frames=True)


def stored_values(dataset: "Dataset", path: Path) -> npt.NDArray[Any]:
    """Return the stored values, after checking that the bits beside them are empty, a sign or a declared overlay."""
    pixels = _pixels(dataset)
    if pixels.ndim != 2:
        raise DataError(f"{path} holds {len(pixels)} frames; export the one to be used as a single image")
    pixels = pixels.astype(pixels.dtype.newbyteorder("="))
    bits, width = int(dataset.BitsStored), 8 * pixels.itemsize
    low = int(dataset.get("HighBit", bits - 1)) + 1 - bits
    if bits < 1 or not 0 <= low <= width - bits:
        raise DataError(f"{path} has a HighBit and BitsStored that do not fit its {width} bits; export it again")
    raw = pixels.view(f"u{pixels.itemsize}")
    above = 2**width - 2 ** (low + bits)
    beside = above + 2**low - 1
    for group in overlays(dataset):
        if (group, 0x3000) not in dataset and (group, 0x0102) in dataset:
            beside &= ~(1 << int(dataset[group, 0x0102].value))
    stray = raw & raw.dtype.type(beside)
    if dataset.PixelRepresentation:  # the bits above may repeat the sign
        negative = (raw >> (low + bits - 1)) & 1 == 1
        stray[negative & (stray == above & beside)] = 0
    if stray.any():
        raise DataError(
            f"{path} has pixel values that do not fit its {bits} bits (HighBit, BitsStored); export it again"
        )
    return (pixels << (width - low - bits)) >> (width - bits)


def overlays(dataset: "Dataset") -> list[int]:
    """Return the groups of the overlays that a file declares."""
    return [group for group in range(0x6000, 0x6020, 2) if dataset.group_dataset(group)]


def stored_range(dataset: "Dataset", stored: npt.NDArray[Any]) -> tuple[int, int]:
    """Return the lowest and the highest value that the bits of a file can hold.

    Values of 16 bits with a sign that is never used count as unsigned.
    """
    bits = int(dataset.BitsStored)
    if not dataset.PixelRepresentation or (bits == 16 and stored.min() >= 0):
        return 0, 2**bits - 1
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
