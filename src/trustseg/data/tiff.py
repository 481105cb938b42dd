"""TIFF files to native values: every bit depth, planar layout and polarity, decoded by tifffile.

Pillow cuts 16-bit colour to 8 bits and ignores MinIsWhite at 16 bits, so that it is not used for TIFF.
"""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from tifffile import COMPRESSION, PHOTOMETRIC, TiffFile, TiffPage

from trustseg.data.picture import Picture, Values, check_pixels, ends_early, split_alpha, upright
from trustseg.errors import DataError

__all__ = ["decode_tiff"]

_LOSSY: Final = (COMPRESSION.OJPEG, COMPRESSION.JPEG, COMPRESSION.JPEG_LOSSY)
_GREY: Final = (PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.MINISBLACK)
_SPECS: Final = "not 8- or 16-bit whole numbers; window it and export it as an 8-bit PNG"


def decode_tiff(data: bytes, path: Path, sha256: str) -> Picture:
    """Return the native values of a TIFF file, upright; refused is what ``read_image`` refuses."""
    with TiffFile(BytesIO(data)) as file:
        page = file.pages.first
        # ImageJ and tifffile may write a stack behind a single page.
        stacked = file.series[0].size // page.size if file.is_imagej or file.is_shaped else 1
        if (count := max(len(file.pages), stacked)) != 1:
            raise DataError(f"{path} has {count} pages (TIFF); export the one to be used as a single image")
        check_pixels(path, page.imagewidth, page.imagelength * max(page.imagedepth, 1))
        parts = list(zip(page.dataoffsets, page.databytecounts, strict=True))
        if any(start + size > len(data) or not size for start, size in parts):
            raise DataError(f"{path} is incomplete: parts of the image are missing from the file; replace it")
        _check_colour_space(page, path)
        values = page.asarray()
        if page.compression == COMPRESSION.JPEG:
            _check_jpeg(page, [data[start : start + size] for start, size in parts], path)
        lossy = page.compression in _LOSSY
        values = values if page.axes in ("YX", "YXS") else np.moveaxis(values, 0, -1)
        if page.photometric == PHOTOMETRIC.PALETTE:
            picture = Picture(_look_up(page, values, path), sha256, "TIFF", lossy=lossy)
        else:
            whole, white = _whole(values, page.bitspersample, path)
            inverted = page.photometric == PHOTOMETRIC.MINISWHITE
            if inverted and white is not None:
                colours = whole if whole.ndim == 2 else whole[..., :1]
                np.subtract(white, colours, out=colours)
            picture = Picture(whole, sha256, "TIFF", white=white, inverted=inverted and white is None, lossy=lossy)
        unknown = tuple(int(kind) for kind in page.extrasamples) not in ((1,), (2,))
        if unknown and picture.pixels.ndim == 3 and picture.pixels.shape[-1] in (2, 4):
            raise DataError(f"{path} has an extra channel of unknown meaning; export it as grey or RGB")
        return upright(split_alpha(picture), page.tags.valueof(274, 1))


def _check_jpeg(page: TiffPage, parts: Sequence[bytes], path: Path) -> None:
    """Raise a DataError if the JPEG data of a strip or tile ends early."""
    for index, part in enumerate(parts):

        def decode(data: bytes, index: int = index) -> Values:
            return np.asarray(page.decode(data, index, jpegtables=page.jpegtables, jpegheader=page.jpegheader)[0])

        if ends_early(part, decode):
            raise DataError(f"{path} is incomplete: the JPEG data of a part ends early; replace it")


def _check_colour_space(page: TiffPage, path: Path) -> None:
    """Raise a DataError unless a page is grey, RGB or a palette, with at most an opacity channel."""
    if 262 not in page.tags:
        raise DataError(f"{path} lacks its PhotometricInterpretation: is 0 black or white? Export it again")
    kind = page.photometric
    as_jpeg = kind == PHOTOMETRIC.YCBCR and page.compression in _LOSSY  # decoded to RGB
    if kind not in (*_GREY, PHOTOMETRIC.RGB, PHOTOMETRIC.PALETTE) and not as_jpeg:
        raise DataError(f"{path} has the colour space {PHOTOMETRIC(kind).name}; export it as grey or RGB")
    if page.axes not in ("YX", "YXS", "SYX"):
        raise DataError(f"{path} has the axes {page.axes}; export the slice to be used as a single image")
    colours = 3 if kind in (PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR) else 1
    if page.samplesperpixel not in (colours, colours + 1):
        raise DataError(f"{path} has {page.samplesperpixel} channels, expected {colours}; export it as grey or RGB")


def _whole(values: npt.NDArray[np.generic], bits: int, path: Path) -> tuple[Values, int | None]:
    """Return values as uint8 or uint16 with the value of white, None where 16 bits may hold fewer."""
    if values.dtype.kind == "f" and not bool((np.isfinite(values) & (values == np.rint(values))).all()):
        holds = "NaN or infinite values" if not np.isfinite(values).all() else "fractional numbers"
        raise DataError(f"{path} holds {holds} ({8 * values.dtype.itemsize}-bit float), {_SPECS}")
    if values.dtype.kind not in ("b", "u", "i", "f"):
        raise DataError(f"{path} holds values of type {values.dtype}, {_SPECS}")
    lowest, highest = (values.min(), values.max()) if values.dtype.kind != "b" else (0, 1)
    if lowest < 0 or highest > 65535:
        raise DataError(f"{path} holds values from {lowest:g} to {highest:g}, {_SPECS}")
    if bits <= 8 and values.dtype.kind in ("b", "u"):
        top = 2**bits - 1
        return ((values.astype(np.uint16) * 255 + top // 2) // top).astype(np.uint8), 255
    if bits == 8:  # signed
        return values.astype(np.uint16), 127
    return values.astype(np.uint16), 2**bits - 1 if 8 < bits < 16 else None


def _look_up(page: TiffPage, values: npt.NDArray[np.generic], path: Path) -> Values:
    """Return the colours of a palette page, (H, W, 3), without the channels after the index."""
    palette = page.colormap
    if palette is None or values.ndim != 2:
        raise DataError(f"{path} has no usable palette; export it as grey or RGB")
    # Colours have 16 bits, but some programs write 8.
    eight = palette if palette.max() < 256 else palette >> 8
    return np.ascontiguousarray(eight.astype(np.uint8).T[values.astype(np.intp)])
