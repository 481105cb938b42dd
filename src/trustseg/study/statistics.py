"""Numbers with intervals: bootstrap over patients, and rank correlation.

Images of one patient are alike and pixels of one image more so, hence only patients are drawn: all images of a drawn
patient come along. The draws depend on the patients and the seed alone, so two models, or two conditions of one model,
that are scored on the same patients share them, and differences are paired. Intervals are 95 % percentile intervals.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from trustseg.errors import ShapeError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEW_PATIENTS: Final = 20  # below this a percentile interval is known to be too narrow
_UNDEFINED_SHARE: Final = 0.05  # more undefined draws than this, and there is no interval
_CHUNK_BYTES: Final = 1 << 26  # histograms of this many draws are held at a time


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its 95 % patient-bootstrap interval.

    Attributes:
        value: the statistic on all rows; NaN where undefined.
        low: lower end; NaN if more than 5 % of the draws leave the statistic undefined.
        high: upper end, likewise.
        count: rows that went in.
        patients: patients with at least one such row.
        undefined: rows left out because their value is NaN.
        undefined_draws: draws in which the statistic is undefined.
    """

    value: float
    low: float
    high: float
    count: int
    patients: int
    undefined: int = 0
    undefined_draws: int = 0

    @property
    def few_patients(self) -> bool:
        """Whether there are too few patients (fewer than 20) to trust the interval."""
        return self.patients < FEW_PATIENTS

    def text(self, digits: int = 3) -> str:
        """Return the value and its interval with ``digits`` decimals, "undefined" or "no interval" where NaN.

        Example:
            >>> Interval(value=0.612, low=0.5441, high=0.6709, count=80, patients=40).text()
            '0.612 [0.544, 0.671]'
        """
        return format(self, f".{digits}f")

    def __format__(self, spec: str) -> str:
        if np.isnan(self.value):
            return "undefined"
        spec = spec or ".3f"
        ends = "no interval" if np.isnan(self.low) else f"{self.low:{spec}}, {self.high:{spec}}"
        return f"{self.value:{spec}} [{ends}]"


@dataclass(frozen=True, slots=True)
class PairedSummary:
    """How a value changed between two conditions on the same images.

    Attributes:
        change: mean of after - before.
        share_lower: share of images with after < before.
    """

    change: Interval
    share_lower: Interval


def draw_patients(patients: ArrayLike, *, draws: int = 2000, seed: int = 0) -> tuple[NDArray[np.generic], Ints]:
    """Return how often each patient is drawn when as many patients as there are get drawn with replacement.

    Args:
        patients: patient of each row (N,), text or whole numbers; an unknown patient needs a name of its own.
        draws: number of draws D, >= 1.
        seed: seed of the draws; equal patients and seed give equal draws, in whatever order the rows are.

    Returns:
        The P distinct patients, sorted, and their multiplicities (D, P), each row summing to P.

    Raises:
        ShapeError: if there are no rows, ``patients`` is not one-dimensional, or ``draws`` is below 1.

    Example:
        >>> names, multiplicities = draw_patients(["b", "a", "b"], draws=3)
        >>> [str(name) for name in names], multiplicities.sum(axis=1)
        (['a', 'b'], array([2, 2, 2]))
    """
    names, _, multiplicities = _draw(patients, draws, seed)
    return names, multiplicities


def bootstrap_mean(values: ArrayLike, patients: ArrayLike, *, draws: int = 2000, seed: int = 0) -> Interval:
    """Return the mean of a value over images, with its interval; NaN values are left out and counted.

    Args:
        values: value of each image (N,), NaN where undefined.
        patients: patient of each image (N,).
        draws: bootstrap draws, >= 1.
        seed: seed of the draws.

    Raises:
        ShapeError: if there are no rows, or the lengths differ.

    Example:
        >>> bootstrap_mean([0.5, 0.7, float("nan"), 0.6], ["a", "a", "b", "c"]).text(2)
        '0.60 [0.60, 0.60]'
    """
    values = _columns(patients, values)[0]
    return bootstrap_ratio(values, np.ones_like(values), patients, draws=draws, seed=seed)


