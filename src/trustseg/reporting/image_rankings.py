"""How image uncertainty ranks images by 1 - Dice, and how an attack changes it, with patient-bootstrap intervals."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from trustseg.deferral.ranking import AURC, DrawnScore
from trustseg.metrics import auroc_from_counts
from trustseg.reporting.image_scores import UNDEFINED, Floats, patients_of, rows_of
from trustseg.reporting.labels import CLEAN, ConditionKey
from trustseg.reporting.results import Results
from trustseg.reporting.value_tables import values_under
from trustseg.statistics import (
    Interval,
    bootstrap_counts,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_statistic,
    spearman_of_blocks,
)
from trustseg.tables import floats_of

__all__ = [
    "ImageScores",
    "RankingScore",
    "detection_auroc",
    "rank_correlation",
    "ranking_of",
    "read_scores",
    "uncertainty_change",
]

RankingScore = Callable[[Floats, Floats], Floats]
"""(counts, errors) of blocks (D, K) -> (D,)."""


@dataclass(frozen=True, slots=True)
class ImageScores:
    """Uncertainty and risk (1 - Dice) of images with a defined Dice, one row per seed; NaN where a seed has none."""

    images: list[str]
    patients: NDArray[np.str_]
    uncertainty: Floats
    risk: Floats


def read_scores(results: Results, variant: str, condition: ConditionKey, column: str) -> ImageScores:
    """Return the image uncertainty in a column of the records, and 1 - Dice, seeds apart."""
    rows = rows_of(results, variant, condition).filter(pl.col("dice").is_not_null() & pl.col("dice").is_not_nan())
    names = rows.group_by("image").agg(pl.col("patient").first()).sort("image")
    images, seeds = names["image"].to_list(), sorted(rows["seed"].unique())
    values = np.full((2, len(seeds), len(images)), np.nan)
    if images:
        row = rows["seed"].replace_strict(seeds, range(len(seeds))).to_numpy()
        place = rows["image"].replace_strict(images, range(len(images))).to_numpy()
        values[:, row, place] = floats_of(rows, column), 1 - rows["dice"].to_numpy()
    return ImageScores(images, patients_of(names), values[0], values[1])


def ranking_of(scores: ImageScores, score: DrawnScore = AURC, *, draws: int) -> Interval:
    """Return the mean over the seeds of AURC, or of another score of drawn images; undefined without images.

    It is undefined, too, if a seed has no image with an uncertainty.
    """
    if not scores.images:
        return UNDEFINED
    layers = [
        (defined, risk[defined], uncertainty[defined])
        for uncertainty, risk in zip(scores.uncertainty, scores.risk, strict=True)
        if len(defined := np.flatnonzero(np.isfinite(uncertainty) & np.isfinite(risk)))
    ]

    def statistic(times: Floats) -> Floats:
        if len(layers) < len(scores.risk):
            return np.full(len(times), np.nan)
        return np.asarray(
            np.mean([score(times[:, defined], *values) for defined, *values in layers], axis=0), np.float64
        )

    return bootstrap_counts(statistic, scores.patients, draws=draws)


def rank_correlation(scores: ImageScores, *, draws: int) -> Interval:
    """Return Spearman's correlation of image uncertainty with 1 - Dice, averaged over the seeds."""

    def spearman_of_drawn(times: Floats, risk: Floats, uncertainty: Floats) -> Floats:
        first, second = (np.unique(values, return_inverse=True)[1] for values in (uncertainty, risk))
        return np.array([spearman_of_blocks(first, second, row) for row in times])

    return ranking_of(scores, spearman_of_drawn, draws=draws)


def uncertainty_change(results: Results, variant: str, condition: ConditionKey, column: str) -> dict[str, Interval]:
    """Return what an attack does to the uncertainty of the images of one variant.

    ``change`` is its paired mean change, ``share_lower`` the share of images whose uncertainty falls, ``detection`` the
    AUROC of "was attacked": above 1/2 attacked images look less sure than clean ones, below 1/2 surer.
    """
    table = values_under(results.records, variant, [CLEAN, condition], pl.col(column))
    defined = ~np.isnan(table.values).any(axis=1)
    if not defined.any():
        return dict.fromkeys(("change", "share_lower", "detection"), UNDEFINED)
    (before, after), patients = table.values[defined].T, table.patients[defined]
    lower = np.where(np.isnan(after - before), np.nan, after < before)
    return {
        "change": bootstrap_difference(after, before, patients, draws=results.draws),
        "share_lower": bootstrap_mean(lower, patients, draws=results.draws),
        "detection": detection_auroc(before, after, patients, draws=results.draws),
    }


def detection_auroc(before: Floats, after: Floats, patients: ArrayLike, *, draws: int) -> Interval:
    """Return the AUROC of telling images (N,) before and after something apart by scores; NaN leaves an image out."""
    defined = ~np.isnan(before + after)
    if not defined.any():
        return UNDEFINED
    values, block = np.unique(np.concatenate([before[defined], after[defined]]), return_inverse=True)
    parts = block[: defined.sum()], block[defined.sum() :]

    def statistic(rows: NDArray[np.int64]) -> float:
        negative, positive = (np.bincount(part[rows], minlength=len(values)) for part in parts)
        return float(auroc_from_counts(negative + positive, positive))

    return bootstrap_statistic(statistic, np.asarray(patients)[defined], draws=draws)
