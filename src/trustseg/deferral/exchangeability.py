"""Tests of whether new images look like those that a policy was fitted on, without which no guarantee holds.

Two tests of the same null hypothesis, that the scores of new patients and of calibration patients are exchangeable. A
conformal test martingale bets against it image by image, so that it may be watched as they arrive; a two-sample test
looks at all at once, and may look only once. A false alarm of either is at most as likely as promised.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from trustseg.deferral.policy import HOLDS, VOID, Policy
from trustseg.errors import ConfigError, ShapeError
from trustseg.tables import floats_of

__all__ = [
    "FEWEST",
    "Exchangeability",
    "compared_decisions",
    "compared_scores",
    "conformal_p_values",
    "differs_by_now",
    "exchangeability_of",
    "log_martingale",
    "one_per_patient",
]

Floats = NDArray[np.float64]

FEWEST: Final = 10
"""New patients from which on they are compared."""

_BETS = np.array([-1.0, 0.0, 1.0])
_JUMP = 0.01


class Exchangeability(NamedTuple):
    """What the tests found.

    Attributes:
        patients: new patients, one score of each.
        reference: calibration patients, one score of each.
        martingale: the largest capital that the bets reached, from 1.
        p_value: of the two-sample test.
        differs: whether one of the two raises the alarm.
        alarm: the largest chance of a false alarm.
    """

    patients: int
    reference: int
    martingale: float
    p_value: float
    differs: bool
    alarm: float

    def finding(self, condition: str = "") -> str:
        """Return what was found, without a full stop, and under which condition the chance of a false alarm holds."""
        found = (
            f"martingale {self.martingale:.3g}, alarm from {2 / self.alarm:g}; two-sample p = {self.p_value:.2g}, "
            f"alarm up to {self.alarm / 2:g}"
        )
        chance = f"chance of a false alarm at most {self.alarm:g}{condition and f' {condition}'}"
        sizes = f"{self.patients} new", f"{self.reference} calibration patients"
        start = f"The scores of {sizes[0]} patients differ from those of {sizes[1]}"
        if not self.differs:
            start = f"No difference found between the scores of {sizes[0]} and {sizes[1]}"
        return f"{start} ({found}; {chance})"

    def statement(self, condition: str = "") -> str:
        """Return what was found, and what follows for an ordinary policy; ``condition`` as in ``finding``."""
        follows = ": the guarantee is void." if self.differs else ". This does not prove that they are exchangeable."
        return f"{self.finding(condition)}{follows}"


def exchangeability_of(
    reference: ArrayLike, scores: ArrayLike, *, alarm: float = 0.05, seed: int = 0
) -> Exchangeability:
    """Return whether new scores (M,) differ from those (N,) of calibration patients, in their order of arrival.

    Alarm is raised if the martingale reaches 2 / alarm or the two-sample test has a p-value of at most alarm / 2.

    Scores are one of each patient, without NaN, and the order of new ones may not depend on them. ``alarm`` is the
    largest chance of a false alarm, in (0, 1), and ``seed`` that of the random numbers that break ties.

    Reference:
        Vovk et al., "Retrain or Not Retrain: Conformal Test Martingales for Change-Point Detection", COPA 2021,
        arXiv:2102.10439, sections 2 and 3 (simple jumper), with Ville's inequality. Deviation: half of the capital is
        put on |2 p - 1|, which sees scores that spread or crowd without moving. Two samples: Kolmogorov-Smirnov.
    """
    if not 0 < alarm < 1:
        raise ConfigError(f"alarm is {alarm}, expected a share between 0 and 1; pass e.g. 0.05")
    known, new = np.asarray(reference, np.float64), np.asarray(scores, np.float64)
    if not (known.size and new.size) or np.isnan(known).any() or np.isnan(new).any():
        raise ShapeError("expected scores on both sides, none of them NaN")
    highest = _highest_capital(known, new, seed)
    p_value = float(stats.ks_2samp(known, new).pvalue)
    differs = highest >= math.log(2 / alarm) or p_value <= alarm / 2
    return Exchangeability(len(new), len(known), math.exp(min(highest, 700.0)), p_value, differs, alarm)


def _highest_capital(reference: Floats, scores: Floats, seed: int) -> float:
    """Return the logarithm of the largest capital that the bets reached, at least 0, that of the start."""
    p = conformal_p_values(reference, scores, seed=seed)
    capital = np.logaddexp(log_martingale(p), log_martingale(np.abs(2 * p - 1))) - math.log(2)
    return max(0.0, float(capital.max()))


def conformal_p_values(reference: ArrayLike, scores: ArrayLike, *, seed: int = 0) -> Floats:
    """Return the smoothed conformal p-value (M,) of each new score among the reference and all new ones before it.

    p = (scores above + U (scores equal, itself among them)) / n, U uniform. Independent and uniform on [0, 1] if all
    are exchangeable.
    """
    bag = np.sort(np.asarray(reference, np.float64))
    new = np.asarray(scores, np.float64)
    p, ties = np.empty(len(new)), np.random.default_rng(seed).random(len(new))
    for number, score in enumerate(new):
        low, high = np.searchsorted(bag, score, side="left"), np.searchsorted(bag, score, side="right")
        above, equal = len(bag) - high, high - low + 1
        p[number] = (above + ties[number] * equal) / (len(bag) + 1)
        bag = np.insert(bag, high, score)
    return p


def log_martingale(p_values: ArrayLike) -> Floats:
    """Return the logarithm of the simple jumper's capital after each p-value, (M,).

    Three gamblers start with a third each and bet 1 + e (p - 1/2), e = -1, 0, 1; before each bet, 1 % of the capital
    is shared out evenly.

    Example:
        >>> log_martingale([0.5, 0.5]).tolist()
        [0.0, 0.0]
    """
    shares, total = np.full(3, 1 / 3), 0.0
    found = []
    for p in np.asarray(p_values, np.float64):
        shares = ((1 - _JUMP) * shares + _JUMP / 3) * (1 + _BETS * (p - 0.5))
        gain = float(shares.sum())
        total += math.log(gain)
        shares = shares / gain
        found.append(total)
    return np.array(found)


def one_per_patient(records: pl.DataFrame, column: str) -> Floats:
    """Return the score of one image of each patient, in the order of the patients: which one, a hash of its name says.

    Images of a patient are alike, so that together they would look different from others by themselves. NaN are left
    out.
    """
    scored = records.with_columns(
        pl.Series("_score", floats_of(records, column)),
        pl.Series("_lot", [hashlib.sha256(str(name).encode()).hexdigest() for name in records["image"]]),
    )
    own = scored.filter(pl.col("_score").is_not_nan()).group_by("patient", maintain_order=True)
    drawn = own.agg(pl.col("_score").sort_by("_lot").first())
    scores: Floats = np.clip(drawn["_score"].to_numpy(), -1e300, 1e300)  # JSON has no infinity
    return scores


def compared_scores(reference: Sequence[float], scores: ArrayLike) -> Exchangeability | None:
    """Return how scores (M,) of new patients, NaN left out, compare with the ``reference_scores`` of a policy.

    They are taken in an order drawn at random, as that of files in a folder tells nothing of arrival. None if the
    policy holds no scores to compare with (of an older version), or there are fewer than ``FEWEST`` new ones, which
    could only raise false alarms.
    """
    values = np.asarray(scores, np.float64)
    new = np.random.default_rng(0).permutation(values[~np.isnan(values)])
    return exchangeability_of(reference, new) if reference and len(new) >= FEWEST else None


def differs_by_now(reference: Sequence[float], scores: ArrayLike) -> bool | None:
    """Return whether scores (M,) in order of arrival, NaN left out, have raised the alarm at any time until now.

    It may be asked after every score: that the martingale ever reaches 20 has a chance of at most 0.05 (Ville's
    inequality). None as for ``compared_scores``.
    """
    values = np.asarray(scores, np.float64)
    new = values[~np.isnan(values)]
    if not reference or len(new) < FEWEST:
        return None
    return _highest_capital(np.asarray(reference, np.float64), new, seed=0) >= math.log(20)


def compared_decisions(policy: Policy, decided: pl.DataFrame) -> tuple[pl.DataFrame, Exchangeability | None]:
    """Return decisions of ``apply_policy``, all void if new clean patients differ, and what the comparison found."""
    new = decided.filter(pl.col("guarantee") == HOLDS)
    found = compared_scores(policy.reference_scores, one_per_patient(new, policy.column))
    different = found is not None and found.differs
    return decided.with_columns(guarantee=pl.lit(VOID)) if different else decided, found
