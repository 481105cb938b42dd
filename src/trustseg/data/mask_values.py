"""Values of mask pixels, grey levels and colours as numbers, and what the setting ``data.mask_values`` says of them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from trustseg.data.picture import Picture
from trustseg.errors import ConfigError

__all__ = [
    "MaskEncoding",
    "MaskValues",
    "contains",
    "histogram",
    "histogram_text",
    "parse_mask_values",
    "value_name",
    "values_of",
    "where_in",
]

MaskValues = Mapping[Any, int | str | Sequence[int | str]]
"""``lesion``, ``ignore`` and ``background`` -> grey values, colours such as ``#ff0000``, ranges such as ``128-255``."""

Ranges = tuple[tuple[int, int], ...]
"""Values in inclusive ranges."""

_KINDS: Final = ("background", "lesion", "ignore")
_SHOWN: Final = 8  # values of a histogram in a message


@dataclass(frozen=True, slots=True)
class MaskEncoding:
    """What the values of the masks of a data set mean; to be stored with a pack.

    Attributes:
        by: ``values`` (listed values), ``threshold`` (above 127) or ``alpha`` (opacity above 127).
        foreground, ignore, background: values with this meaning, with ``by="values"``.
        notes: sentences on what was decided, without file names.
    """

    by: Literal["values", "threshold", "alpha"] = "values"
    foreground: Ranges = ((255, 255),)
    ignore: Ranges = ()
    background: Ranges = ((0, 0),)
    notes: tuple[str, ...] = field(default=(), compare=False)


def value_name(value: int) -> str:
    """Return a value as ``data.mask_values`` writes it, such as ``"255"`` or ``"#ff0000"``."""
    return str(value) if value <= 0xFFFF else f"#{value - 0x1000000:06x}"


def parse_mask_values(mask_values: MaskValues) -> MaskEncoding:
    """Return the encoding that ``data.mask_values`` describes.

    Example:
        >>> parse_mask_values({"lesion": [1, "3-5"], "ignore": 255}).foreground
        ((1, 1), (3, 5))
    """
    unknown = [key for key in mask_values if key not in _KINDS]
    if unknown or mask_values.get("lesion", ()) in ((), [], None):
        wrong = f"unknown key {unknown[0]!r}" if unknown else "no value is listed as lesion"
        raise ConfigError(f"data.mask_values: {wrong}; write e.g. {{lesion: [1, 2], ignore: 255}} (or background: 0)")
    ranges: dict[str, Ranges] = {}
    for kind in _KINDS:
        listed = mask_values.get(kind, ())
        parts = listed if isinstance(listed, (list, tuple)) else [listed]
        ranges[kind] = tuple(_range_of(part) for part in parts)
    taken = [*ranges["lesion"], *ranges["ignore"]]
    if "background" not in mask_values and not any(low <= 0 <= high for low, high in taken):
        ranges["background"] = ((0, 0),)
    every = sorted((low, high) for kind in _KINDS for low, high in ranges[kind])
    for (_, end), (start, _) in pairwise(every):
        if start <= end:
            raise ConfigError(f"data.mask_values: {value_name(start)} is listed twice; list each value once")
    return MaskEncoding("values", ranges["lesion"], ranges["ignore"], ranges["background"])


def _range_of(part: object) -> tuple[int, int]:
    text = str(part).strip().lower()
    if not isinstance(part, bool):
        if colour := re.fullmatch(r"#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})", text):
            red, green, blue = (int(two, 16) for two in colour.groups())
            value = red if red == green == blue else 0x1000000 + (red << 16) + (green << 8) + blue
            return value, value
        if found := re.fullmatch(r"([0-9]{1,5})(?:\s*-\s*([0-9]{1,5}))?", text):
            low, high = int(found[1]), int(found[2] or found[1])
            if low <= high <= 0xFFFF:
                return low, high
            wrong = "begins above its end" if low > high else "is above 65535, the largest grey value"
            raise ConfigError(f"data.mask_values: {text} {wrong}; correct it")
    raise ConfigError(f"data.mask_values: {part!r} is no grey value (1), range (128-255) or colour ('#ff0000')")


def values_of(picture: Picture) -> npt.NDArray[np.int32]:
    """Return one number per pixel: the grey value, or 0x1000000 + 0xRRGGBB for a real colour of 8 bits per channel."""
    pixels = picture.pixels
    if pixels.ndim == 2:
        return pixels.astype(np.int32)
    red, green, blue = (pixels[..., channel].astype(np.int32) for channel in range(3))
    return np.where((red == green) & (green == blue), red, 0x1000000 + (red << 16) + (green << 8) + blue)


def histogram(values: npt.NDArray[np.integer]) -> dict[int, int]:
    """Return value -> number of pixels."""
    if values.max() <= 0xFFFF:
        counts = np.bincount(values.ravel())
        return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
    found, times = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), times.tolist(), strict=True))


def contains(ranges: Ranges, value: int) -> bool:
    """Return whether a value lies in one of the ranges."""
    return any(low <= value <= high for low, high in ranges)


def where_in(ranges: Ranges, values: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Return where values lie in one of the ranges."""
    found = np.zeros(values.shape, dtype=bool)
    for low, high in ranges:
        found |= (values >= low) & (values <= high)
    return found


def histogram_text(counts: Mapping[int, int]) -> str:
    """Return a histogram in words, the most frequent values in order of value."""
    most = sorted(sorted(counts, key=lambda value: -counts[value])[:_SHOWN])
    more = f", and {len(counts) - _SHOWN:,} more values" if len(counts) > _SHOWN else ""
    return "values " + ", ".join(f"{value_name(value)} ({counts[value]:,} px)" for value in most) + more
