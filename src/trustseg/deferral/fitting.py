"""Thresholds with finite-sample guarantees: conformal for reviews, fixed-sequence testing for failures.

The unit is a patient: images of one patient are alike, and only patients can be exchangeable.
"""

import math
from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trustseg.deferral.bounds import SLACK, clopper_pearson, require_share, smallest_calibration, smallest_passing
from trustseg.deferral.exchangeability import one_per_patient
from trustseg.deferral.policy import Policy, Target, check_records, hash_of, in_group
from trustseg.errors import DataError, unknown_name
from trustseg.records import score_column
from trustseg.tables import floats_of
from trustseg.text import plural

__all__ = ["TARGETS", "CalibrationImages", "calibration_images", "fit_policy"]

Floats = NDArray[np.float64]

_STEPS_PER_OCTAVE: Final = 1024
_FIRST_SHARE: Final = 0.25  # testing of the risk starts where this share of the patients is kept


class Fit(NamedTuple):
    """A threshold and the sentence that states its guarantee."""

    threshold: float
    statement: str


class CalibrationImages(NamedTuple):
    """What a threshold is fitted on, and what a policy keeps of it.

    Attributes:
        scores: of each image, or of each noisy draw of one, (N,); the next four are (N,), too.
        failed: whether its Dice is below ``tau``.
        positive: whether it has foreground.
        patients: its patient, from 0 to P - 1.
        images: its image, from 0.
        counts: images of each patient (P,).
        hashes: ``hash_of`` each patient, sorted.
        reference: score of one image of each patient, sorted.
    """

    scores: Floats
    failed: NDArray[np.bool_]
    positive: NDArray[np.bool_]
    patients: NDArray[np.intp]
    images: NDArray[np.intp]
    counts: NDArray[np.intp]
    hashes: tuple[str, ...]
    reference: tuple[float, ...]


class _FitTarget(Protocol):
    def __call__(self, images: CalibrationImages, /, *, at_most: float, tau: float, delta: float) -> Fit: ...


