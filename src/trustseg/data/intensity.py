"""Intensity scaling of deep images: the value of white, decided once for a data set, never for a single image.

A 16-bit file rarely says whether it holds 10, 12, 14, 15 or 16 bits. ``scan_image`` takes one small fact from each
image, ``decide_scale`` finds the smallest depth that holds them all, and ``render`` maps 0 to white onto 0 to 255.
Files that tell their own white (8 bits, 12-bit TIFF, windowed DICOM) are not affected by the decision; 8-bit values
stay as they are. Hot pixels and markers burned in far above the rest have no say in it: they are clipped, and counted.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from trustseg.data.picture import Picture, Values
from trustseg.errors import DataError
from trustseg.text import plural

__all__ = ["WHITES", "ImageScan", "IntensityScale", "blank_images", "decide_scale", "render", "scan_image"]

# Depths that detectors deliver inside 16-bit files.
WHITES: Final = tuple(2**bits - 1 for bits in (8, 10, 12, 14, 15, 16))
_OUTLIERS: Final = 16  # pixels per image that may lie above white,
_OUTLYING_SHARE: Final = 1e-4  # or this share of them if that is more,
_LARGEST_SHARE: Final = 0.01  # but never more than this, so that small images keep their values
_MARKER_SHARE: Final = 0.05  # of an image, at most, that a marker covers, most of it of one value
_OTHER_DEPTH: Final = 0.5  # of an image, above a white that other images decided: it has more bits
_DARK: Final = 4  # times brighter than everything else is a marker, or a file of more bits


@dataclass(frozen=True, slots=True)
class ImageScan:
    """What ``decide_scale`` needs to know of one image; see ``Picture`` for what is not explained here.

    Attributes:
        level: value that all pixels but a few outliers and a marker reach at most; None if the file tells its white.
        ends: values that all pixels but a few outliers lie between (of the channel where they differ most).
        highest: largest value, outliers included.
    """

    path: Path
    size: tuple[int, int]
    level: int | None
    ends: tuple[int, int]
    highest: int
    white: int | None
    inverted: bool
    coloured: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IntensityScale:
    """The value that becomes 255 in files that do not tell it themselves; to be stored with a pack and a model.

    Attributes:
        white: the value; None if no file of the data set needed it.
        notes: sentences on what was decided, without file names.
    """

    white: int | None = None
    notes: tuple[str, ...] = ()


def scan_image(picture: Picture, path: Path) -> ImageScan:
    """Return what ``decide_scale`` needs to know of a picture."""
    channels = picture.pixels.reshape(*picture.pixels.shape[:2], -1)
    counts = [_counted(channels[..., channel]) for channel in range(channels.shape[-1])]
    level = _level(sum(counts[1:], counts[0])) if picture.white is None else None
    ends = max((_ends(channel) for channel in counts), key=lambda pair: pair[1] - pair[0])
    highest = max(int(np.flatnonzero(channel)[-1]) for channel in counts)
    facts = (picture.white, picture.inverted, picture.coloured, picture.notes)
    return ImageScan(path, picture.size, level, ends, highest, *facts)


def blank_images(scans: Iterable[ImageScan], scale: IntensityScale) -> list[ImageScan]:
    """Return the images that come out as one grey level, but for a few outliers; not those too deep to render."""

    def shown(scan: ImageScan, value: int) -> int:
        white = scan.white or scale.white or WHITES[-1]
        return round(min(value, white) * 255 / white)

    def is_deeper(scan: ImageScan) -> bool:  # than the scale: ``render`` refuses it, with the reason
        return scan.level is not None and scan.ends[0] > (scale.white or WHITES[-1])

    return [scan for scan in scans if shown(scan, scan.ends[0]) == shown(scan, scan.ends[1]) and not is_deeper(scan)]


def decide_scale(scans: Iterable[ImageScan]) -> IntensityScale:
    """Return the scale of a data set: the smallest of 8, 10, 12, 14, 15 and 16 bits that holds every image's level.

    Example:
        >>> film = Picture(np.arange(4000, dtype=np.uint16).reshape(50, 80), "", "PNG", white=None)
        >>> decide_scale([scan_image(film, Path("a.png"))]).white
        4095
    """
    images = list(scans)
    whites = {scan.white for scan in images if scan.white is not None} - {255}
    deep = [(scan, scan.level) for scan in images if scan.level is not None]
    white, notes = None, []
    if deep:
        largest = max(level for _, level in deep)
        white = _white(largest)
        whites.add(white)
        notes.append(f"{plural(len(deep), 'image')} of more than 8 bits: 0 to {white} became 0 to 255 in all of them")
        if clipped := [scan for scan, _ in deep if scan.highest > white]:
            highest = max(scan.highest for scan in clipped)
            clipped_count = plural(len(clipped), "image")
            what = f"pixels above {white} (up to {highest}; at most {_MARKER_SHARE:.0%} of an image)"
            notes.append(f"{what} were clipped in {clipped_count}")
        if narrow := sum(_DARK * min(level, white - scan.ends[0] * scan.inverted) <= white for scan, level in deep):
            notes.append(
                f"{plural(narrow, 'image')} of more than 8 bits within 1/{_DARK} of that: perhaps of fewer bits, and "
                "dark (some inverted ones: pale) now"
            )
    if len(whites) > 1:
        depths = ", ".join(map(str, sorted(whites)))
        notes.append(f"deep images of several depths: white is {depths}, as their files tell; each became 255")
    return IntensityScale(white, tuple(notes))


def render(
    picture: Picture, scale: IntensityScale, *, channels: int, path: Path | None = None
) -> npt.NDArray[np.uint8]:
    """Return a picture as 8-bit grey levels (H, W) or, with 3 channels, as (H, W, 3).

    Deep values are scaled so that white becomes 255, and clipped there. Colour becomes luminance (ITU-R BT.601) where
    one channel is asked for, as Pillow computes it. 8-bit values are unchanged.
    Refused, by the name of ``path``, is a deep picture if ``scale`` was decided for a data set without deep images, or
    of another bit depth.
    """
    pixels = picture.pixels
    if pixels.dtype == np.uint16:
        white = picture.white or scale.white
        if white is None:
            raise DataError(
                f"{path or 'an image'} has 16 bits per channel, unlike the training images; export it with 8"
            )
        if picture.white is None and (share := (pixels > white).mean()) > _OTHER_DEPTH:
            raise DataError(
                f"{path or 'an image'} has another bit depth than in training: {share:.0%} of its pixels lie above the "
                f"white of the training images, {white}; export it as these were"
            )
        deep = np.minimum(pixels, white)
        pixels = np.rint((white - deep if picture.inverted else deep) * (255 / white)).astype(np.uint8)
    if channels == 1:
        return np.asarray(Image.fromarray(pixels).convert("L")) if pixels.ndim == 3 else pixels
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=-1)


def _counted(values: Values) -> npt.NDArray[np.int64]:
    """Return how many pixels have each of the values that the type can hold."""
    length = np.iinfo(values.dtype).max + 1
    parts = np.array_split(values.ravel(), 1 + values.size // 2**20)  # bincount makes each value 8 bytes
    counts: npt.NDArray[np.int64] = np.stack([np.bincount(part, minlength=length) for part in parts]).sum(axis=0)
    return counts


def _ends(counts: npt.NDArray[np.int64]) -> tuple[int, int]:
    """Return the values that all pixels but a few outliers at either end lie between."""
    reached = counts.cumsum()
    count = int(reached[-1])
    outliers = int(min(max(_OUTLIERS, _OUTLYING_SHARE * count), _LARGEST_SHARE * count))
    low, high = np.searchsorted(reached, (outliers + 1, count - outliers))
    return int(low), int(high)


def _level(counts: npt.NDArray[np.int64]) -> int:
    """Return the value that all pixels but hot ones and a marker reach at most.

    A marker is a small part above a depth that holds the rest; most of it has one value, at least 4 times that depth.
    """
    _, level = _ends(counts)
    for white in WHITES[1:]:
        above = counts[white + 1 :]
        if _DARK * white <= _white(level) and 2 * above.max() >= above.sum() <= _MARKER_SHARE * counts.sum():
            _, below = _ends(counts[: white + 1])
            return below if below > WHITES[0] else level
    return level


def _white(level: int) -> int:
    return next(white for white in WHITES if level <= white)
