"""Image files to native values: every bad file gets a sentence, no value is guessed or dropped in silence.

``read_image`` and ``read_mask`` accept PNG, JPEG, BMP, GIF, TIFF and (with the extra ``dicom``) DICOM files, told apart
by their content, and return a :class:`~trustseg.data.picture.Picture`: values as stored, uint8 or uint16, upright,
palettes looked up, polarity obeyed. What deep values and mask codes mean is decided for the data set as a whole, by
``trustseg.data.intensity`` and ``trustseg.data.mask_encoding``.
"""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Final, Literal, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from trustseg.data.dicom import decode_dicom, deep_dicom, is_dicom
from trustseg.data.inventory import UNREAD
from trustseg.data.picture import (
    LARGEST,
    DeepImage,
    Picture,
    Values,
    check_pixels,
    ends_early,
    split_alpha,
    upright,
    warnings_of,
)
from trustseg.errors import DataError, MissingFileError
from trustseg.progress import ProgressCallback

__all__ = ["Channels", "DeepImage", "in_threads", "read_depth", "read_image", "read_mask", "two_passes"]

Channels = Literal[1, 3]

_FORMATS: Final = ("PNG", "JPEG", "BMP", "GIF")  # TIFF and DICOM have modules of their own
_KNOWN: Final = "PNG, JPEG, BMP, TIFF, GIF and DICOM images"
_TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_CHROMA: Final = 48  # how far JPEG compression may pull red, green and blue of a grey pixel apart
_OPAQUE: Final = "transparency ignored (every pixel is opaque)"
_SEE_THROUGH: Final = "transparency ignored (some pixels are not opaque; their stored values are used)"

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_image(path: Path) -> Picture:
    """Return the native values of an image file.

    Refused are damaged files, several frames or pages, colour spaces that cannot be converted exactly (CMYK, LAB, HSV
    ...), fractional or negative values, and more pixels than a sane file has.
    """
    return _without_alpha(_read(path))


