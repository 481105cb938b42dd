"""A deferral policy: an image score, a threshold fitted once, and its guarantee."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from trustseg.deferral.area import AreaInterval
from trustseg.deferral.conformal import FalseNegativeControl
from trustseg.errors import DataError
from trustseg.records import score_column
from trustseg.tables import floats_of
from trustseg.text import patient_key

__all__ = [
    "HOLDS",
    "NEEDED",
    "NONE",
    "VOID",
    "Policy",
    "Target",
    "apply_policy",
    "check_model",
    "check_records",
    "hash_of",
    "in_group",
    "reviewed",
]

_KEYS: Final = (patient_key, str.casefold, str)  # the last two of older policies
Target = Literal["review_rate", "risk", "missed_lesions"]

HOLDS: Final = "applies"
VOID: Final = "void"
NONE: Final = "none: policy not fitted"

NEEDED: Final = ("image", "patient", "condition", "eps", "dice", "mask_px")
"""Columns of a record table that deferral reads, besides the score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A frozen rule: an image goes to a human if its score lies above the threshold.

    Attributes:
        measure: pixel measure of uncertainty.
        aggregation: map to image score.
        threshold: the largest score that is kept; infinite if nothing is reviewed, minus infinity if everything is.
        target: what was bounded: ``review_rate``, ``risk`` or ``missed_lesions``, see ``fit_policy``.
        at_most: the bound, a share in (0, 1).
        tau: a segmentation with a Dice below it has failed.
        delta: chance that the bound on ``risk`` or ``missed_lesions`` is broken, in (0, 1).
        images: number of images it was fitted on.
        patients: number of their patients.
        patient_hashes: ``hash_of`` each of these patients, sorted, to recognise them later; not a secret, because
            anybody who guesses a name can test it. A policy of an older version has a single hash, of them all.
        model: hash of the model.
        statement: the guarantee, in a sentence.
        reference_scores: score of one image of each calibration patient, to tell whether new ones look alike; empty in
            policies of older versions.
        group: ``COLUMN=VALUE`` of the manifest if it was fitted on the images of one subgroup, and holds only for them;
            empty if for all.
    """

    measure: str
    aggregation: str
    threshold: float
    target: Target
    at_most: float
    tau: float
    delta: float
    images: int
    patients: int
    patient_hashes: tuple[str, ...]
    model: str = ""
    statement: str
    reference_scores: tuple[float, ...] = ()
    group: str = ""

    @property
    def column(self) -> str:
        """The column of a record table that holds the score."""
        return score_column(self.measure, self.aggregation)

    @property
    def fitted(self) -> bool:
        """False if there were too few patients to fit it: then no image is reviewed, and nothing is promised."""
        return self.threshold < math.inf

    def review(self, scores: ArrayLike) -> NDArray[np.bool_]:
        """Return which images go to a human (N,), from their scores (N,); a NaN score always does."""
        return reviewed(scores, self.threshold)


def reviewed(scores: ArrayLike, threshold: float) -> NDArray[np.bool_]:
    """Return which scores (N,) lie above a threshold; NaN does, and minus infinity keeps none."""
    return ~(np.asarray(scores, np.float64) <= threshold) | (threshold == -math.inf)


def apply_policy(policy: Policy, records: pl.DataFrame) -> pl.DataFrame:
    """Return records (a row per image and condition) with the columns ``review`` (bool) and ``guarantee``.

    The guarantee is ``HOLDS`` for clean images and ``VOID`` under every other condition, for each patient that the
    policy was fitted on, and in rows whose column ``split`` says train; of a policy that could not be fitted it is
    ``NONE``. Images outside the policy's ``group`` are
    reviewed, without a guarantee. Each new patient is exchangeable with the calibration patients on its own, so that
    others in the table do not matter; a rate over a table keeps the guarantee only if every row does.

    Raises:
        DataError: if the records lack the score or another column, or hold no row or nothing of the subgroup.

    Example:
        >>> policy = Policy(measure="entropy", aggregation="mean", threshold=0.2, target="review_rate", at_most=0.5,
        ...     tau=0.5, delta=0.05, images=1, patients=1, patient_hashes=(), statement="")
        >>> records = pl.DataFrame({"image": ["a", "b"], "patient": ["p", "q"], "condition": ["clean", "fgsm"],
        ...     "eps": [0.0, 0.1], "dice": [0.9, 0.1], "mask_px": [5, 5], "predicted_px": [5, 5],
        ...     "u_entropy_mean": [0.2, 0.3]})
        >>> apply_policy(policy, records)["review", "guarantee"].rows()
        [(False, 'applies'), (True, 'void')]
    """
    check_records(records, policy.column)
    clean = pl.col("condition") == "clean"
    names = records.filter(clean)["patient"].cast(pl.String).drop_nulls().unique().to_list()
    fitted = set(policy.patient_hashes)
    all_hashes = {hash_of(*names, digits=16, key=key) for key in _KEYS}
    in_sample = [name for name in names if all_hashes & fitted or {hash_of(name, key=key) for key in _KEYS} & fitted]
    inside = pl.Series(in_group(records, policy.group))
    holds = clean & inside & ~pl.col("patient").cast(pl.String).is_in(in_sample)
    if "split" in records.columns:
        holds &= pl.col("split").ne_missing("train")
    return records.with_columns(
        (~inside | pl.Series(policy.review(floats_of(records, policy.column)))).alias("review"),
        pl.when(holds).then(pl.lit(HOLDS)).otherwise(pl.lit(VOID)).alias("guarantee")
        if policy.fitted
        else pl.lit(NONE).alias("guarantee"),
    )


def in_group(records: pl.DataFrame, group: str) -> NDArray[np.bool_]:
    """Return which rows (N,) are of the subgroup ``COLUMN=VALUE``; all of them if it is empty.

    Raises:
        DataError: if the records have no such column, or no image with that value.
    """
    if not group:
        return np.ones(len(records), bool)
    column, _, value = group.partition("=")
    if f"group_{column}" not in records.columns:
        known = [name.removeprefix("group_") for name in records.columns if name.startswith("group_")]
        raise DataError(f"the records have no column '{column}' of a manifest; known: {', '.join(known) or 'none'}")
    found = (records[f"group_{column}"].cast(pl.String) == value).fill_null(value=False).to_numpy()
    if not found.any():
        raise DataError(f"no image has {group}")
    return np.asarray(found, bool)


def check_model(fitted: Policy | FalseNegativeControl | AreaInterval, model: str) -> None:
    """Raise a DataError if scores are of another ``model`` than those that a promise was fitted on."""
    if fitted.model and model and model != fitted.model:
        kind = {FalseNegativeControl: "control", AreaInterval: "interval"}.get(type(fitted), "policy")
        raise DataError(
            f"the {kind} was fitted for model {fitted.model}, not for model {model} (a calibration makes "
            f"another model); fit the {kind} again, or use the model with --uncalibrated if it was not calibrated then"
        )


def check_records(records: pl.DataFrame, column: str) -> None:
    """Raise unless records of one model hold a score and the other columns of deferral."""
    if not len(records):
        raise DataError("the records are empty; evaluate a split that has images")
    missing = [name for name in NEEDED if name not in records.columns]
    if missing:
        raise DataError(f"the records lack {', '.join(missing)}; give a records.parquet of 'trustseg evaluate'")
    scores = [name for name in records.columns if name.startswith("u_") and records[name].null_count() < len(records)]
    if column not in scores:
        known = f"choose one of {', '.join(name[2:] for name in scores)} (measure_aggregation), or " if scores else ""
        raise DataError(
            f"the records have no score {column.removeprefix('u_')}; {known}evaluate again with other "
            "evaluation.measures and evaluation.aggregations"
        )
    if "cell" in records.columns and records["cell"].n_unique() > 1:
        names = ", ".join(records["cell"].unique().sort().head(3).to_list())
        raise DataError(f"the records are of several models ({names} ...); filter them by cell")


def hash_of(*patients: str, digits: int = 12, key: Callable[[str], str] = patient_key) -> str:
    """Return a hash, in hex digits, of a patient or of a set of them in any order; ``key``: what counts of a name."""
    return hashlib.sha256("\n".join(sorted(set(map(key, patients)))).encode()).hexdigest()[:digits]
