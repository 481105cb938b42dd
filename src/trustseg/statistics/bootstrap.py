"""Numbers with intervals: bootstrap over patients.

Images of one patient are alike and pixels of one image more so, hence only patients are drawn, with replacement: all
images of a drawn patient come along. Intervals are percentile intervals, of 95 % by default, corrected for few patients
(``trustseg.statistics.interval``); of skewed means the bootstrap-t interval, of shares Wilson's. Rows with a NaN are
left out and counted.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trustseg.errors import ShapeError
from trustseg.statistics.drawing import as_columns, chunks, draw_patients
from trustseg.statistics.interval import (
    USUAL,
    Interval,
    interval_of,
    percentile_interval,
    skewness_of,
    wilson_interval,
)
from trustseg.statistics.ratio_draws import draw_ratio, studentised

__all__ = [
    "bootstrap_contrast",
    "bootstrap_counts",
    "bootstrap_difference",
    "bootstrap_mean",
    "bootstrap_ratio",
    "bootstrap_rows",
    "bootstrap_statistic",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SKEWED: Final = 0.25  # skewness of the draws above which a mean gets the bootstrap-t interval
_CACHE_BYTES: Final = 1 << 20
_CHUNK_BYTES: Final = 1 << 24  # this many draws are held at a time


def bootstrap_mean(
    values: ArrayLike,
    patients: ArrayLike,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    draws: int = 2000,
    seed: int = 0,
    confidence: float = USUAL,
) -> Interval:
    """Return the mean of the ``values`` (N,) of images, with its interval.

    Args:
        bounds: between which values can lie; the interval does not leave them unless a value does.

    Example:
        >>> bootstrap_mean([0.5, 0.7, float("nan"), 0.6], ["a", "a", "b", "c"]).text(2)
        '0.60 [0.60, 0.60]'
    """
    values = as_columns(patients, values)[0]
    ones = np.ones_like(values)
    return bootstrap_ratio(values, ones, patients, bounds=bounds, draws=draws, seed=seed, confidence=confidence)


def bootstrap_difference(
    first: ArrayLike,
    second: ArrayLike,
    patients: ArrayLike,
    *,
    draws: int = 2000,
    seed: int = 0,
    confidence: float = USUAL,
) -> Interval:
    """Return the mean of first - second, (N,) each, over the same images under two models or conditions.

    It has the plain interval, as comparisons that also draw trainings do.

    Example:
        >>> bootstrap_difference([0.5, 0.75], [0.25, 0.5], ["a", "b"]).text(2)
        '0.25 [0.25, 0.25]'
    """
    first, second = as_columns(patients, first, second)
    sums = draw_ratio(first - second, np.ones_like(first), patients, draws, seed)
    return percentile_interval(sums.value, sums.drawn, owner=sums.rows, undefined=sums.undefined, confidence=confidence)


def bootstrap_ratio(
    numerator: ArrayLike,
    denominator: ArrayLike,
    patients: ArrayLike,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    draws: int = 2000,
    seed: int = 0,
    confidence: float = USUAL,
) -> Interval:
    """Return sum(numerator) / sum(denominator), e.g. the pooled Dice from 2 |P and M| and |P| + |M| of each image.

    Both are (N,), the denominator >= 0. The interval stays within ``bounds`` if every quotient does; the usual ones are
    those of a part of a whole.

    Example:
        >>> bootstrap_ratio([8, 0], [10, 2], ["a", "a"]).text(3)  # one patient
        '0.667 [no interval]'
    """
    numerator, denominator = as_columns(patients, numerator, denominator)
    sums = draw_ratio(numerator, denominator, patients, draws, seed)
    value, drawn, rows, undefined = sums.value, sums.drawn, sums.rows, sums.undefined
    known = ~(np.isnan(numerator) | np.isnan(denominator))
    parts, wholes = numerator[known], denominator[known]
    share = bounds == (0, 1) and np.isin(parts, (0, 1)).all() and np.isin(wholes, (0, 1)).all()
    if share and (parts <= wholes).all():
        one = rows[wholes == 1]
        found = wilson_interval(value, drawn, owner=one, undefined=undefined, confidence=confidence)
        return replace(found, count=len(rows), patients=len(np.unique(rows)))
    if abs(skewness_of(drawn)) <= _SKEWED:
        found = percentile_interval(value, drawn, owner=rows, undefined=undefined, confidence=confidence)
    else:
        found = interval_of(value, studentised(sums), drawn, owner=rows, undefined=undefined, confidence=confidence)
    if ((parts < bounds[0] * wholes) | (parts > bounds[1] * wholes)).any():
        return found
    low, high = np.clip((found.low, found.high), *bounds)
    return replace(found, low=float(low), high=float(high))


def bootstrap_statistic(
    statistic: Callable[[Ints], float],
    patients: ArrayLike,
    *,
    draws: int = 2000,
    seed: int = 0,
    confidence: float = USUAL,
) -> Interval:
    """Return any statistic of rows with its interval: a rank correlation, an image-level AURC ...

    Args:
        statistic: takes row indices (K,), which repeat as rows do in a draw, and returns a number, NaN if undefined;
            called once for each draw and once for all rows.

    Example:
        >>> x = np.array([3.0, 3.0, 3.0])
        >>> bootstrap_statistic(lambda rows: float(x[rows].max()), ["a", "b", "a"]).text(1)
        '3.0 [3.0, 3.0]'
    """
    _, owner, multiplicities = draw_patients(patients, draws, seed)
    rows = np.arange(len(owner))
    # A row comes as often as its patient; `repeat` keeps the rows sorted, so results do not depend on draw order.
    values = np.array([statistic(np.repeat(rows, times[owner])) for times in multiplicities], dtype=np.float64)
    return percentile_interval(float(statistic(rows)), values, owner=owner, confidence=confidence)


def bootstrap_rows(
    table: ArrayLike,
    patients: ArrayLike,
    statistic: Callable[[Floats], Floats],
    *,
    draws: int = 2000,
    seed: int = 0,
    confidence: float = USUAL,
) -> Interval:
    """Return a statistic of summed rows with its interval: scores of pixel histograms, calibration of bin counts ...

    Args:
        table: mergeable row of each image or patient (N, K), e.g. histograms laid side by side.
        statistic: takes sums of rows (D, K), one for each of D draws, and returns (D,), NaN where undefined. Called
            several times, with as many draws as fit in about 16 MB.

    Example:
        >>> bootstrap_rows([[1, 2], [3, 6]], ["a", "b"], lambda sums: sums[:, 0] / sums[:, 1]).text(1)
        '0.5 [0.5, 0.5]'
    """
    names, owner, multiplicities = draw_patients(patients, draws, seed)
    rows = np.asarray(table)
    if rows.ndim != 2 or len(rows) != len(owner):
        raise ShapeError(
            f"the table is {rows.shape} for {len(owner)} rows of patients, expected ({len(owner)}, K); "
            "give one row for each entry of patients"
        )
    order = np.argsort(owner, kind="stable")
    sums = np.add.reduceat(rows[order], np.searchsorted(owner[order], np.arange(len(names))), axis=0, dtype=np.float64)
    filled = sums.any(axis=0)  # most bins of a histogram are empty in all patients
    columns = np.ascontiguousarray(sums[:, filled])

    def drawn(times: Floats) -> Floats:
        merged = np.zeros((len(times), rows.shape[1]))
        merged[:, filled] = times @ columns
        return np.asarray(statistic(merged), dtype=np.float64)

    weights = multiplicities.astype(np.float64)
    values = np.concatenate([drawn(weights[part]) for part in chunks(draws, rows.shape[1], _CHUNK_BYTES)])
    value = float(drawn(np.ones((1, len(names))))[0])
    return percentile_interval(value, values, owner=owner, confidence=confidence)


def bootstrap_counts(
    statistic: Callable[[Floats], Floats],
    patients: ArrayLike,
    *,
    draws: int = 2000,
    seed: int = 0,
    confidence: float = USUAL,
) -> Interval:
    """Return a statistic that depends on how often each row is drawn, such as a ranking score, with its interval.

    Args:
        statistic: takes how often each row comes in each of D draws (D, N) and returns (D,), NaN where undefined.
            Called several times, with few enough draws to stay in the cache of a processor.
        patients: of the rows (N,).

    Example:
        >>> x = np.array([1.0, 2.0])
        >>> bootstrap_counts(lambda times: (times @ x) / times.sum(axis=1), ["a", "a"]).value
        1.5
    """
    _, owner, multiplicities = draw_patients(patients, draws, seed)
    drawn = [
        np.asarray(statistic(multiplicities[part, owner].astype(np.float64)), np.float64)
        for part in chunks(draws, len(owner), _CACHE_BYTES)
    ]
    value = float(statistic(np.ones((1, len(owner))))[0])
    return percentile_interval(value, np.concatenate(drawn), owner=owner, confidence=confidence)


def bootstrap_contrast(
    statistic: Callable[[Floats, Floats], Floats],
    first: ArrayLike,
    second: ArrayLike,
    *,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return a statistic of two samples whose patients are drawn apart, e.g. how well a score tells them apart.

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