def fit_policy(
    records: pl.DataFrame,
    *,
    measure: str,
    aggregation: str,
    target: Target = "review_rate",
    at_most: float = 0.2,
    tau: float = 0.5,
    delta: float = 0.05,
    model: str = "",
    group: str = "",
) -> Policy:
    """Return the policy that keeps most images within a bound, fitted on the clean images of a calibration split.

    Where no threshold is known to keep the bound on ``risk`` or ``missed_lesions`` the policy reviews everything; where
    there are too few patients for the bound on ``review_rate`` it reviews nothing. Its ``statement`` says so. A
    DataError if the records lack a column, clean images or the subgroup, a score is NaN, or no patient has foreground
    where ``missed_lesions`` is the target.

    Args:
        records: records of patients that the model was not trained on; rows of other conditions are not read.
        measure: pixel measure of uncertainty.
        aggregation: map to image score; both chosen before looking at these records.
        target: what to bound. ``review_rate``: the expected share of a new patient's images that are reviewed.
            ``risk``: the chance that a patient with a kept image has a kept one with a Dice below ``tau``.
            ``missed_lesions``: the chance that a patient with foreground has a kept image with foreground and a Dice
            below ``tau``, which it is where nothing is predicted.
        at_most: the bound, in (0, 1).
        tau: a segmentation with a Dice below it has failed, in (0, 1]; where reference and prediction are both empty
            it has not.
        delta: chance, over calibration splits, that the bound on ``risk`` or ``missed_lesions`` is broken, in (0, 1).
        group: ``COLUMN=VALUE`` of the manifest, to fit on the images of one subgroup and for them alone, so that the
            bound holds in each subgroup instead of on average over all (Mondrian calibration).

    Example:
        >>> records = pl.DataFrame({"image": list("abcd"), "patient": list("abcd"), "condition": "clean", "eps": 0.0,
        ...     "dice": 0.9, "mask_px": 9, "predicted_px": 9, "u_entropy_mean": [0.4, 0.1, 0.3, 0.2]})
        >>> fit_policy(records, measure="entropy", aggregation="mean", at_most=0.4).threshold
        0.3

    Reference:
        ``review_rate``: Angelopoulos et al., "Conformal Risk Control", ICLR 2024, arXiv:2208.02814, section 2; with one
        image per patient it is the split-conformal quantile. The others: Angelopoulos et al., "Learn then Test",
        arXiv:2110.01052, section 2.3, with ``clopper_pearson``.
        Deviation: testing of ``risk`` starts where a quarter of the patients is kept, so that there is something to
        test on; this keeps ``delta`` if the risk does not fall as less sure images are kept.
        Subgroups: Vovk, "Conditional Validity of Inductive Conformal Predictors", ACML 2012, section 3.
    """
    require_share("at_most", at_most)
    require_share("tau", tau, closed=True)
    require_share("delta", delta)
    if target not in TARGETS:
        raise unknown_name("target", target, TARGETS)
    column = score_column(measure, aggregation)
    check_records(records, column)
    clean = records.filter(pl.col("condition") == "clean")
    if not len(clean):
        raise DataError("the records hold no clean image; evaluate again")
    images = calibration_images(clean.filter(in_group(clean, group)), column, tau=tau)
    threshold, statement = TARGETS[target](images, at_most=at_most, tau=tau, delta=delta)
    if len(np.unique(images.scores)) == 1:
        statement += " All scores are equal: this score cannot tell images apart."
    return Policy(
        measure=measure,
        aggregation=aggregation,
        threshold=threshold,
        target=target,
        at_most=at_most,
        tau=tau,
        delta=delta,
        images=len(images.scores),
        patients=len(images.counts),
        patient_hashes=images.hashes,
        model=model,
        statement=f"Only for images with {group}: {statement}" if group else statement,
        reference_scores=images.reference,
        group=group,
    )


def calibration_images(records: pl.DataFrame, column: str, *, tau: float) -> CalibrationImages:
    """Return what a threshold of the score in a column is fitted on; a DataError if an image has no score."""
    scores = floats_of(records, column)
    if undefined := int(np.isnan(scores).sum()):
        raise DataError(
            f"{undefined} calibration images have no {column.removeprefix('u_')}; choose another measure, or check the "
            "model for NaN"
        )
    names, patients = np.unique(records["patient"].cast(pl.String).to_numpy(), return_inverse=True)
    single = records.unique(["patient", "image"], keep="first", maintain_order=True)
    _, first, images = np.unique(records["image"].cast(pl.String).to_numpy(), return_index=True, return_inverse=True)
    return CalibrationImages(
        scores,
        # Dice is 0 where nothing of a lesion is predicted. NaN is not below tau: nothing there, predicted, or wrong.
        failed=records["dice"].cast(pl.Float64).to_numpy() < tau,
        positive=records["mask_px"].to_numpy() > 0,
        patients=patients,
        images=images,
        counts=np.bincount(patients[first]),
        hashes=tuple(sorted(map(hash_of, names.tolist()))),
        reference=tuple(sorted(one_per_patient(single, column).tolist())),
    )


def _fit_review_rate(images: CalibrationImages, /, *, at_most: float, tau: float, delta: float) -> Fit:
    patients = len(images.counts)
    needed = smallest_calibration(at_most)
    if patients < needed:
        return Fit(
            math.inf,
            f"Nothing is reviewed: a review rate of at most {at_most:.3g} can only be guaranteed with at least "
            f"{needed} calibration patients, and there are {patients}.",
        )
    weights = 1 / np.bincount(images.patients)[images.patients]
    candidates, place = np.unique(images.scores, return_inverse=True)
    above = patients - np.bincount(place, weights).cumsum()  # summed share of images above each candidate
    within = above + 1 <= at_most * (patients + 1) + SLACK
    return Fit(
        float(candidates[within.argmax()]),
        f"At most {100 * at_most:.3g} % of a new patient's images are expected to be reviewed (mean over patients, "
        f"{plural(patients, 'patient')} for calibration).",
    )


