"""Truncated JPEG data: decoders fill the rest with grey, without an error."""

import re
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["ends_early"]

_MARKER: Final = re.compile(
    rb"\xff+([^\x00\xff\xd0-\xd7])"
)  # in coded data 0 and restart markers follow; 0xff may fill
_FILLER: Final = b"\x55\xa5" * 32


def ends_early(data: bytes, decode: Callable[[bytes], npt.NDArray[Any]]) -> bool:
    """Return whether a JPEG lacks its end marker, or coded data before it.

    Bytes put in before the marker change no pixel of a complete image; they become pixels of an incomplete one.
    What bit errors and missing scans (of a progressive JPEG) change is not noticed.

    Args:
        data: the file.
        decode: returns the pixels of such data; raises an exception if it cannot.
    """
    end = _end(data)
    if end is None:
        return True
    whole = decode(data)
    try:
        return not np.array_equal(whole, decode(data[:end] + _FILLER + data[end:]))
    except MemoryError:
        raise
    except Exception:  # the decoder stumbles over the bytes
        return True


def _end(data: bytes) -> int | None:
    """Return the place of the end marker, None without one."""
    place = 2
    while found := _MARKER.search(data, place):
        if found[1] == b"\xd9":
            return found.start()
        place = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")  # skips the segment
    return None