def read_mask(path: Path) -> Picture:
    """Return the native values of a mask file; ``trustseg.data.mask_encoding`` says what they mean.

    1-bit files hold 0 and 255. 16-bit files that hold 0 and 65535 only become 8-bit. The opacity is kept in ``alpha``.
    Near-grey JPEG files lose the traces of colour that the compression left. Refused is what ``read_image`` refuses,
    DICOM, and a mask whose colour and transparency both vary, so that either could be the mask.
    """
    picture = _read(path)
    if picture.kind == "DICOM":
        raise DataError(f"mask {path}: DICOM is read for images only; export the mask as PNG with 0 and 255")
    pixels = picture.pixels
    if picture.lossy and pixels.ndim == 3 and int(np.ptp(pixels, axis=-1).max()) <= _CHROMA:
        pixels = np.asarray(Image.fromarray(pixels).convert("L"))
    if pixels.dtype == np.uint16 and bool(((pixels == 0) | (pixels == 65535)).all()):
        pixels = (pixels >> 8).astype(np.uint8)
        if picture.inverted:
            pixels = 255 - pixels
        picture = replace(picture, white=255, inverted=False)
    if pixels.dtype == np.uint16 and pixels.ndim == 3:
        if (pixels % 257).any():
            raise DataError(f"mask {path}: colours of 16 bits per channel; export it with 8 bits")
        pixels = (pixels // 257).astype(np.uint8)
    if picture.inverted:
        raise DataError(f"mask {path}: 16 bits with 0 as white (MinIsWhite); export it with 8 bits and 0 as black")
    picture = replace(picture, pixels=pixels)
    if picture.alpha is None:
        return _without_alpha(picture)
    if pixels.ndim == 2 and np.array_equal(pixels, picture.alpha):
        return replace(picture, alpha=None)  # white where opaque: both say the same
    varies = bool((pixels != pixels[:1, :1]).any())
    if varies and bool((picture.alpha != picture.alpha[0, 0]).any()):
        raise DataError(f"mask {path}: colour and transparency vary: which is the mask? Export it without transparency")
    return picture


def read_depth(path: Path, *, white: int | None) -> DeepImage | None:
    """Return the values of an image before they became 8-bit grey levels; None if the file has no more than 8 bits.

    Args:
        path: of an image that ``read_image`` reads, with the same errors.
        white: value that is white in files that do not tell it, as ``IntensityScale`` has it.
    """
    picture = read_image(path)
    if picture.kind == "DICOM":
        return deep_dicom(path.read_bytes(), path, picture.sha256, white=white)
    pixels = picture.pixels
    if pixels.dtype != np.uint16:
        return None
    bright = float(picture.white or white or pixels.max())
    return DeepImage(pixels, 1.0, 0.0, 0.0, bright, picture.inverted, picture.sha256)


def two_passes(progress: ProgressCallback | None) -> tuple[ProgressCallback | None, ProgressCallback | None]:
    """Return what counts the first and the second of two passes over the same images as one."""
    if progress is None:
        return None, None
    return lambda done, total: progress(done // 2, total), lambda done, total: progress((total + done) // 2, total)


def in_threads(
    work: Callable[[Item], Result], items: Sequence[Item], *, progress: ProgressCallback | None
) -> list[Result]:
    """Return ``work(item)`` of every item in order; decoding leaves Python's lock, so threads use all cores."""
    results: list[Result] = []
    with ThreadPoolExecutor() as pool:
        for result in pool.map(work, items):  # the first error cancels what has not begun
            results.append(result)
            if progress:
                progress(len(results), len(items))
    return results


def _read(path: Path) -> Picture:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise MissingFileError(f"{path} does not exist; check the path") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    sha256 = hashlib.sha256(data).hexdigest()
    if not data:
        raise _undecodable(path, "0 bytes")
    try:
        if is_dicom(data[:132]) or path.suffix.lower() in (".dcm", ".dicom"):
            return decode_dicom(data, path, sha256)
        if data.startswith(_TIFF):
            from trustseg.data.tiff import decode_tiff

            return decode_tiff(data, path, sha256)
        return _decode_with_pillow(data, path, sha256)
    except (DataError, MemoryError, ImportError):
        raise
    except UnidentifiedImageError as error:
        if path.suffix.lower() in UNREAD:
            raise DataError(f"{path}: {path.suffix[1:].upper()} files are not read; convert it to PNG") from error
        raise _undecodable(path, "unknown format") from error
    except Image.DecompressionBombWarning as error:
        raise _undecodable(path, f"more than {LARGEST:,} pixels: a decompression bomb?") from error
    except Exception as error:  # a broken file makes decoders raise almost anything
        raise _undecodable(path, str(error) or "damaged") from error


def _undecodable(path: Path, reason: str) -> DataError:
    return DataError(f"{path} cannot be decoded ({reason}); replace or remove it (supported: {_KNOWN})")


def _decode_with_pillow(data: bytes, path: Path, sha256: str) -> Picture:
    """Return what a PNG, JPEG, BMP or GIF file holds."""
    with warnings_of("PIL", "error"):
        image = Image.open(BytesIO(data), formats=_FORMATS)
        check_pixels(path, image.width, image.height)
        frames = getattr(image, "n_frames", 1)
        kind = image.format or ""
        if frames != 1:
            raise DataError(f"{path} has {frames} frames ({kind}); export the one to be used as a single image")
        image.seek(0)
    image.load()
    _check_palette(image, data, path)
    if kind == "JPEG" and ends_early(data, lambda part: np.asarray(Image.open(BytesIO(part), formats=("JPEG",)))):
        raise DataError(f"{path} is incomplete: its JPEG data ends early; replace it")
    with warnings_of("PIL", "error"):
        orientation = image.getexif().get(0x0112, 1)
    if kind == "PNG" and data[24] == 16 and data[25] in (2, 4, 6):  # Pillow would cut these to 8 bits
        from imagecodecs import png_decode

        values: Values = png_decode(data)
    else:
        values = _values_of(image, path)
    white = None if values.dtype == np.uint16 else 255
    lossy = kind == "JPEG"
    picture = split_alpha(Picture(values, sha256, kind, white=white, lossy=lossy))
    if values.dtype == np.uint16 and "transparency" in image.info and not picture.has_alpha:
        picture = replace(picture, notes=(*picture.notes, "transparent grey level or colour ignored (16-bit PNG)"))
    return upright(picture, orientation if isinstance(orientation, int) else 1)


def _check_palette(image: Image.Image, data: bytes, path: Path) -> None:
    """Raise a DataError if a pixel has an index without a colour, or a palette that Pillow reads wrongly."""
    colours = 256
    if image.format == "BMP" and int.from_bytes(data[14:18], "little") >= 40:
        bits, used = (int.from_bytes(data[start : start + size], "little") for start, size in ((28, 2), (46, 4)))
        if image.mode == "1" and bits != 1:
            raise DataError(f"{path} has a palette of black and white at {bits} bits; export it with 1 bit or as PNG")
        colours = used if image.mode in ("P", "L") and used else colours
    elif image.mode == "P" and image.palette is not None:
        colours = len(image.palette.palette) // len(image.palette.mode)
    if colours < 256 and (index := int(np.asarray(image).max())) >= colours:
        raise DataError(f"{path}: index {index} has no colour in its palette of {colours}; export it again")


def _values_of(image: Image.Image, path: Path) -> Values:
    """Return the values of a picture in one of Pillow's modes, palettes looked up: 1, 2, 3 or 4 channels."""
    if image.mode in ("I;16", "I;16L", "I;16B"):
        return np.asarray(image).astype(np.uint16)
    if image.mode in ("P", "PA") or "transparency" in image.info:
        image = image.convert("RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB")
    elif image.mode == "1":
        image = image.convert("L")
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        raise DataError(f"{path} has the colour space {image.mode}; export it as grey or RGB")
    return np.asarray(image)


def _without_alpha(picture: Picture) -> Picture:
    """Return an image without its opacity, with a note where it had one."""
    if not picture.has_alpha:
        return picture
    note = _OPAQUE if picture.alpha is None else _SEE_THROUGH
    return replace(picture, alpha=None, notes=(*picture.notes, note))
