"""Numbers that finite-sample guarantees share: exact binomial bounds, and how many patients a bound needs."""

import math
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from trustseg.errors import ConfigError

__all__ = ["SLACK", "clopper_pearson", "require_share", "smallest_calibration", "smallest_passing"]

SLACK: Final = 1e-9  # so that a bound that is met exactly is not lost to rounding


def require_share(name: str, value: float, *, closed: bool = False) -> None:
    """Raise a ConfigError unless a value lies in (0, 1), or is 1 where the interval is ``closed``."""
    if not (0 < value < 1 or (closed and value == 1)):
        raise ConfigError(f"{name} is {value}, expected a share between 0 and 1; pass e.g. 0.1 for 10 %")


def clopper_pearson(failures: ArrayLike, trials: ArrayLike, *, delta: float) -> NDArray[np.float64]:
    """Return the exact upper confidence bound, at level 1 - delta, of a failure probability, (...) in [0, 1].

    ``failures`` of ``trials`` independent trials, whole numbers (...); 1 where every trial failed, or there was none.

    Example:
        >>> clopper_pearson(0, 14, delta=0.05).round(3).item()
        0.193

    Reference:
        Clopper and Pearson, "The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial",
        Biometrika 1934.
    """
    k, n = np.broadcast_arrays(np.asarray(failures, np.float64), np.asarray(trials, np.float64))
    bound = stats.beta.ppf(1 - delta, k + 1, np.where(k < n, n - k, 1.0))
    return np.where(k < n, bound, 1.0)


def smallest_passing(at_most: float, delta: float) -> int:
    """Return how many trials without a failure bring the bound 1 - delta^(1/n) down to ``at_most``."""
    return math.ceil(math.log(delta) / math.log1p(-at_most) - SLACK)


def smallest_calibration(at_most: float) -> int:
    """Return how many calibration units a bound on a mean needs at least: n >= 1 / at_most - 1."""
    return math.ceil(1 / at_most - 1 - SLACK)
