"""What a DICOM object is, and its stored values from the bits that hold them; what is no film is refused by name.

Decoders mask the bits beside those stored, and fill the rest of a frame that ends early, both without an error.
"""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy.typing as npt

from trustseg.data.picture import check_pixels, ends_early, warnings_of
from trustseg.errors import DataError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["check_object", "overlays", "set_transfer_syntax", "stored_range", "stored_values"]

_NEEDED: Final = ("Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation")
_NO_IMAGES: Final = ("Segmentation", "RT Dose", "Parametric Map", "Real World Value")
_COLOURS: Final = ("RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT", "YBR_PARTIAL_420")
_JPEG: Final = tuple(f"1.2.840.10008.1.2.4.{kind}" for kind in (50, 51, 57, 70))
_CODE_STREAMS: Final = tuple(f"1.2.840.10008.1.2.4.{kind}" for kind in (80, 81, 90, 91))  # JPEG-LS, JPEG 2000


def check_object(dataset: "Dataset", path: Path) -> None:
    """Raise a DataError that names the kind of object unless it is a single-frame greyscale image."""
    uid = dataset.get("SOPClassUID")
    if uid is None and "PixelData" not in dataset:
        raise DataError(f"{path} has no SOP class and no pixels: it is no DICOM image, or was cut short; copy it again")
    kind = "object of unknown class" if uid is None else uid.name if uid.name != uid else "object of a private class"
    if "PixelData" not in dataset or "Rows" not in dataset or any(word in kind for word in _NO_IMAGES):
        raise DataError(f"{path} is a DICOM {kind}, not an image; remove it")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise DataError(f"{path} has {frames} frames (DICOM {kind}); export the one to be used as a single image")
    if "SharedFunctionalGroupsSequence" in dataset or "PerFrameFunctionalGroupsSequence" in dataset:
        raise DataError(f"{path} is a DICOM {kind}, whose frames cannot be read; export it as a single-frame image")
    if missing := [keyword for keyword in _NEEDED if dataset.get(keyword) is None]:
        raise DataError(f"{path} does not tell its {' and '.join(missing)} (DICOM {kind}); export it again")
    photometric = dataset.get("PhotometricInterpretation")
    if photometric not in ("MONOCHROME1", "MONOCHROME2") or dataset.SamplesPerPixel != 1:
        words = photometric if photometric in _COLOURS else "an unknown PhotometricInterpretation"
        raise DataError(f"{path} is not a greyscale image ({words}, DICOM {kind}); export it as MONOCHROME2")
    if dataset.BitsAllocated not in (8, 16):
        raise DataError(f"{path} has {dataset.BitsAllocated} bits per pixel (DICOM {kind}), expected 8 or 16")
    check_pixels(path, int(dataset.Columns), int(dataset.Rows))


def set_transfer_syntax(dataset: "Dataset", path: Path) -> None:
    """Give a dataset without a meta header the transfer syntax that it was parsed with."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if "TransferSyntaxUID" in getattr(dataset, "file_meta", ()):
        return
    if dataset["PixelData"].is_undefined_length:
        raise DataError(f"{path} has compressed pixels but no meta header that says how; export it again")
    implicit, little = dataset.original_encoding
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = (
        ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    )


def stored_values(dataset: "Dataset", path: Path) -> npt.NDArray[Any]:
    """Return the stored values of a whole frame whose other bits are empty, a sign or a declared overlay."""
    from pydicom.pixels.utils import pixel_array

    _check_complete(dataset, path)
    with warnings_of("pydicom", "ignore"):
        pixels = pixel_array(dataset, correct_unused_bits=False, allow_excess_frames=True)
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


def _check_complete(dataset: "Dataset", path: Path) -> None:
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
