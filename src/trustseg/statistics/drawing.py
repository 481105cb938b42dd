"""Bootstrap draws: how often each patient comes in each of them."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trustseg.errors import ShapeError

__all__ = ["as_columns", "chunks", "draw_patients"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Counts = NDArray[np.int16]


def draw_patients(patients: ArrayLike, draws: int = 2000, seed: int = 0) -> tuple[NDArray[np.generic], Ints, Counts]:
    """Return the P distinct patients, sorted, which of them each row is of (N,), and how often each is drawn (D, P).

    Example:
        >>> names, owner, multiplicities = draw_patients(["b", "a", "b"], draws=3)
        >>> [str(name) for name in names], owner.tolist(), multiplicities.sum(axis=1).tolist()
        (['a', 'b'], [1, 0, 1], [2, 2, 2])
    """
    column = np.asarray(patients)
    if column.ndim != 1 or len(column) == 0:
        raise ShapeError(f"patients have shape {column.shape}, expected (N,) with at least one row; check the records")
    if draws < 1:
        raise ShapeError(f"draws is {draws}, expected at least 1; the usual number is 2000")
    if column.dtype.kind in "OU":
        column = np.char.lower(column.astype(np.str_))
    names, owner = np.unique(column, return_inverse=True)
    return names, owner, _multiplicities(len(names), draws, seed)


def chunks(draws: int, width: int, most: int) -> Iterator[slice]:
    """Yield parts of the draws for which ``width`` float64 numbers each take up to ``most`` bytes."""
    step = max(1, most // max(1, 8 * width))
    return (slice(start, start + step) for start in range(0, draws, step))


@lru_cache(maxsize=4)
def _multiplicities(count: int, draws: int, seed: int) -> Counts:
    """Return how often each patient is drawn (D, P), read-only; cached because reports repeat the same draws."""
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws).astype(np.int16)
    drawn.setflags(write=False)
    return drawn


def as_columns(patients: ArrayLike, *columns: ArrayLike) -> list[Floats]:
    """Return the columns as float64; raise unless each has one value for each patient entry."""
    shape = np.shape(patients)
    arrays = [np.asarray(column, dtype=np.float64) for column in columns]
    for array in arrays:
        if array.shape != shape or array.ndim != 1:
            raise ShapeError(f"a column has shape {array.shape}, another {shape}; expected (N,) for all")
    return arrays
