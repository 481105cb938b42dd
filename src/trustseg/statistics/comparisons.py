"""Paired comparisons of two trained variants, uncertain by the choice of patients and by the training alike.

Two sources make a difference between two variants vary: which patients were tested, and how the training went (its
seed). Patients and trainings are crossed, every model sees every patient, so a draw takes patients with replacement
and, independently, trainings with replacement. Of S trainings S - 1 are drawn, which makes the variance of a mean over
trainings unbiased however small S is; all S would make it (S - 1)/S of what it should be. A training is one seed with
all folds of its cross-validation. With one seed there is nothing to draw: an interval is then of these trained models.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trustseg.errors import ShapeError
from trustseg.statistics.drawing import draw_patients
from trustseg.statistics.interval import NORMAL, Interval, corrected, effective, interval_of, t_quantile

__all__ = ["ALPHA", "Claim", "Comparison", "Conclusion", "compare_drawn", "compare_images", "holm"]

Floats = NDArray[np.float64]
Claim = Literal["higher", "lower", "not_lower", "not_higher", "equal"]
Conclusion = Literal["supported", "contradicted", "inconclusive"]

_SIGNIFICANT: Final = 1.96  # z of a two-sided test at 5 %, before it is widened
_POWER: Final = 0.84  # z of 80 % power
ALPHA: Final = 0.05
_LEAST: Final = 1e-6  # no p-value below: no bootstrap knows such tails


@dataclass(frozen=True, slots=True)
class Comparison:
    """A paired difference first - second.

    Attributes:
        interval: the difference, its 95 % interval over patients and, if there are several, over trainings.
        drawn: the difference of each defined draw (D,), corrected for few patients and trainings.
        trainings: seeds that both variants were trained with; with one the interval does not cover other trainings.
        effect: mean over images of the difference divided by its standard deviation; NaN where the score is not a
            mean over images, or does not vary.
        widened: factor by which the t quantile spread the draws beyond their standard deviation.
    """

    interval: Interval
    drawn: Floats
    trainings: int
    effect: float = float("nan")
    widened: float = 1.0

    @property
    def standard_error(self) -> float:
        """Standard deviation of the difference; NaN if there are fewer than two draws."""
        return float(self.drawn.std(ddof=1)) / self.widened if len(self.drawn) > 1 else float("nan")

    @property
    def detectable(self) -> float:
        """Smallest true difference that a 5 % test on such data, widened alike, finds with a chance of 80 %."""
        return (_SIGNIFICANT * self.widened + _POWER) * self.standard_error

    @property
    def p(self) -> float:
        """Two-sided p-value of "no difference", from the draws at or beyond 0; 1 without an interval."""
        if np.isnan(self.interval.low):
            return 1.0
        return min(1.0, 2 * min(self._tail(0.0, above=False), self._tail(0.0, above=True)))

    def p_of(self, claim: Claim, margin: float = 0.0) -> float:
        """Return the p-value against the opposite of a claim, small if the data support or contradict it.

        Args:
            claim: ``higher``, ``lower``: the two-sided p-value of no difference. ``not_lower``, ``not_higher``: that
                the difference is at or beyond the margin. ``equal``: the larger one of both (two one-sided tests).
            margin: largest difference that does not matter, >= 0.

        Reference:
            Schuirmann, "A comparison of the two one-sided tests procedure ...", J. Pharmacokinet. Biopharm. 1987.
        """
        if np.isnan(self.interval.low):
            return 1.0
        below, above = self._tail(-margin, above=False), self._tail(margin, above=True)
        return {"not_lower": below, "not_higher": above, "equal": max(below, above)}.get(claim, self.p)

    def _tail(self, bound: float, *, above: bool) -> float:
        """Return the share of draws at or beyond a bound, the observed difference counted as one more draw.

        If there are none, the tail of a normal distribution with the spread of the draws, where smaller: otherwise the
        number of draws would decide which claims survive a correction for many tests.
        """
        beyond = int((self.drawn >= bound if above else self.drawn <= bound).sum())
        distance = bound - self.interval.value if above else self.interval.value - bound
        share = (1 + beyond) / (1 + len(self.drawn))
        if beyond or distance <= 0 or np.isnan(self.standard_error):
            return share
        z = distance / max(self.standard_error * self.widened, 1e-12)
        return max(_LEAST, min(share, NormalDist().cdf(-z)))

    def within(self, margin: float) -> bool:
        """Return whether the difference is shown to be smaller than a margin: two one-sided tests at 5 %."""
        return self.p_of("equal", margin) < ALPHA

    def conclusion(self, claim: Claim, *, margin: float, p: float) -> Conclusion:
        """Return ``supported``, ``contradicted`` or ``inconclusive``.

        ``supported`` if p < 5 % and the difference has the claimed sign, or, for the claims of no harm, keeps within
        the margin. ``contradicted`` if p < 5 % with the other sign, if a claimed difference is shown to be within the
        margin, or if the whole interval lies outside a claim of no harm. Otherwise ``inconclusive``.

        Args:
            claim: the claim about first - second.
            margin: largest difference that does not matter, >= 0.
            p: the p-value of the claim, see ``p_of``, after correction for the other claims of its family.
        """
        value, low, high = self.interval.value, self.interval.low, self.interval.high
        if np.isnan(low):
            return "inconclusive"
        significant = p < ALPHA
        if claim in ("higher", "lower"):
            if significant and value != 0:
                return "supported" if (value > 0) == (claim == "higher") else "contradicted"
            return "contradicted" if margin > 0 and self.within(margin) else "inconclusive"
        if significant:
            return "supported"
        harmed = (claim != "not_higher" and high < -margin) or (claim != "not_lower" and low > margin)
        return "contradicted" if harmed else "inconclusive"


def compare_images(
    first: ArrayLike, second: ArrayLike, patients: ArrayLike, *, draws: int = 2000, seed: int = 0
) -> Comparison:
    """Return the paired difference in the mean over images, e.g. of Dice.

    Args:
        first: value of each image under one variant (S, N), a row per seed; NaN pairs are left out and counted.
        second: value of the same images under the other variant, same seeds (S, N).

    Example:
        >>> compare_images([[0.5, 0.75]], [[0.25, 0.5]], ["a", "b"]).interval.text(2)
        '0.25 [0.25, 0.25]'

    Reference:
        Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 2007, arXiv:0712.1111, section 3: both factors
        drawn independently. Rao and Wu, "Resampling inference with complex survey data", JASA 1988, section 2: S - 1
        of S. Deviation: patients, many, are drawn in full number.
    """
    values = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    owners = np.asarray(patients)
    if values.ndim != 2 or values.shape[1:] != owners.shape or not len(values):
        raise ShapeError(f"differences have shape {values.shape} for {owners.shape} patients, expected (S, N) for (N,)")
    names, owner, times = draw_patients(owners, draws, seed)
    defined = ~np.isnan(values)
    sums, counts = np.zeros((len(values), len(names))), np.zeros((len(values), len(names)))
    for row, known in enumerate(defined):
        sums[row] = np.bincount(owner[known], values[row, known], minlength=len(names))
        counts[row] = np.bincount(owner[known], minlength=len(names))
    with np.errstate(invalid="ignore", divide="ignore"):
        whole, drawn = sums.sum(1) / counts.sum(1), (times @ sums.T) / (times @ counts.T)
    some = defined.any(axis=0)
    return compare_drawn(whole, drawn, owners[some], undefined=int((~some).sum()), effect=_effect(values), seed=seed)


def compare_drawn(
    whole: ArrayLike, drawn: ArrayLike, patients: ArrayLike, *, undefined: int = 0, effect: float = np.nan, seed: int
) -> Comparison:
    """Return a paired difference in any score, from its values under draws of patients.

    Args:
        whole: the difference for each seed, on all patients (S,).
        drawn: the difference for each draw of patients and each seed (D, S).
        patients: patient of each image that was used (N,).
        undefined: images left out.
        effect: standardised difference, if there is one.
        seed: seed of the draws of trainings.

    Example:
        >>> compare_drawn([0.1], np.full((10, 1), 0.1), ["a"], seed=0).trainings
        1
    """
    single, table = np.asarray(whole, np.float64), np.asarray(drawn, np.float64)
    if single.ndim != 1 or not len(single) or table.ndim != 2 or table.shape[1] != len(single):
        raise ShapeError(f"draws have shape {table.shape} for {single.shape} seeds, expected (D, S) for (S,)")
    trainings = len(single)
    if trainings > 1:
        chosen = np.random.default_rng((seed, 1)).integers(trainings, size=(len(table), trainings - 1))
        values = np.take_along_axis(table, chosen, axis=1).mean(axis=1)
    else:
        values = table[:, 0]
    owner = draw_patients(patients, 1, seed)[1] if np.size(patients) else np.zeros(0, np.int64)
    value = float(single.mean())
    degrees = _degrees(single, values, effective(owner) - 1)
    spread = corrected(value, values, owner=owner, degrees=degrees)
    interval = interval_of(value, spread, values, owner=owner, undefined=undefined)
    return Comparison(interval, spread[~np.isnan(spread)], trainings, effect, t_quantile(degrees) / NORMAL)


def _degrees(single: Floats, values: Floats, of_patients: float) -> float:
    """Return the degrees of freedom of a variance that is the sum of those of patients and trainings.

    Reference:
        Satterthwaite, "An approximate distribution of estimates of variance components", Biometrics 1946.
    """
    whole, trainings = float(np.nanvar(values)) if np.isfinite(values).any() else 0.0, len(single)
    by_training = min(float(single.var(ddof=1)) / trainings, whole) if trainings > 1 else 0.0
    parts = [(whole - by_training, max(1.0, of_patients)), (by_training, float(max(1, trainings - 1)))]
    below = sum(part**2 / degrees for part, degrees in parts)
    return whole**2 / below if below > 0 else max(1.0, of_patients)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values of one family, in [0, 1] and in the same order, corrected by Holm's step-down rule.

    It controls the family-wise error rate.

    Example:
        >>> [round(p, 2) for p in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]

    Reference:
        Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 1979.
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(order), 0, -1)
    stepped = np.minimum(1.0, np.maximum.accumulate(np.asarray(p_values, np.float64)[order] * factors))
    corrected = np.empty(len(order))
    corrected[order] = stepped
    return [float(value) for value in corrected]


def _effect(values: Floats) -> float:
    """Return the mean difference of the images over its standard deviation, each image averaged over the seeds first.

    Reference:
        Lakens, "Calculating and reporting effect sizes ...", Frontiers in Psychology 2013, equation 6 (d_z).
    """
    known = ~np.isnan(values)
    counts = known.sum(axis=0)
    means = np.where(known, values, 0.0).sum(axis=0)[counts > 0] / counts[counts > 0]
    spread = float(means.std(ddof=1)) if len(means) > 1 else 0.0
    return float(means.mean()) / spread if spread > 1e-12 else float("nan")
