"""Weights of images by how many of their noisy draws are undetected failures, so that attacks are accounted for.

If k of m draws of an image are undetected failures, their chance g is known only through k, and h(k / m), h as in
``certified_bound``, is too small on average because h is concave. The weights u(0) <= ... <= u(m) are chosen so that
E u(k) >= h(g) whatever g is: their mean over images bounds the risk under the worst attack, image by image.
"""

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.special import ndtr
from scipy.stats import binom, hypergeom

from trustseg.errors import ConfigError

__all__ = ["MOST_DRAWS", "attacked_weights"]

Floats = NDArray[np.float64]

MOST_DRAWS: Final = 256

_NEVER: Final = (
    0.7  # the weights are cheapest where this share of images never fails and other chances are spread evenly
)
_LARGEST_RATIO: Final = 10.0  # of radius to noise, beyond which no number of draws gives weights much below 1
_SAFETY: Final = 1e-9  # relative, for rounding


@cache
def attacked_weights(draws: int, *, radius: float, noise: float) -> Floats:
    """Return u(0), ..., u(m), rising, (m + 1,) in [0, 1]: for every g, E u(k) >= Phi(Phi^-1(g) + radius / noise).

    k is binomial with m trials of chance g. Linear programming proposes weights; what it proposes is then made to hold
    (``_made_to_hold``), whatever tolerance the solver has. Where the radius is far above the noise all weights are 1.

    ``draws`` is m, from 1 to ``MOST_DRAWS``, ``radius`` the L2 norm of the largest change of an image, and ``noise``
    the deviation of the noise.

    Example:
        >>> weights = attacked_weights(16, radius=0.125, noise=0.25)
        >>> weights.round(1)[[0, 1, 2, 16]].tolist()
        [0.0, 0.3, 0.3, 1.0]
    """
    if not 1 <= draws <= MOST_DRAWS:
        raise ConfigError(f"draws is {draws}, expected 1 to {MOST_DRAWS}")
    ratio = radius / noise
    if ratio == 0:
        weights = np.arange(draws + 1) / draws  # E k / m = g
    elif ratio > _LARGEST_RATIO:
        weights = np.ones(draws + 1)
    else:
        weights = 1 - _made_to_hold(_proposed(draws, ratio), ratio)
    weights.setflags(write=False)
    return weights


def _proposed(draws: int, ratio: float) -> Floats:
    """Return 1 - u, falling, (m + 1,), by a linear program in which 0 is always feasible.

    Where the solver fails whatever its grid and options, the weights are those of half of the draws, chosen by chance.
    """
    if draws == 1:
        return np.zeros(2)
    falling = np.eye(draws, draws + 1, k=1) - np.eye(draws, draws + 1)
    gain = np.full(draws + 1, (1 - _NEVER) / (draws + 1))
    gain[0] += _NEVER
    for points, presolve in ((1000, True), (1000, False), (400, True), (400, False)):
        failing, room = _sides(draws, np.linspace(-6.0, 6.0, points), ratio)
        limits = np.vstack([failing, falling]), np.r_[room, np.zeros(draws)]
        options = {"presolve": presolve}
        found = linprog(-gain, A_ub=limits[0], b_ub=limits[1], bounds=(0, 1), method="highs", options=options)
        if found.status == 0:
            return np.minimum.accumulate(np.clip(found.x, 0.0, 1.0))
    half = draws // 2
    chosen = hypergeom.pmf(np.arange(half + 1), draws, np.arange(draws + 1)[:, None], half)
    return np.asarray(chosen @ _proposed(half, ratio), np.float64)


def _made_to_hold(complement: Floats, ratio: float) -> Floats:
    """Return 1 - u made smaller until E (1 - u(k)) <= 1 - Phi(Phi^-1(g) + ratio) for every g.

    Some of the last values become 0 and the others are multiplied by one factor, the largest that a fine grid of g
    allows; how many become 0 is chosen by the cost. Both sides fall with g, so that between two points the left end of
    the one is held against the right end of the other. At least u(m - 1) = u(m) = 1, so that beyond the grid, where
    1 - g < 1e-150, the one falls with the square of 1 - g and the other more slowly.
    """
    draws = len(complement) - 1
    if draws == 1 or complement[0] == 0:
        return np.zeros(draws + 1)
    z = np.r_[np.linspace(-30, -8, 200), np.linspace(-8, 8, 3201)[1:], np.linspace(8, 37 - ratio, 2000)[1:]]
    failing, room = _sides(draws, z, ratio)
    spent = np.add.accumulate(failing * complement, axis=1)  # if only the first k + 1 values are kept
    with np.errstate(divide="ignore", over="ignore"):
        factors = (room[:, None] / spent).min(axis=0) * (1 - _SAFETY)
    factors = np.minimum(factors, 1 / complement[0])
    value = _NEVER * complement[0] + (1 - _NEVER) * np.add.accumulate(complement) / (draws + 1)
    kept = int(np.argmax((factors * value)[: draws - 1]))
    return np.where(np.arange(draws + 1) <= kept, complement * factors[kept], 0.0)


def _sides(draws: int, z: Floats, ratio: float) -> tuple[Floats, Floats]:
    """Return the chances of k, (points, m + 1), at 0 and each Phi(z), and 1 - Phi(z + ratio) at the next, (points,).

    The last point has no next one.
    """
    chances = binom.pmf(np.arange(draws + 1), draws, np.r_[0.0, ndtr(z[z <= 0])][:, None])
    rest = binom.pmf(np.arange(draws, -1, -1), draws, ndtr(-z[z > 0])[:, None])  # by 1 - g, which is exact near 1
    return np.vstack([chances, rest])[:-1], ndtr(-(z + ratio))
