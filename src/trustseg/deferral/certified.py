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
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from trustseg.deferral.attacked_weights import attacked_weights
from trustseg.deferral.bounds import SLACK, require_share, smallest_calibration, smallest_passing
from trustseg.deferral.policy import reviewed
from trustseg.errors import ConfigError, DataError
from trustseg.records import score_column

__all__ = [
    "CertifiedPolicy",
    "certified_bound",
    "certified_level",
    "certified_radius",
    "check_certified",
    "grey_levels",
    "patients_needed",
    "require_patients",
]


def certified_bound(level: float, *, radius: float, noise: float) -> float:
    """Return what a risk of ``level`` grows to at most under attack, Phi(Phi^-1(level) + radius / noise), in (0, 1).

    The risk is the mean of a loss in [0, 1] over Gaussian noise, images, patients, or calibration sets; ``level`` in
    (0, 1) is that without attack. ``radius`` >= 0 is the L2 norm of the largest change of an image and ``noise`` > 0
    the deviation of the noise, both in pixel units of [0, 1]; a ConfigError if a number is outside its range.

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

    ``delta`` is the chance, over calibration sets, that the risk is larger; None: the risk is a mean over them.

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
                f"delta is {delta:g} and there are {draws} draws of each image, which bound a mean; leave one out"
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


def _require_noise(*, radius: float, noise: float) -> None:
    if not (0 <= radius < math.inf and 0 < noise < math.inf):
        raise ConfigError(f"radius is {radius} and noise {noise}, expected finite numbers, radius >= 0 and noise > 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class CertifiedPolicy:
    """A frozen rule: an image goes to a human if the score of one noisy draw of it lies above the threshold.

    Attributes not listed here are those of ``Policy``.

    Attributes:
        at_most: bound on the undetected failures under attack, a share in (0, 1).
        radius: L2 norm of the largest change of each image, pixel units of [0, 1].
        noise: deviation of the Gaussian noise, same units.
        level: bound on the undetected failures without attack; see ``require_patients``.
        delta: chance, over calibration sets, that the bound is broken; None: the bound is on the mean over them.
        seed: of the noise of the calibration images; that of other images is drawn anew.
        size: side of the images that noise is added to, in pixels.
        channels: of these images.
        draws: noisy draws of each calibration image; other images have one.
        kept: share of the calibration images that are kept.
    """

    measure: str
    aggregation: str
    threshold: float
    at_most: float
    radius: float
    noise: float
    level: float
    tau: float
    delta: float | None
    seed: int
    size: int
    channels: int
    images: int
    draws: int
    patients: int
    kept: float
    patient_hashes: tuple[str, ...]
    model: str = ""
    reference_scores: tuple[float, ...] = ()

    @property
    def column(self) -> str:
        """The column of a record table that holds the score."""
        return score_column(self.measure, self.aggregation)

    @property
    def fitted(self) -> bool:
        """Always true: none is written for too few patients, see ``require_patients``."""
        return True

    @property
    def statement(self) -> str:
        """The guarantee, in words."""
        sure = "" if self.delta is None else f", with confidence {1 - self.delta:.3g},"
        over = "new patients and calibration sets" if self.delta is None else "new patients"
        return (
            f"Of a new patient's images at most {self.at_most:.3g} are{sure} expected to be kept with a Dice below "
            f"{self.tau:.3g} (mean over "
            f"{over}; {self.patients} patients for calibration), even if somebody who knows the model, this policy and "
            f"the reference masks, but not the noise, changes each image by up to {self.radius:.4g} in L2 norm before "
            f"the noise is drawn. Norms are of pixel values in [0, 1] of the {self.size} x {self.size} image that the "
            f"model sees; spread evenly, this is {grey_levels(self.radius, self.size, self.channels):.2g} of 255 grey "
            f"levels in every pixel. Each image is decided once, on one draw of Gaussian noise of deviation "
            f"{self.noise:.4g}. Without such changes the bound is {self.level:.3g}. Proof and limits: "
            "docs/certified_deferral.md"
        )

    def bound(self, radius: float) -> float:
        """Return the bound on the undetected failures under changes of another radius."""
        if self.draws == 1:
            return certified_bound(self.level, radius=radius, noise=self.noise)
        return certified_bound(self.at_most, radius=max(0.0, radius - self.radius), noise=self.noise)

    def review(self, scores: ArrayLike) -> NDArray[np.bool_]:
        """Return which images go to a human (N,), from the scores (N,) of noisy draws; a NaN score always does."""
        return reviewed(scores, self.threshold)


def grey_levels(radius: float, size: int, channels: int = 1) -> float:
    """Return how many of 255 grey levels each value of an image changes if a change of L2 norm ``radius`` is spread.

    Example:
        >>> round(grey_levels(1.5, 96), 2)
        3.98
    """
    return radius / (size * math.sqrt(channels)) * 255


def check_certified(policy: CertifiedPolicy, *, model: str, size: int, channels: int) -> None:
    """Raise a DataError if a certified policy does not fit what it is applied to.

    ``model`` is the hash of the model that predicts, which must be known; it sees images of ``size`` and ``channels``.
    """
    given = {"model": model, "size": size, "channels": channels}
    for name, here in given.items():
        if (fitted := getattr(policy, name)) != here:
            raise DataError(
                f"the certified policy was fitted for {name} {fitted or 'unknown'}, not for {here or 'unknown'} (a "
                "calibration makes another model); fit it again with 'trustseg defer certify'"
            )
