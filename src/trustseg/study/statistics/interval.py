"""A value with its interval, and how an interval comes from the values of many draws."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEW_PATIENTS", "Interval", "percentile_interval"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEW_PATIENTS: Final = 20  # below this a percentile interval is known to be too narrow
_UNDEFINED_SHARE: Final = 0.05  # more undefined draws than this, and there is no interval


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


def percentile_interval(value: float, values: Floats, *, owner: Ints, undefined: int = 0) -> Interval:
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