def _fit_risk(images: CalibrationImages, /, *, at_most: float, tau: float, delta: float) -> Fit:
    grid = np.unique(_marks(images.scores))
    kept = _patients_kept(images, np.ones_like(images.failed), grid)
    failures = _patients_kept(images, images.failed, grid)
    patients = int(kept[-1])
    start = max(smallest_passing(at_most, delta), math.ceil(_FIRST_SHARE * patients))
    return _fixed_sequence(
        grid,
        failures,
        kept,
        start=start,
        at_most=at_most,
        delta=delta,
        promise=f"the share of patients kept for whom a kept segmentation has a Dice below {tau:.3g}",
        counted=plural(patients, "patient"),
    )


def _fit_missed_lesions(images: CalibrationImages, /, *, at_most: float, tau: float, delta: float) -> Fit:
    positive = len(np.unique(images.patients[images.positive]))
    if not positive:
        raise DataError("no calibration image has foreground; use another target")
    grid = np.unique(_marks(images.scores))
    return _fixed_sequence(
        grid,
        _patients_kept(images, images.failed & images.positive, grid),
        np.full(len(grid), positive),
        start=smallest_passing(at_most, delta),
        at_most=at_most,
        delta=delta,
        promise=f"the share of patients whose lesion is missed (Dice below {tau:.3g}) and not reviewed",
        counted=f"{plural(positive, 'patient')} with foreground",
    )


def _fixed_sequence(
    grid: Floats,
    failures: NDArray[np.intp],
    trials: NDArray[np.intp],
    *,
    start: int,
    at_most: float,
    delta: float,
    promise: str,
    counted: str,
) -> Fit:
    """Return the last threshold whose bound, and that of every one tested before it, is at most ``at_most``."""
    tested = trials >= start
    passed = clopper_pearson(failures, trials, delta=delta) <= at_most
    first = int(tested.argmax())
    run = int(np.logical_and.accumulate(passed[first:]).sum()) if tested.any() else 0
    if run == 0:
        least = smallest_passing(at_most, delta)
        few = f"; at least {least} are needed" if trials[-1] < least else ""
        return Fit(
            -math.inf,
            f"Everything is reviewed: on {counted} no threshold keeps {promise} at most {at_most:.3g} with confidence "
            f"{1 - delta:.3g}{few}.",
        )
    return Fit(
        float(grid[first + run - 1]),
        f"With confidence {1 - delta:.3g}, {promise} is at most {at_most:.3g} ({counted} for calibration).",
    )


def _patients_kept(images: CalibrationImages, flag: NDArray[np.bool_], grid: Floats) -> NDArray[np.intp]:
    """Return how many patients have a flagged image kept at each threshold of the grid (G,), rising."""
    first = np.full(len(images.counts), math.inf)
    np.minimum.at(first, images.patients[flag], _marks(images.scores[flag]))
    ever = np.sort(first[np.unique(images.patients[flag])])
    return np.searchsorted(ever, grid, side="right")


def _marks(scores: Floats) -> Floats:
    """Return the mark at or above each score, of a scale of 1024 marks per octave that does not depend on the data."""
    mantissa, exponent = np.frexp(scores)  # mantissa in [1/2, 1), an octave
    marks: Floats = np.ldexp(np.ceil(mantissa * 2 * _STEPS_PER_OCTAVE) / (2 * _STEPS_PER_OCTAVE), exponent)
    return marks


TARGETS: Final[Mapping[str, _FitTarget]] = {
    "review_rate": _fit_review_rate,
    "risk": _fit_risk,
    "missed_lesions": _fit_missed_lesions,
}
