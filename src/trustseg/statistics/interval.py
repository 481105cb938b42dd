"""A value with its interval, from the values of many draws.

Percentiles of bootstrap draws are too narrow for few patients: they cover 92 % of normal means of 20 patients and
75 % of rare, heavy-tailed ones, where 95 % is meant. ``corrected`` spreads the draws so that their percentiles cover;
``wilson_interval`` serves shares. ``scripts/interval_coverage.py`` measures both.

Args:
    value: the statistic on all rows.
    values: the statistic for each draw (D,), NaN where undefined.
    owner: patient of each row (N,), whole numbers.
    undefined: rows left out.
    confidence: coverage of the interval, in (0, 1); its ends are equal-tailed.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from trustseg.errors import ConfigError

__all__ = [
    "FEW_PATIENTS",
    "NORMAL",
    "USUAL",
    "Interval",
    "corrected",
    "effective",
    "interval_of",
    "percentile_interval",
    "skewness_of",
    "t_quantile",
    "wilson_interval",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEW_PATIENTS: Final = 20  # fewer patients leave even corrected intervals too narrow
SKEWED: Final = 0.5  # larger skewness of the draws does the same, however many patients there are
_FEW_DRAWS: Final = 100
_UNDEFINED_SHARE: Final = 0.05  # more undefined draws than this, and there is no interval
NORMAL: Final = 1.959964
USUAL: Final = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its patient-bootstrap interval, of 95 % unless another confidence was asked for.

    Attributes:
        value: the statistic on all rows; NaN where undefined.
        low: lower end; NaN for one patient, or if more than 5 % of the draws leave the statistic undefined.
        high: upper end, likewise.
        count: rows used.
        patients: patients with at least one such row.
        undefined: rows left out because their value is NaN.
        undefined_draws: draws in which the statistic is undefined.
        skewness: of the draws; that of the patients' values divided by the square root of their number.
    """

    value: float
    low: float
    high: float
    count: int
    patients: int
    undefined: int = 0
    undefined_draws: int = 0
    skewness: float = 0.0

    @property
    def few_patients(self) -> bool:
        """Whether there are too few patients (fewer than 20) to trust the interval."""
        return self.patients < FEW_PATIENTS

    @property
    def warning(self) -> str:
        """Why the interval may cover less than 95 %, empty if there is no known reason."""
        if np.isnan(self.value):
            return ""
        if self.few_patients:
            return f"fewer than {FEW_PATIENTS} patients"
        return "a few patients decide the value" if abs(self.skewness) > SKEWED else ""

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


def percentile_interval(
    value: float, values: Floats, *, owner: Ints, undefined: int = 0, confidence: float = USUAL
) -> Interval:
    """Return the percentile interval of the corrected ``values`` of all draws, if enough of them are defined."""
    spread = corrected(value, values, owner=owner, confidence=confidence)
    return interval_of(value, spread, values, owner=owner, undefined=undefined, confidence=confidence)


def interval_of(
    value: float, spread: Floats, values: Floats, *, owner: Ints, undefined: int = 0, confidence: float = USUAL
) -> Interval:
    """Return the percentile interval of draws that are already corrected, ``spread``."""
    missing = int(np.isnan(values).sum())
    patients = len(np.unique(owner))
    low = high = float("nan")
    if not np.isnan(value) and missing <= _UNDEFINED_SHARE * len(values) and patients > 1:
        low, high = (float(end) for end in np.quantile(spread[~np.isnan(spread)], _tails(confidence)))
    return Interval(
        value=float(value),
        low=low,
        high=high,
        count=len(owner),
        patients=patients,
        undefined=undefined,
        undefined_draws=missing,
        skewness=skewness_of(values),
    )


def corrected(
    value: float, values: Floats, *, owner: Ints, degrees: float | None = None, confidence: float = USUAL
) -> Floats:
    """Return draws spread so that their percentiles have the stated coverage.

    The variance of draws is (n - 1) / n of what it should be, and its estimate varies: draws are spread about the value
    by sqrt(n / (n - 1)) and by the ratio of the t quantile, by default with ``effective(owner) - 1`` degrees of
    freedom, to the normal one.

    Reference:
        Hesterberg, "What teachers should know about the bootstrap", The American Statistician 2015, section 3.2.
    """
    count = len(np.unique(owner))
    if count < 2 or np.isnan(value):
        return values
    quantile = t_quantile(max(1.0, effective(owner) - 1) if degrees is None else degrees, confidence)
    normal = NORMAL if confidence == USUAL else float(stats.norm.ppf(_tails(confidence)[1]))
    return np.asarray(value + (values - value) * quantile / normal * np.sqrt(count / (count - 1)))


def wilson_interval(
    value: float, values: Floats, *, owner: Ints, undefined: int = 0, confidence: float = USUAL
) -> Interval:
    """Return the interval of a share of rows: Wilson's, for the number of independent rows that the draws imply.

    Reference:
        Wilson, JASA 1927; Korn and Graubard, "Confidence intervals for proportions with small expected number of
        positive counts estimated from survey data", Survey Methodology 1998: effective sample size and t quantile.
    """
    plain = percentile_interval(value, values, owner=owner, undefined=undefined, confidence=confidence)
    if np.isnan(plain.low):
        return plain
    count, patients = len(owner), effective(owner)
    variance = np.nanvar(values) * plain.patients / (plain.patients - 1)
    rows = min(float(count), float(value * (1 - value) / variance)) if variance > 0 else float(patients)
    quantile = t_quantile(max(1.0, patients - 1), confidence)
    part = quantile**2 / rows
    half = quantile * np.sqrt(value * (1 - value) / rows + part / (4 * rows)) / (1 + part)
    centre = (value + part / 2) / (1 + part)
    low, high = max(0.0, float(centre - half)), min(1.0, float(centre + half))
    return replace(plain, low=low, high=high, skewness=0.0)


def effective(owner: Ints) -> float:
    """Return the number of equally large patients with as much information as these: (sum n)^2 / sum n^2.

    Reference:
        Kish, "Survey Sampling", 1965, section 8.2: effective number of clusters of unequal size.
    """
    sizes = np.unique(owner, return_counts=True)[1].astype(np.float64)
    if not len(sizes):
        return 0.0
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def skewness_of(values: Floats) -> float:
    """Return the skewness of the defined draws; 0 if they do not vary, or are fewer than 100."""
    defined = values[~np.isnan(values)]
    if len(defined) < _FEW_DRAWS or (spread := float(defined.std())) <= 1e-12:
        return 0.0
    return float(np.mean((defined - defined.mean()) ** 3) / spread**3)


@lru_cache(maxsize=256)
def t_quantile(degrees: float, confidence: float = USUAL) -> float:
    """Return the upper end of the t distribution's interval: its 97.5 % quantile for a confidence of 95 %."""
    return float(stats.t.ppf(_tails(confidence)[1], degrees))


def _tails(confidence: float) -> tuple[float, float]:
    """Return the two quantiles between which an interval lies.

    Raises:
        ConfigError: if the confidence is not in (0, 1).
    """
    if confidence == USUAL:
        return 0.025, 0.975
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence is {confidence}, expected a share between 0 and 1; pass e.g. 0.95")
    return (1 - confidence) / 2, (1 + confidence) / 2
