"""A decoded file: its native values and the facts needed to interpret them.

A :class:`Picture` is what a file stores, not yet what it means. What the values of all files of a data set mean is
decided once for the data set: ``trustseg.data.intensity`` for images of more than 8 bits,
``trustseg.data.mask_encoding`` for masks.
"""

import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from trustseg.errors import DataError

__all__ = [
    "LARGEST",
    "DeepImage",
    "Picture",
    "Values",
    "check_pixels",
    "ends_early",
    "split_alpha",
    "upright",
    "warnings_of",
]

Values = npt.NDArray[Any]  # uint8 or uint16

LARGEST: Final = 89_478_485  # pixels; Pillow's limit, above which a small file may be a decompression bomb
# In coded JPEG data 0 and restart markers follow 0xff; 0xff may fill.
_MARKER: Final = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_FILLER: Final = b"\x55\xa5" * 32


class _Warnings:
    """Filters change the whole process: the first block saves them, and the last that ends puts them back."""

    lock = threading.Lock()
    blocks = 0
    before = warnings.catch_warnings()


_WARNINGS: Final = _Warnings()


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded file.

    Attributes:
        pixels: native values, uint8 or uint16, upright: (H, W) grey, or (H, W, 3) if any pixel has a real colour.
        sha256: hash of the bytes of the file.
        kind: the file format, such as ``"PNG"``.
        white: the value that stands for white as the file itself tells; None if only the data set can tell (16-bit
            files may hold 10, 12, 14 or 15 bits).
        inverted: whether 0 is white and ``white`` is black (MinIsWhite); only where ``white`` is None, else
            ``pixels`` are turned already.
        lossy: whether the compression changes values (JPEG).
        alpha: (H, W) opacity, uint8, if the file has an alpha channel that is not opaque everywhere.
        has_alpha: whether the file has an alpha channel at all.
        spacing: (row, column) distance between pixel centres in mm, if the file tells.
        patient: what files of one DICOM PatientID share within this process, or empty; it is never written down.
        notes: what was done while decoding, without file names and values: equal notes of many files are counted.
    """

    pixels: Values
    sha256: str
    kind: str
    white: int | None = 255
    inverted: bool = False
    lossy: bool = False
    alpha: npt.NDArray[np.uint8] | None = None
    has_alpha: bool = False
    spacing: tuple[float, float] | None = None
    patient: str = ""
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def coloured(self) -> bool:
        """Whether any pixel has a real colour, that is, red, green and blue differ."""
        return self.pixels.ndim == 3


class DeepImage(NamedTuple):
    """Values of an image before they became grey levels, for viewers that choose the window themselves.

    Attributes:
        stored: (H, W), or (H, W, 3) in colour, uint16.
        slope, intercept: value = slope * stored + intercept, in the unit of the file (DICOM: after its modality LUT).
        black, white: values that the file, or the scale of the data set, shows as black and white (where ``inverted``,
            as white and black); between them linear, where the file has no VOI LUT and no sigmoid.
        inverted: whether low values are bright.
        sha256: hash of the bytes of the file.
    """

    stored: npt.NDArray[np.uint16]
    slope: float
    intercept: float
    black: float
    white: float
    inverted: bool
    sha256: str


def check_pixels(path: Path, width: int, height: int) -> None:
    """Raise a DataError if a file claims no pixels, or so many that it may be a decompression bomb."""
    if width < 1 or height < 1 or width * height > LARGEST:
        raise DataError(f"{path} has {width}x{height} pixels, allowed are up to {LARGEST:,}; export it smaller")


def ends_early(data: bytes, decode: Callable[[bytes], Values]) -> bool:
    """Return whether a JPEG lacks its end marker, or coded data before it, which decoders fill with grey in silence.

    Bytes put in before the marker change no pixel of a complete image; they become pixels of an incomplete one.
    What bit errors and missing scans (of a progressive JPEG) change is not noticed.

    Args:
        data: the file.
        decode: returns the pixels of such data; raises an exception if it cannot.
    """
    place = 2
    while (found := _MARKER.search(data, place)) and found[1] != b"\xd9":
        place = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")  # skips the segment
    if not found:
        return True
    whole, end = decode(data), found.start()
    try:
        return not np.array_equal(whole, decode(data[:end] + _FILLER + data[end:]))
    except MemoryError:
        raise
    except Exception:  # the decoder stumbles over the bytes
        return True


@contextmanager
def warnings_of(package: str, action: Literal["error", "ignore"]) -> Iterator[None]:
    """Turn the warnings of a package into errors, or ignore them, within a block; threads may be in it at a time."""
    with _WARNINGS.lock:
        if not _WARNINGS.blocks:
            _WARNINGS.before.__enter__()
        _WARNINGS.blocks += 1
        warnings.filterwarnings(action, module=rf"{package}(\.|$)")
    try:
        yield
    finally:
        with _WARNINGS.lock:
            _WARNINGS.blocks -= 1
            if not _WARNINGS.blocks:
                _WARNINGS.before.__exit__(None, None, None)
                _WARNINGS.before = warnings.catch_warnings()


def split_alpha(picture: Picture) -> Picture:
    """Return the picture with the last of 2 or 4 channels taken as opacity; 8 bits of it are kept."""
    values = picture.pixels
    if values.ndim == 2 or values.shape[-1] == 3:
        return replace(picture, pixels=_grey_if_possible(values))
    colours, alpha = values[..., :-1], values[..., -1]
    full = np.iinfo(values.dtype).max
    kept = None if bool((alpha == full).all()) else np.ascontiguousarray(alpha if full == 255 else alpha >> 8)
    pixels = colours[..., 0] if colours.shape[-1] == 1 else colours
    return replace(
        picture,
        pixels=_grey_if_possible(np.ascontiguousarray(pixels)),
        alpha=None if kept is None else kept.astype(np.uint8),
        has_alpha=True,
    )


def upright(picture: Picture, orientation: int) -> Picture:
    """Return a picture turned and mirrored as an EXIF or TIFF orientation (1 to 8) demands; 1 leaves it alone.

    Example:
        >>> picture = Picture(np.array([[1, 2], [3, 4]], dtype=np.uint8), "", "PNG")
        >>> upright(picture, 6).pixels.tolist()  # the first stored row is the right column
        [[3, 1], [4, 2]]
    """
    if not 2 <= orientation <= 8:
        return picture

    def turn(values: Values) -> Values:
        if orientation >= 5:
            values = values.swapaxes(0, 1)
        if orientation in (3, 4, 7, 8):
            values = values[::-1]
        if orientation in (2, 3, 6, 7):
            values = values[:, ::-1]
        return np.ascontiguousarray(values)

    spacing = picture.spacing
    return replace(
        picture,
        pixels=turn(picture.pixels),
        alpha=None if picture.alpha is None else turn(picture.alpha),
        spacing=spacing[::-1] if spacing and orientation >= 5 else spacing,
        notes=(*picture.notes, "EXIF orientation applied"),
    )


def _grey_if_possible(values: Values) -> Values:
    """Return (H, W) if the three channels of every pixel are equal, else the array as it is."""
    if values.ndim == 2 or any(not np.array_equal(values[..., 0], values[..., channel]) for channel in (1, 2)):
        return values
    return np.ascontiguousarray(values[..., 0])
