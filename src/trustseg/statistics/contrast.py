"""The bootstrap of two separate samples: the patients of each are drawn on their own."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trustseg.statistics.bootstrap import chunks, draw_patients
from trustseg.statistics.interval import Interval, percentile_interval

__all__ = ["bootstrap_contrast"]

Floats = NDArray[np.float64]

_CHUNK_BYTES: Final = 1 << 24  # weights of this many draws are held at a time


def bootstrap_contrast(
    statistic: Callable[[Floats, Floats], Floats],
    first: ArrayLike,
    second: ArrayLike,
    *,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return a statistic of two separate samples with its interval, e.g. how well a score tells them apart.

    Args:
        statistic: takes how often each row of the first sample (D, N) and of the second (D, M) occurs in each of D
            draws, and returns (D,), NaN where undefined. Called several times, with a part of the draws.
        first: patient of each row of the first sample (N,).
        second: patient of each row of the second sample (M,); equal names in both are different patients.

    Example:
        >>> bootstrap_contrast(lambda a, b: a.sum(-1) / b.sum(-1), ["p", "q"], ["r"]).text(1)
        '2.0 [2.0, 2.0]'
    """
    names, owner, times = draw_patients(first, draws, seed)
    _, other, other_times = draw_patients(second, draws, seed + 1)
    values = [
        statistic(times[part, owner].astype(np.float64), other_times[part, other].astype(np.float64))
        for part in chunks(draws, len(owner) + len(other), _CHUNK_BYTES)
    ]
    whole = statistic(np.ones((1, len(owner))), np.ones((1, len(other))))
    owners = np.concatenate([owner, len(names) + other])
    return percentile_interval(float(whole[0]), np.concatenate(values), owner=owners)
