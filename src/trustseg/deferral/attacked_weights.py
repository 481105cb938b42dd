"""What an image counts, by how many of its noisy draws are undetected failures, so that attacks are accounted for.

If k of m draws of an image are undetected failures, their chance g is known only through k, and h(k / m), h as in
``certified_bound``, is too small on average because h is concave. The weights u(0) <= ... <= u(m) are chosen so that
E u(k) >= h(g) whatever g is: their mean over images bounds the risk under the worst attack, image by image.
"""

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.special import ndtr, ndtri
from scipy.stats import binom

from trustseg.errors import ConfigError

__all__ = ["MOST_DRAWS", "attacked_weights"]

Floats = NDArray[np.float64]

MOST_DRAWS: Final = 256

_POINTS: Final = 1000
_NEVER: Final = (
    0.7  # the weights are cheapest where this share of images never fails and other chances are spread evenly
)


@cache
def attacked_weights(draws: int, *, radius: float, noise: float) -> Floats:
    """Return u(0), ..., u(m), rising, (m + 1,) in [0, 1]: for every g, E u(k) >= Phi(Phi^-1(g) + radius / noise).

    k is binomial with m trials of chance g. Found by linear programming on a grid of g; between two points both sides
    rise with g, so that the left end of E u(k) is held against the right end of the bound, and nothing is left out.

    Args:
        draws: m, from 1 to ``MOST_DRAWS``.
        radius: L2 norm of the largest change of an image.
        noise: deviation of the noise.

    Example:
        >>> weights = attacked_weights(16, radius=0.125, noise=0.25)
        >>> weights.round(3)[[0, 1, 2, 16]].tolist()
        [0.001, 0.263, 0.263, 1.0]
    """
    if not 1 <= draws <= MOST_DRAWS:
        raise ConfigError(f"draws is {draws}, expected 1 to {MOST_DRAWS}")
    chances = np.r_[0.0, ndtr(np.linspace(-6.0, 6.0, _POINTS)), 1.0]
    failing = binom.pmf(np.arange(draws + 1), draws, chances[:-1, None])  # (points, m + 1)
    bound = ndtr(ndtri(chances[1:]) + radius / noise)
    rising = np.eye(draws, draws + 1) - np.eye(draws, draws + 1, k=1)
    cost = np.full(draws + 1, (1 - _NEVER) / (draws + 1))
    cost[0] += _NEVER
    found = linprog(
        cost, A_ub=np.vstack([-failing, rising]), b_ub=np.r_[-bound, np.zeros(draws)], bounds=(0, 1), method="highs"
    )
    weights: Floats = np.maximum.accumulate(np.clip(found.x, 0.0, 1.0))
    weights[-1] = 1.0
    for _ in range(20):  # the solver keeps its constraints up to a tolerance; here they are kept
        short = float((bound - failing @ weights).max())
        if short <= 0:
            break
        weights = np.minimum(weights + 2 * short + 1e-12, 1.0)
    weights.setflags(write=False)
    return weights
