"""The threshold of a certified policy, fitted on one noisy draw of each image of a calibration set."""

import math
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trustseg.deferral.attacked_weights import attacked_weights
from trustseg.deferral.bounds import SLACK, clopper_pearson, require_share
from trustseg.deferral.certified import CertifiedPolicy, require_patients
from trustseg.deferral.fitting import CalibrationImages, calibration_images
from trustseg.deferral.policy import check_records
from trustseg.errors import DataError
from trustseg.records import score_column

__all__ = ["NOISE_CONDITION", "fit_certified_policy"]

Floats = NDArray[np.float64]

NOISE_CONDITION: Final = "noise"
"""The condition of records that are of one noisy draw of each image."""


def fit_certified_policy(
    records: pl.DataFrame,
    *,
    measure: str,
    aggregation: str,
    radius: float,
    noise: float,
    at_most: float = 0.1,
    tau: float = 0.5,
    delta: float | None = None,
    seed: int = 0,
    size: int,
    channels: int = 1,
    model: str = "",
) -> CertifiedPolicy:
    """Return the policy that keeps most images while undetected failures stay rare under every attack within a radius.

    The loss of a patient is the share of its images that are kept with a Dice below ``tau``. The threshold is the
    largest at which that is at most ``certified_level`` without attack: in expectation over calibration sets, or, with
    ``delta``, in a share 1 - delta of them. Then it is at most ``at_most`` under attack, in the same sense. Of several
    draws of each image, it is the largest at which the mean of ``attacked_weights`` is at most ``at_most``.

    Args:
        records: as for ``fit_policy``, but each image is predicted from one noisy draw of its own, of
            ``NOISE_CONDITION``. Several draws of each image, told by a column ``draw``, let attacks be accounted for
            image by image.
        radius: L2 norm of the largest change of each image, pixel units of [0, 1] at the model's size, >= 0.
        noise: deviation of the Gaussian noise that the images were predicted with, same units, > 0.
        at_most: bound on the undetected failures under attack, a share in (0, 1).
        delta: chance, over calibration sets, that the bound is broken, in (0, 1); None bounds the mean over them.
        seed: seed that the noise of these records was derived from.
        size: side of the images at which noise was added and Dice measured, in pixels.
        channels: of these images.

    Reference:
        Mean over calibration sets: Angelopoulos et al., "Conformal Risk Control", ICLR 2024, arXiv:2208.02814,
        theorem 1. With ``delta``: Bates et al., "Distribution-Free, Risk-Controlling Prediction Sets", JACM 2021,
        arXiv:2101.02703, theorem 1, with the bound of Clopper and Pearson on the patients who have any such image,
        which are at least as many as the mean share.
    """
    require_share("tau", tau, closed=True)
    column = score_column(measure, aggregation)
    check_records(records, column)
    draws = _draws(records)
    if unknown := records["dice"].null_count():
        raise DataError(f"{unknown} calibration images have no reference mask; leave them out")
    images = calibration_images(records, column, tau=tau)
    patients = len(images.counts)
    level = require_patients(patients, at_most=at_most, radius=radius, noise=noise, delta=delta, draws=draws)
    weights = attacked_weights(draws, radius=radius, noise=noise) if draws > 1 else np.array([0.0, 1.0])
    threshold = _threshold(images, weights, level=level) if delta is None else _confident(images, level, delta=delta)
    return CertifiedPolicy(
        measure=measure,
        aggregation=aggregation,
        threshold=threshold,
        at_most=at_most,
        radius=radius,
        noise=noise,
        level=level,
        tau=tau,
        delta=delta,
        seed=seed,
        size=size,
        channels=channels,
        images=len(records) // draws,
        draws=draws,
        patients=patients,
        kept=float(np.mean(images.scores <= threshold)),
        patient_hashes=images.hashes,
        model=model,
        reference_scores=images.reference,
    )


def _draws(records: pl.DataFrame) -> int:
    if set(records["condition"].to_list()) != {NOISE_CONDITION}:
        raise DataError("a certified policy is fitted on noisy draws of images; use 'trustseg defer certify'")
    number = records["draw"] if "draw" in records.columns else pl.Series("draw", [0] * len(records))
    counts = records.select("image").with_columns(number).group_by("image").agg(pl.len(), pl.n_unique("draw"))
    if counts["len"].n_unique() > 1 or not (counts["len"] == counts["draw"]).all():
        raise DataError("calibration images are repeated without a draw of their own, or have unequal numbers of draws")
    return int(counts["len"][0])


def _threshold(images: CalibrationImages, weights: Floats, *, level: float) -> float:
    """Return the largest score that may be kept so that the mean loss of patients is at most ``level``.

    The loss of keeping scores *below* t is continuous from the left in t, as the theorems ask for, so that t is the
    first failing score that must not be kept, and the threshold the largest number below it; infinite if all may be.
    An image of which k draws are kept and fail counts weights[k].
    """
    order = np.lexsort((images.scores[images.failed], images.images[images.failed]))
    failing, own = images.scores[images.failed][order], images.images[images.failed][order]
    earlier = np.arange(len(own)) - np.searchsorted(own, own)  # draws of the same image that fail at a lower score
    share = 1 / images.counts[images.patients[images.failed][order]]
    values, place = np.unique(failing, return_inverse=True)
    patients = len(images.counts)
    losses = patients * weights[0] + np.bincount(place, np.diff(weights)[earlier] * share, len(values)).cumsum()
    return _before(values, losses + 1 > level * (patients + 1) + SLACK)


def _confident(images: CalibrationImages, level: float, *, delta: float) -> float:
    """Return that at which the upper confidence bound on patients with any undetected failure is at most ``level``."""
    first = np.full(len(images.counts), math.inf)
    np.minimum.at(first, images.patients[images.failed], images.scores[images.failed])
    values = np.sort(first[first < math.inf])
    failures = np.searchsorted(values, values, side="right")
    return _before(values, clopper_pearson(failures, np.full(len(values), len(first)), delta=delta) > level)


def _before(values: Floats, over: NDArray[np.bool_]) -> float:
    """Return the largest number below the first of the rising values that is too much."""
    return float(np.nextafter(values[over.argmax()], -math.inf)) if over.any() else math.inf