def bootstrap_difference(
    first: ArrayLike, second: ArrayLike, patients: ArrayLike, *, draws: int = 2000, seed: int = 0
) -> Interval:
    """Return the mean of first - second over the same images; a pair with a NaN is left out and counted.

    Args:
        first: value of each image (N,) under one model or condition.
        second: value of the same images (N,) under the other.
        patients: patient of each image (N,).
        draws: bootstrap draws, >= 1.
        seed: seed of the draws.

    Raises:
        ShapeError: if there are no rows, or the lengths differ.

    Example:
        >>> bootstrap_difference([0.5, 0.75], [0.25, 0.5], ["a", "b"]).text(2)
        '0.25 [0.25, 0.25]'
    """
    first, second = _columns(patients, first, second)
    return bootstrap_mean(first - second, patients, draws=draws, seed=seed)


def bootstrap_ratio(
    numerator: ArrayLike, denominator: ArrayLike, patients: ArrayLike, *, draws: int = 2000, seed: int = 0
) -> Interval:
    """Return sum(numerator) / sum(denominator), e.g. the pooled Dice from 2 |P and M| and |P| + |M| of each image.

    Args:
        numerator: (N,); rows where either is NaN are left out and counted.
        denominator: (N,), >= 0.
        patients: patient of each row (N,).
        draws: bootstrap draws, >= 1.
        seed: seed of the draws.

    Raises:
        ShapeError: if there are no rows, or the lengths differ.

    Example:
        >>> bootstrap_ratio([8, 0], [10, 2], ["a", "a"]).text(3)
        '0.667 [0.667, 0.667]'
    """
    numerator, denominator = _columns(patients, numerator, denominator)
    names, owner, multiplicities = _draw(patients, draws, seed)
    defined = ~(np.isnan(numerator) | np.isnan(denominator))
    above, below = (
        np.bincount(owner[defined], part[defined], minlength=len(names)) for part in (numerator, denominator)
    )
    return _interval(
        float(_divide(above.sum(), below.sum())),
        _divide(multiplicities @ above, multiplicities @ below),
        owner=owner[defined],
        undefined=int((~defined).sum()),
    )


def bootstrap_statistic(
    statistic: Callable[[Ints], float], patients: ArrayLike, *, draws: int = 2000, seed: int = 0
) -> Interval:
    """Return any statistic of rows with its interval: a rank correlation, an image-level AURC ...

    Args:
        statistic: takes row indices (K,), which repeat as rows do in a draw, and returns a number, NaN if undefined.
        patients: patient of each row (N,).
        draws: bootstrap draws, >= 1; the statistic is called once for each and once for all rows.
        seed: seed of the draws.

    Raises:
        ShapeError: if there are no rows.

    Example:
        >>> x, y = np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0])
        >>> bootstrap_statistic(lambda rows: spearman(x[rows], y[rows]), ["a", "a", "a"]).text(1)
        '1.0 [1.0, 1.0]'
    """
    _, owner, multiplicities = _draw(patients, draws, seed)
    rows = np.arange(len(owner))
    # A row comes as often as its patient; `repeat` keeps the rows sorted, so results do not depend on draw order.
    values = np.array([statistic(np.repeat(rows, times[owner])) for times in multiplicities], dtype=np.float64)
    return _interval(float(statistic(rows)), values, owner=owner)


