"""Images and masks to squares: the exact area average where a side shrinks, interpolation where it grows."""

from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array

__all__ = ["IGNORED", "Area", "Fit", "image_area", "resize_image", "resize_mask"]

IGNORED: Final = 255
"""Value of the mask pixels that have no reference: void labels and padding."""

Fit = Literal["squash", "pad"]
"""``squash`` stretches an image to the square; ``pad`` keeps its aspect ratio and pads the shorter side."""

Weights = Any  # scipy.sparse.csr_array of (new pixels, old pixels); scipy has no types
Values = TypeVar("Values", bound=np.uint8 | np.uint16)


class Area(NamedTuple):
    """The part of a square that an image covers, in pixels of the square."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to cut the area out of an array."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


def image_area(width: int, height: int, *, size: int, fit: Fit) -> Area:
    """Return where an image of some size lies in its square: all of it when squashed, centred when padded.

    Example:
        >>> image_area(200, 100, size=50, fit="pad")
        Area(top=12, left=0, height=25, width=50)
    """
    if fit == "squash":
        return Area(0, 0, size, size)
    longer = max(width, height)
    rows, columns = (max(1, (2 * side * size + longer) // (2 * longer)) for side in (height, width))
    return Area((size - rows) // 2, (size - columns) // 2, rows, columns)


def resize_image(pixels: npt.NDArray[Values], size: int, fit: Fit = "squash") -> npt.NDArray[Values]:
    """Return an image (H, W) or (H, W, C), uint8 or uint16, as a square of size x size pixels; itself if it is one.

    Along a side that shrinks, each new pixel is the integral of the image over the pixel's area, fractions of old
    pixels included; along a side that grows it is interpolated linearly between pixel centres. Padding is 0. Sums are
    exact and rounded once, so that every machine gives the same pixels.
    """
    height, width = pixels.shape[:2]
    if (height, width) == (size, size):
        return pixels
    area = image_area(width, height, size=size, fit=fit)
    rows, row_sum = _weights(height, area.height)
    columns, column_sum = _weights(width, area.width)
    planes = pixels.reshape(height, width, -1)
    squares = np.zeros((size, size, planes.shape[2]), dtype=pixels.dtype)
    for channel in range(planes.shape[2]):
        total = _weighted(planes[..., channel], rows, columns)
        squares[(*area.slices, channel)] = np.rint(total / (row_sum * column_sum))
    return squares.reshape(size, size, *pixels.shape[2:])


def resize_mask(mask: npt.NDArray[np.uint8], size: int, fit: Fit = "squash") -> npt.NDArray[np.uint8]:
    """Return a mask (H, W) of 0, 1 and 255 (ignored) as a square of size x size pixels; itself if it is one.

    A new pixel is foreground where foreground covers more than half of its counted area, so that no other mask of this
    size agrees with the original on a larger area. Where exactly half is covered, the old pixel at the centre decides:
    always giving such pixels to the background would shrink every region at whole-number ratios. A pixel is ignored
    where at least half of its area is, and so is padding.

    Nearest neighbour keeps the area of regions on average too, but misplaces more pixels along every border. Either
    method loses regions smaller than a pixel; packs count them.
    """
    height, width = mask.shape
    if (height, width) == (size, size):
        return mask
    area = image_area(width, height, size=size, fit=fit)
    rows, columns = _overlaps(height, area.height), _overlaps(width, area.width)
    ignored = _weighted(mask == IGNORED, rows, columns)
    covered = 2 * _weighted(mask == 1, rows, columns)
    counted = height * width - ignored
    centre = mask[np.ix_(_centres(height, area.height), _centres(width, area.width))] == 1
    inner = ((covered > counted) | ((covered == counted) & centre)).astype(np.uint8)
    inner[ignored >= counted] = IGNORED
    square = np.full((size, size), IGNORED, dtype=np.uint8)
    square[area.slices] = inner
    return square


def _weighted(plane: npt.NDArray[np.generic], rows: Weights, columns: Weights) -> npt.NDArray[np.float64]:
    """Return the weighted sums of a plane along both axes; whole numbers below 2^53, hence exact in any order."""
    along_rows = rows @ plane.astype(np.float64)
    sums: npt.NDArray[np.float64] = (columns @ np.ascontiguousarray(along_rows.T)).T
    return sums


def _weights(length: int, size: int) -> tuple[Weights, int]:
    """Return the weights along one axis and their sum for each new pixel."""
    if size <= length:
        return _overlaps(length, size), length
    return _between_centres(length, size), 2 * size


@lru_cache(maxsize=256)
def _overlaps(length: int, size: int) -> Weights:
    # On a line of length * size units an old pixel is `size` long and a new one `length`: all borders are integers.
    borders = np.union1d(np.arange(length + 1) * size, np.arange(size + 1) * length)
    starts = borders[:-1]
    return _sparse(np.diff(borders), starts // length, starts // size, (size, length))


@lru_cache(maxsize=256)
def _between_centres(length: int, size: int) -> Weights:
    """Return (size, length) weights of linear interpolation between old pixels, in units of 1 / (2 size)."""
    unit = 2 * size
    centres = (2 * np.arange(size) + 1) * length - size
    lower, above = centres // unit, centres % unit
    old = np.clip(np.concatenate([lower, lower + 1]), 0, length - 1)
    return _sparse(np.concatenate([unit - above, above]), np.tile(np.arange(size), 2), old, (size, length))


def _centres(length: int, size: int) -> npt.NDArray[np.int64]:
    return (2 * np.arange(size) + 1) * length // (2 * size)


def _sparse(
    values: npt.NDArray[np.int64], new: npt.NDArray[np.int64], old: npt.NDArray[np.int64], shape: tuple[int, int]
) -> Weights:
    return coo_array((values.astype(np.float64), (new, old)), shape=shape).tocsr()
