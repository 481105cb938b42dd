"""Image files to arrays: every bad file gets a sentence, no value is guessed in silence."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final, Literal, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from trustseg.errors import DataError, MissingFileError

__all__ = [
    "Channels",
    "Progress",
    "check_sizes",
    "foreground",
    "in_threads",
    "read_image",
    "read_mask",
]

Pixels = npt.NDArray[np.uint8]
Channels = Literal[1, 3]
Progress = Callable[[int, int], None]
"""Called with (images done, images in all)."""

_FORMATS: Final = ("PNG", "JPEG", "BMP", "TIFF")
# Depths that detectors deliver inside 16-bit files; the smallest that holds an image's maximum becomes 255.
_FULL_RANGES: Final = (2**8 - 1, 2**10 - 1, 2**12 - 1, 2**14 - 1, 2**16 - 1)

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded file.

    Attributes:
        pixels: (H, W) grey or (H, W, 3) colour values, uint8.
        sha256: hash of the bytes of the file.
        white: value of the file that became 255; 255 unless the file holds more than 8 bits.
    """

    pixels: Pixels
    sha256: str
    white: int = 255

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]


def read_image(path: Path, *, channels: Channels = 1) -> Picture:
    """Return an image as grey levels (colour becomes luminance) or as RGB.

    Values of more than 8 bits are scaled from the smallest of 8, 10, 12, 14 and 16 bits that holds the image's
    maximum; ``white`` tells which.

    Raises:
        MissingFileError: if there is no such file.
        DataError: if it cannot be decoded, has no pixels, several frames, or values that are not whole numbers.
    """
    image, digest = _load(path)
    if _is_deep(image):
        grey, white = _deep_grey(image, path)
        return Picture(np.stack([grey] * 3, axis=-1) if channels == 3 else grey, digest, white)
    return Picture(np.asarray(image.convert("RGB" if channels == 3 else "L")), digest)


def read_mask(path: Path) -> Picture:
    """Return the grey values of a mask file as they are; ``foreground`` says what they mean.

    A palette with colours is read as its indices, because the colours of a label palette carry no grey value.

    Raises:
        MissingFileError: if there is no such file.
        DataError: as ``read_image``.
    """
    image, digest = _load(path)
    if _is_deep(image):
        grey, white = _deep_grey(image, path)
        return Picture(grey, digest, white)
    if image.mode == "P":
        colours = np.asarray(image.convert("RGB"))
        if bool((colours != colours[..., :1]).any()):
            return Picture(np.asarray(image), digest)
        return Picture(np.ascontiguousarray(colours[..., 0]), digest)
    return Picture(np.asarray(image.convert("L")), digest)


def foreground(values: Pixels, path: Path) -> npt.NDArray[np.bool_]:
    """Return where a mask marks infection: above 127, or at 1 where 1 is its maximum.

    Args:
        values: (H, W) grey values of a mask file.
        path: the file, for the message.

    Raises:
        DataError: if the maximum lies in 2 to 127, because such a mask would turn empty in silence.

    Example:
        >>> foreground(np.array([[0, 127, 128, 255]], dtype=np.uint8), Path("mask.png")).astype(int).tolist()
        [[0, 0, 1, 1]]
        >>> foreground(np.array([[0, 1]], dtype=np.uint8), Path("mask.png")).astype(int).tolist()
        [[0, 1]]
    """
    highest = int(values.max())
    if 1 < highest <= 127:
        raise DataError(
            f"{path} is a mask whose largest grey value is {highest}, expected 0 and 255 (or 0 and 1); "
            "write the infected pixels as 255 and all others as 0"
        )
    return values == 1 if highest == 1 else values > 127


def check_sizes(image: Picture, mask: Picture, *, image_path: Path, mask_path: Path) -> None:
    """Raise a DataError that names both files if an image and its mask differ in size."""
    if image.size != mask.size:
        raise DataError(
            f"{mask_path} has {mask.size[0]}x{mask.size[1]} pixels but its image {image_path} has "
            f"{image.size[0]}x{image.size[1]}, expected the same size; export the mask at the size of its image"
        )


def in_threads(work: Callable[[Item], Result], items: Sequence[Item], *, progress: Progress | None) -> list[Result]:
    """Return ``work(item)`` of every item in order; decoding leaves Python's lock, so threads use all cores."""
    results: list[Result] = []
    with ThreadPoolExecutor() as pool:
        for result in pool.map(work, items):  # the first error cancels what has not begun
            results.append(result)
            if progress:
                progress(len(results), len(items))
    return results


def _load(path: Path) -> tuple[Image.Image, str]:
    """Return the decoded file and the SHA-256 of its bytes."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise MissingFileError(f"{path} does not exist, expected an image file; check the path") from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}), expected an image file; check its rights"
        ) from error
    try:
        image = Image.open(BytesIO(data), formats=_FORMATS)
        image.load()
        frames = getattr(image, "n_frames", 1)
    except Exception as error:  # a broken file makes Pillow's decoders raise almost anything
        reason = (
            "0 bytes" if not data else "unknown format" if isinstance(error, UnidentifiedImageError) else str(error)
        )
        raise DataError(
            f"{path} cannot be decoded ({reason}), expected a PNG, JPEG, BMP or TIFF image; replace or remove it"
        ) from error
    if frames != 1 or not image.width or not image.height:
        raise DataError(
            f"{path} has {frames} frames of {image.width}x{image.height} pixels, expected one image with pixels; "
            "replace or remove it"
        )
    return image, hashlib.sha256(data).hexdigest()


def _is_deep(image: Image.Image) -> bool:
    """Return whether the values of an image may need more than 8 bits."""
    return image.mode.startswith(("I", "F"))


def _deep_grey(image: Image.Image, path: Path) -> tuple[Pixels, int]:
    """Return values of more than 8 bits scaled to 0..255, with the value that became 255."""
    values = np.asarray(image)
    if values.dtype.kind == "f":
        holds = "NaN or infinite values" if not np.isfinite(values).all() else "fractional numbers"
        raise DataError(
            f"{path} holds {holds} (32-bit float), expected 8- or 16-bit whole numbers; "
            "window it and export it as an 8-bit PNG"
        )
    lowest, highest = int(values.min()), int(values.max())
    if lowest < 0 or highest > _FULL_RANGES[-1]:
        raise DataError(
            f"{path} holds values from {lowest} to {highest}, expected 8- or 16-bit whole numbers; "
            "window it and export it as an 8-bit PNG"
        )
    white = next(limit for limit in _FULL_RANGES if highest <= limit)
    return np.rint(values.astype(np.float32) * (255 / white)).astype(np.uint8), white
