"""The meaning of mask values: decided once for a data set, never for a single file.

``scan_mask`` counts the values of each file, ``decide_encoding`` reads the counts of all files together, and
``apply_encoding`` turns a file into 0, 1 and 255 (ignored). Without ``data.mask_values`` these values are understood:

* 0 and 255 (also 1-bit files, and 16-bit files of 0 and 65535), or 0 and 1: the larger value is the foreground;
* JPEG files, whose values are smeared around 0 and 255: above 127 is foreground, with a note;
* 0 and 255 with few, spread-out values between them in some files, on the way from darker to brighter pixels
  (anti-aliasing, interpolation): above 127 is foreground, with a note;
* one constant colour with varying transparency in every file: opaque is foreground, with a note.

Everything else (label codes, real colours, 0, 1 and 255) is refused with the file and its values, unless
``data.mask_values`` says what they mean, e.g. ``{lesion: [1, 2], ignore: 255}``, ``{lesion: '#ff0000'}`` or
``{lesion: 128-255}``. 0 and black are background unless they are listed as something else; any other value that is not
listed is refused.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from trustseg.data.mask_values import (
    MaskEncoding,
    MaskValues,
    contains,
    histogram,
    histogram_text,
    parse_mask_values,
    value_name,
    values_of,
    where_in,
)
from trustseg.data.picture import Picture
from trustseg.data.resizing import IGNORED
from trustseg.errors import DataError
from trustseg.text import plural

__all__ = ["MaskScan", "apply_encoding", "decide_encoding", "scan_mask", "total_counts", "union"]

_SEEN: Final = 127  # above it lies the foreground where values are smeared
_DARK: Final = 32  # largest value that JPEG compression may make of an empty mask
_SMEARED_SHARE: Final = 0.1  # of all pixels of JPEG masks, at most, may lie in the middle third
_BETWEEN_SHARE: Final = 0.05  # of all pixels, at most, may lie between 0 and 255 by anti-aliasing
_BETWEEN_RATIO: Final = 4  # times as many pixels as those at 255, at most, may lie there
_FLAT_SHARE: Final = 0.1  # of these pixels, at most, may be no step between darker and brighter ones,
_FLAT_PIXELS: Final = 16  # or this number in a file
_FLAT_JPEG: Final = 3  # pixels of a JPEG, at most, may lie on a plateau
_BETWEEN_LEVELS: Final = 8  # different values that anti-aliasing leaves, at least; fewer may be label codes


@dataclass(frozen=True, slots=True)
class MaskScan:
    """What ``decide_encoding`` needs to know of one mask file.

    Attributes:
        path: the file.
        counts: pixels of each value, as ``values_of`` has it.
        lossy: whether the file is a JPEG.
        alpha: number of pixels of each opacity, None if the file is opaque or has no alpha channel.
        flat: pixels between black and white that no border explains: of a JPEG, those among equal ones; else, those
            that are no step from a darker to a brighter pixel.
        notes: what was done while decoding.
    """

    path: Path
    counts: Mapping[int, int]
    lossy: bool = False
    alpha: Mapping[int, int] | None = None
    flat: int = 0
    notes: tuple[str, ...] = ()


def scan_mask(picture: Picture, path: Path) -> MaskScan:
    """Return the values of a mask, counted."""
    counts = histogram(values_of(picture))
    alpha = None if picture.alpha is None else histogram(picture.alpha)
    values = picture.pixels if picture.alpha is None else picture.alpha
    grey = values.ndim == 2 and values.dtype == np.uint8 and not set(alpha or counts) <= {0, 1, 255}
    flat = _flat(values, lossy=picture.lossy) if grey else 0
    return MaskScan(path, counts, picture.lossy, alpha, flat, picture.notes)


def decide_encoding(scans: Iterable[MaskScan], *, mask_values: MaskValues | None = None) -> MaskEncoding:
    """Return what the mask values of a data set mean, by ``data.mask_values`` or else by all files.

    Files that do not agree, or hold values without one meaning, are refused with their values.
    """
    files = list(scans)
    if mask_values is not None:
        return _declared_encoding(files, mask_values)
    if any(one.alpha is not None for one in files):
        return _alpha_encoding(files)
    if coloured := [one for one in files if max(one.counts) > 0xFFFF]:
        raise _colours(coloured)
    exact = [one for one in files if not one.lossy]
    values = {value for one in exact for value in one.counts}
    if lossy := [one for one in files if one.lossy]:
        _check_lossy(lossy)
    if values <= {0, 1} and 1 in values and not lossy:
        return MaskEncoding(foreground=((1, 1),), notes=("masks hold 0 and 1: 1 is foreground",))
    if odd := [one for one in exact if not set(one.counts) <= {0, 255}]:
        _check_between(odd, exact)
    notes = []
    if lossy:
        notes.append(f"{plural(len(lossy), 'mask')} in JPEG files: values above {_SEEN} are foreground")
    if odd:
        notes.append(f"{plural(len(odd), 'mask')} with values between 0 and 255: above {_SEEN} is foreground")
    return MaskEncoding("threshold" if notes else "values", notes=tuple(notes))


def apply_encoding(picture: Picture, encoding: MaskEncoding, path: Path) -> npt.NDArray[np.uint8]:
    """Return a mask as (H, W) uint8: 0 background, 1 foreground, 255 ignored; a value without a meaning is refused."""
    if encoding.by == "alpha":
        opacity = picture.alpha
        if opacity is None:
            opacity = np.full(picture.pixels.shape[:2], 255 if picture.has_alpha else 0, dtype=np.uint8)
        return (opacity > _SEEN).astype(np.uint8)
    values = values_of(picture)
    if encoding.by == "threshold":
        return (values > _SEEN).astype(np.uint8)
    foreground, ignore = where_in(encoding.foreground, values), where_in(encoding.ignore, values)
    stray = ~(foreground | ignore | where_in(encoding.background, values))
    if stray.any():
        value = value_name(int(values[stray][0]))
        raise DataError(f"mask {path}: {histogram_text(histogram(values))}; list {value} in data.mask_values")
    return np.where(ignore, IGNORED, foreground).astype(np.uint8)


def union(masks: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """Return several masks of one image as one: foreground where any is, else ignored where any is.

    Example:
        >>> union([np.array([0, 1, 255, 0], np.uint8), np.array([0, 0, 0, 1], np.uint8)]).tolist()
        [0, 1, 255, 1]
    """
    stack = np.stack(masks)
    return np.where((stack == 1).any(axis=0), 1, stack.max(axis=0)).astype(np.uint8)


def _declared_encoding(files: Sequence[MaskScan], mask_values: MaskValues) -> MaskEncoding:
    """Return the encoding of the setting after checking that it gives every value of every file a meaning."""
    encoding = parse_mask_values(mask_values)
    known = (*encoding.foreground, *encoding.ignore, *encoding.background)
    if odd := [one for one in files if not all(contains(known, value) for value in one.counts)]:
        scaled = (
            " (masks of 16 bits that hold 0 and 65535 only are read as 0 and 255)" if contains(known, 65535) else ""
        )
        raise _refusal(odd, "hold values that data.mask_values does not list", f"list them{scaled}")
    if see_through := [one for one in files if one.alpha is not None]:
        raise _refusal(see_through, "are partly transparent", "export them without transparency")
    found = {value for one in files for value in one.counts}
    if files and not any(contains(encoding.foreground, value) for value in found):
        raise _refusal(files, "hold none of the values that data.mask_values calls lesion", "correct data.mask_values")
    return encoding


def _alpha_encoding(files: Sequence[MaskScan]) -> MaskEncoding:
    """Return the encoding by transparency after checking that all files are partly transparent and of one colour.

    An opaque file among them is either all foreground or empty, and nothing tells which.
    """
    if all(one.alpha is None or len(one.alpha) == 1 for one in files):
        inconsistent = [one for one in files if one.alpha is not None]
        raise _refusal(inconsistent, "are transparent everywhere", "export them without transparency")
    without = "export all masks without transparency"
    if inconsistent := [one for one in files if len(one.counts) > 1 or one.alpha is None]:
        raise _refusal(inconsistent, "do not mark the foreground by transparency, as the other masks do", without)
    colours = {one.path: colour for one in files if any(one.alpha or ()) for colour in one.counts}
    commonest, _ = Counter(colours.values()).most_common(1)[0]
    if inconsistent := [one for one in files if colours.get(one.path, commonest) != commonest]:
        raise _refusal(inconsistent, f"have another colour than the other masks ({value_name(commonest)})", without)
    opacities = [replace(one, counts=one.alpha) for one in files if one.alpha is not None]
    if inconsistent := [one for one in opacities if not set(one.counts) <= {0, 255}]:
        _check_between(inconsistent, opacities)
    return MaskEncoding("alpha", notes=("masks are one colour with transparency: opaque is foreground",))


def _colours(files: Sequence[MaskScan]) -> DataError:
    """Return a refusal that shows how to choose one of the colours: the commonest besides the background."""
    if lossy := [one for one in files if one.lossy]:
        return _refusal(lossy, "hold colours that JPEG has changed", "export them as PNG, which keeps colours")
    by_count = [value for value, _ in total_counts(files).most_common()]
    colour = next((value for value in by_count[1:] if value > 0xFFFF), max(by_count))
    example = f"{{lesion: '{value_name(colour)}'}}"
    return _refusal(files, "hold colours", f'say which of them mean foreground, e.g. "data.mask_values={example}"')


def _check_lossy(files: Sequence[MaskScan]) -> None:
    """Raise a DataError unless JPEG masks are dark or bright nearly everywhere, and those not empty reach white."""
    bright = [one for one in files if any(value >= 192 for value in one.counts)]
    darkest = _DARK if bright else 0  # where no file is bright, dark values may be label codes
    faint = [one for one in files if max(one.counts) > darkest and one not in bright]
    total = total_counts(files)
    middle = {value: count for value, count in total.items() if 64 <= value < 192}
    plateaus = [one for one in files if one.flat > _FLAT_JPEG]
    if plateaus or faint or sum(middle.values()) > _SMEARED_SHARE * total.total() or _peaked(middle):
        greyest = sorted(files, key=lambda one: -sum(one.counts.get(value, 0) for value in middle))
        raise _refusal(
            plateaus or faint or greyest[:1],
            "are JPEG files with values other than dark and bright",
            "export them as PNG",
        )


def _check_between(odd: Sequence[MaskScan], files: Sequence[MaskScan]) -> None:
    """Raise a DataError unless the values between 0 and 255 look like anti-aliasing rather than label codes."""
    advice = (
        "export them with 0 and 255; if only their edges are smoothed (resized or blurred masks), set "
        "data.mask_values={lesion: 128-255, background: 0-127}; if they hold labels, say what these mean, e.g. "
        "data.mask_values={lesion: [1, 2], ignore: 255}"
    )
    if areas := [one for one in odd if one.flat > max(_FLAT_PIXELS, _FLAT_SHARE * _between(one.counts).total())]:
        raise _refusal(areas, "hold areas of values between 0 and 255 (labels of objects?)", advice)
    total = total_counts(odd)
    between = _between(total)
    bright = sum(value > _SEEN for value in between)
    smooth = (
        max(between) < 255
        and len(between) >= _BETWEEN_LEVELS
        and len(between) <= 4 * min(bright, len(between) - bright)
        and all(max(one.counts) > _SEEN for one in odd)
        and between.total() <= _BETWEEN_SHARE * total.total()
        and not _peaked(between)
        and total[255] * _BETWEEN_RATIO > between.total()
        and sum(one.flat for one in odd) <= _FLAT_SHARE * between.total()
    )
    if not smooth:
        # Name the files that contradict the others, not the majority.
        strange = [one for one in files if not set(one.counts) <= {0, 1}]
        few = 0 < len(strange) < len(files) / 2
        raise _refusal(
            strange if few else odd,
            "hold other values than most masks, which hold 0 and 1" if few else "hold values of unclear meaning",
            advice,
        )


def total_counts(files: Iterable[MaskScan]) -> Counter[int]:
    """Return how many pixels of all files hold each value."""
    total: Counter[int] = Counter()
    for one in files:
        total.update(one.counts)
    return total


def _between(counts: Mapping[int, int]) -> Counter[int]:
    return Counter({value: count for value, count in counts.items() if value not in (0, 255)})


def _flat(values: npt.NDArray[np.uint8], *, lossy: bool) -> int:
    """Return how many pixels between black and white no border explains (``MaskScan.flat``)."""
    high = ndimage.maximum_filter(values, 5, mode="nearest")
    low = ndimage.minimum_filter(values, 5, mode="nearest")
    if lossy:
        return int(np.count_nonzero((high - low < 16) & (values >= 24) & (values <= 231)))
    return int(np.count_nonzero(((high == values) | (low == values)) & (values > 0) & (values < 255)))


def _peaked(counts: Mapping[int, int]) -> bool:
    """Return whether most of the pixels lie within 16 neighbouring values, as those of a label code do."""
    histogram = np.zeros(256, dtype=np.int64)
    histogram[list(counts)] = list(counts.values())
    return bool(np.convolve(histogram, np.ones(16, dtype=np.int64)).max() * 2 > max(histogram.sum(), 32))


def _refusal(files: Sequence[MaskScan], what: str, advice: str) -> DataError:
    first, others = files[0], len(files) - 1
    more = f" ({others:,} more masks like it)" if others else ""
    return DataError(f"mask {first.path}{more}: {histogram_text(first.counts)}; these {what}; {advice}")