def bootstrap_rows(
    table: ArrayLike,
    patients: ArrayLike,
    statistic: Callable[[Floats], Floats],
    *,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return a statistic of summed rows with its interval: scores of pixel histograms, calibration of bin counts ...

    Args:
        table: mergeable row of each image or patient (N, K), e.g. histograms laid side by side.
        patients: patient of each row (N,).
        statistic: takes sums of rows (D, K), one for each of D draws, and returns (D,), NaN where undefined. Called
            several times, with as many draws as fit in about 64 MB.
        draws: bootstrap draws, >= 1.
        seed: seed of the draws.

    Raises:
        ShapeError: if there are no rows, or the table is not (N, K).

    Example:
        >>> bootstrap_rows([[1, 2], [3, 6]], ["a", "b"], lambda sums: sums[:, 0] / sums[:, 1]).text(1)
        '0.5 [0.5, 0.5]'
    """
    names, owner, multiplicities = _draw(patients, draws, seed)
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

    step = max(1, _CHUNK_BYTES // max(1, 8 * rows.shape[1]))
    weights = multiplicities.astype(np.float64)
    values = np.concatenate([drawn(weights[start : start + step]) for start in range(0, draws, step)])
    return _interval(float(drawn(np.ones((1, len(names))))[0]), values, owner=owner)


def paired_summary(
    before: ArrayLike, after: ArrayLike, patients: ArrayLike, *, draws: int = 2000, seed: int = 0
) -> PairedSummary:
    """Return the mean change of a value on the same images, and the share of images where it fell.

    Args:
        before: value of each image (N,), e.g. the uncertainty of clean images.
        after: value of the same images (N,), e.g. under attack; a pair with a NaN is left out and counted.
        patients: patient of each image (N,).
        draws: bootstrap draws, >= 1.
        seed: seed of the draws.

    Raises:
        ShapeError: if there are no rows, or the lengths differ.

    Example:
        >>> paired_summary([0.5, 0.5], [0.25, 0.25], ["a", "b"]).share_lower.text(1)
        '1.0 [1.0, 1.0]'
    """
    before, after = _columns(patients, before, after)
    change = after - before
    lower = np.where(np.isnan(change), np.nan, change < 0)
    return PairedSummary(
        change=bootstrap_mean(change, patients, draws=draws, seed=seed),
        share_lower=bootstrap_mean(lower, patients, draws=draws, seed=seed),
    )


def spearman(x: ArrayLike, y: ArrayLike, *, given: ArrayLike | None = None) -> float:
    """Return Spearman's rank correlation, ties at their mean rank; rows with a NaN are left out.

    Args:
        x: (N,).
        y: (N,).
        given: a third value (N,) to hold constant, e.g. the predicted area, for the partial rank correlation.

    Returns:
        A number in [-1, 1]; NaN if undefined: fewer than two rows, a constant, or nothing left once ``given`` is held.

    Raises:
        ShapeError: if the lengths differ.

    Example:
        >>> round(spearman([1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0]), 3)
        0.8

    Reference:
        Partial correlation: Kendall and Stuart, "The Advanced Theory of Statistics", volume 2, chapter 27, on ranks.
    """
    columns = np.stack(_columns(x, x, y, *([] if given is None else [given])))
    columns = columns[:, ~np.isnan(columns).any(axis=0)]
    if columns.shape[1] < 2 or bool((columns == columns[:, :1]).all(axis=1).any()):
        return float("nan")
    correlation = np.corrcoef(stats.rankdata(columns, axis=1))
    if given is None:
        return float(correlation[0, 1])
    with_x, with_y = correlation[0, 2], correlation[1, 2]
    left = (1 - with_x**2) * (1 - with_y**2)
    if left < 1e-12:  # x or y has the ranks of `given`: nothing is left to correlate
        return float("nan")
    return float(np.clip((correlation[0, 1] - with_x * with_y) / np.sqrt(left), -1, 1))


def _draw(patients: ArrayLike, draws: int, seed: int) -> tuple[NDArray[np.generic], Ints, Ints]:
    """Return the distinct patients (P,), the patient of each row (N,) and the multiplicities (D, P)."""
    column = np.asarray(patients)
    if column.ndim != 1 or len(column) == 0:
        raise ShapeError(f"patients have shape {column.shape}, expected (N,) with at least one row; check the records")
    if draws < 1:
        raise ShapeError(f"draws is {draws}, expected at least 1; the usual number is 2000")
    names, owner = np.unique(column, return_inverse=True)
    count = len(names)
    multiplicities = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws)
    return names, owner, multiplicities


def _columns(patients: ArrayLike, *columns: ArrayLike) -> list[Floats]:
    """Return the columns as float64; raise unless each has one value for each patient entry."""
    shape = np.shape(patients)
    arrays = [np.asarray(column, dtype=np.float64) for column in columns]
    for array in arrays:
        if array.shape != shape or array.ndim != 1:
            raise ShapeError(f"a column has shape {array.shape} beside {shape}, expected (N,) for all; align the rows")
    return arrays


def _divide(above: ArrayLike, below: ArrayLike) -> Floats:
    """Return the quotient, NaN where it is not finite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = np.true_divide(above, below)
    return np.where(np.isfinite(quotient), quotient, np.nan)


def _interval(value: float, values: Floats, *, owner: Ints, undefined: int = 0) -> Interval:
    """Return the percentile interval of the ``values`` of all draws, if enough of them are defined."""
    defined = values[~np.isnan(values)]
    missing = len(values) - len(defined)
    low = high = float("nan")
    if not np.isnan(value) and missing <= _UNDEFINED_SHARE * len(values):
        low, high = (float(end) for end in np.quantile(defined, (0.025, 0.975)))
    return Interval(
        value=float(value),
        low=low,
        high=high,
        count=len(owner),
        patients=len(np.unique(owner)),
        undefined=undefined,
        undefined_draws=missing,
    )
