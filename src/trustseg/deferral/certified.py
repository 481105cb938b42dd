"""Deferral that is certified against attack: a policy that decides on one noisy draw, calibrated at a stricter level.

Gaussian noise of deviation s is added to an image once, and the noisy image is predicted, scored, and kept or sent to a
human. Whatever changes the image by at most r in L2 norm before the noise is drawn raises the chance g of a failure
that is kept to at most Phi(Phi^-1(g) + r / s). That is concave in g, so that it bounds means over patients and over
calibration sets too. ``docs/certified_deferral.md`` has the proof, and what is not covered.

Reference:
    Cohen et al., "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019, arXiv:1902.02918, theorem 1;
    Salman et al., "Provably Robust Deep Learning via Adversarially Trained Smoothed Classifiers", NeurIPS 2019,
    arXiv:1906.04584, lemma 2, for functions with values in [0, 1]. One draw and the mean over patients: as "RCP1",
    NeurIPS 2025, arXiv:2506.16553, for prediction sets.
"""

import math

from scipy.special import ndtr, ndtri

from trustseg.deferral.attacked_weights import attacked_weights
from trustseg.deferral.conformal import SLACK, smallest_calibration
from trustseg.deferral.fitting import smallest_passing
from trustseg.errors import ConfigError, DataError

__all__ = [
    "certified_bound",
    "certified_level",
    "certified_radius",
    "patients_needed",
    "require_patients",
    "require_share",
]


def certified_bound(level: float, *, radius: float, noise: float) -> float:
    """Return what a risk of ``level`` grows to at most under attack, Phi(Phi^-1(level) + radius / noise), in (0, 1).

    The risk is the mean of a loss in [0, 1] over Gaussian noise, images, patients, or calibration sets.

    Args:
        level: the risk without attack, in (0, 1).
        radius: L2 norm of the largest change of an image, pixel units of [0, 1], >= 0.
        noise: deviation of the noise, same units, > 0.

    Raises:
        ConfigError: if a number is outside its range.

    Example:
        >>> round(certified_bound(0.0628, radius=0.125, noise=0.5), 3)
        0.1
    """
    require_share("level", level)
    _require_noise(radius=radius, noise=noise)
    return float(ndtr(ndtri(level) + radius / noise))


def certified_level(at_most: float, *, radius: float, noise: float) -> float:
    """Return the risk without attack that keeps a bound under attack: the inverse of ``certified_bound``, in (0, 1).

    Example:
        >>> [round(certified_level(0.1, radius=radius, noise=1.0), 4) for radius in (0.25, 0.5, 1.0)]
        [0.0628, 0.0374, 0.0113]
    """
    require_share("at_most", at_most)
    _require_noise(radius=radius, noise=noise)
    level = float(ndtr(ndtri(at_most) - radius / noise))
    if not level > 0:
        raise ConfigError(
            f"radius {radius:g} is {radius / noise:.3g} times the noise of {noise:g}, so that no risk is small enough; "
            "take a smaller radius or more noise"
        )
    return level


def certified_radius(level: float, at_most: float, *, noise: float) -> float:
    """Return the largest radius up to which a risk of ``level`` stays within ``at_most``; negative if it is above.

    Example:
        >>> round(certified_radius(0.0628, 0.1, noise=0.5), 3)
        0.125
    """
    require_share("level", level)
    require_share("at_most", at_most)
    _require_noise(radius=0.0, noise=noise)
    return noise * float(ndtri(at_most) - ndtri(level))


def patients_needed(level: float, *, delta: float | None = None) -> int:
    """Return how many calibration patients it takes to keep any image at a risk of at most ``level``.

    Args:
        level: see ``certified_level``.
        delta: chance, over calibration sets, that the risk is larger; None: the risk is a mean over them.

    Example:
        >>> [patients_needed(certified_level(0.1, radius=r, noise=1.0)) for r in (0.25, 0.5, 1.0)]
        [15, 26, 88]
    """
    return smallest_calibration(level) if delta is None else smallest_passing(level, delta)


def require_patients(
    patients: int, *, at_most: float, radius: float, noise: float, delta: float | None, draws: int = 1
) -> float:
    """Return the bound on the risk without attack, after checking that there are enough patients.

    With one draw of each calibration image that is ``certified_level``; with several, attacks are accounted for image
    by image (``attacked_weights``) and it is ``at_most`` itself.

    Raises:
        ConfigError: if a number is outside its range, delta is combined with several draws, or draws are too few.
        DataError: if there are fewer patients than needed.
    """
    if delta is not None:
        require_share("delta", delta)
        if draws > 1:
            raise ConfigError(
                f"delta is {delta:g} and there are {draws} draws of each image; several draws bound the mean over "
                "calibration sets: leave one of the two out"
            )
    level = certified_level(at_most, radius=radius, noise=noise)
    needed, takes = patients_needed(level, delta=delta), f"which takes a risk of {level:.3g} without attack"
    if draws > 1:
        least = float(attacked_weights(draws, radius=radius, noise=noise)[0])
        if least >= at_most:
            raise ConfigError(
                f"an image without a failure in {draws} draws may still fail with chance {least:.3g} under attack, "
                f"more than the bound of {at_most:g}; take more draws or a smaller radius"
            )
        level, takes = at_most, f"with {draws} draws of each image"
        needed = math.ceil((1 - at_most) / (at_most - least) - SLACK)
    if patients < needed:
        raise DataError(
            f"there are {patients} calibration patients, at least {needed} are needed for a bound of {at_most:g} at "
            f"radius {radius:g} with noise {noise:g}, {takes}; add patients, or take a smaller radius, more noise, a "
            "larger bound or more draws"
        )
    return level


def require_share(name: str, value: float, *, closed: bool = False) -> None:
    """Raise a ConfigError unless a value lies in (0, 1), or is 1 where the interval is ``closed``."""
    if not (0 < value < 1 or (closed and value == 1)):
        raise ConfigError(f"{name} is {value}, expected a share between 0 and 1; pass e.g. 0.1 for 10 %")


def _require_noise(*, radius: float, noise: float) -> None:
    if not (0 <= radius < math.inf and 0 < noise < math.inf):
        raise ConfigError(
            f"radius is {radius} and noise {noise}, expected a radius of at least 0 and a noise above 0, both finite, "
            "in pixel units of [0, 1]"
        )
