"""Scores of images with their patient-bootstrap intervals, from the records.

A variant's folds hold different images and count as one test set. Seeds are repetitions: a value of an image is
averaged over the seeds first; a ranking or calibration score is computed for each seed and then averaged. All scores
draw the same patients, so differences between variants are paired.

Dice and IoU of an image, and what ranks by them, are taken over the images with foreground alone: the same images for
every variant and condition. Where the reference mask is empty, the area predicted is reported instead.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
import polars.selectors as cs
from numpy.typing import ArrayLike, NDArray

from trustseg import metrics
from trustseg.deferral.ranking import AURC, DrawnScore
from trustseg.metrics import auroc_from_counts
from trustseg.records import is_metric_column
from trustseg.reporting.cell_tables import at
from trustseg.reporting.labels import CLEAN, ConditionKey, metric_of
from trustseg.reporting.results import Results
from trustseg.statistics import (
    Interval,
    bootstrap_counts,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_ratio,
    bootstrap_statistic,
    draw_patients,
    spearman_of_blocks,
)
from trustseg.statistics.interval import percentile_interval

__all__ = [
    "DICE",
    "FALSE_POSITIVES",
    "UNDEFINED",
    "Floats",
    "ImageScores",
    "RankingScore",
    "ValueTable",
    "area_weights",
    "false_positive_area",
    "mean_of",
    "means_of",
    "numbers",
    "patients_of",
    "per_image",
    "pooled_of",
    "rank_correlation",
    "ranking_of",
    "read_scores",
    "rows_of",
    "size_limits",
    "told_apart",
    "uncertainty_change",
    "values_under",
    "weighted_means",
]

Floats = NDArray[np.float64]
RankingScore = Callable[[Floats, Floats], Floats]
"""(counts, errors) of blocks (D, K) -> (D,)."""
Terms = Callable[[Floats, Floats, Floats], tuple[Floats, Floats]]
"""Pixels of intersection, prediction and reference (N,) -> numerators and denominators (N,) of an overlap."""

UNDEFINED: Final = Interval(value=math.nan, low=math.nan, high=math.nan, count=0, patients=0)
DICE: Final = pl.when(pl.col("mask_px") > 0).then("dice")
FALSE_POSITIVES: Final = pl.when(pl.col("mask_px") == 0).then(pl.col("predicted_px") / pl.col("pixels"))


def numbers(frame: pl.DataFrame, column: str) -> Floats:
    """Return a column as floats, NaN where it is null."""
    return frame[column].cast(pl.Float64).fill_null(math.nan).to_numpy()


def patients_of(frame: pl.DataFrame) -> NDArray[np.str_]:
    """Return the patient of each row."""
    return frame["patient"].to_numpy().astype(np.str_)


def rows_of(results: Results, variant: str, condition: ConditionKey) -> pl.DataFrame:
    """Return the records of a variant under one condition, metrics of masks null where the reference mask is empty.

    With an empty reference mask Dice is 0 or undefined, depending on whether anything was predicted: such an image
    would enter the mean under one condition and leave it under another.
    """
    overlaps = cs.matches(rf"^(({'|'.join(metrics.metrics_of('image'))})(_native)?|metric_.*)$")
    rows = results.records.filter(pl.col("variant") == variant, at(condition))
    return rows.with_columns(pl.when(pl.col("mask_px") > 0).then(overlaps))


def per_image(results: Results, variant: str, condition: ConditionKey) -> pl.DataFrame:
    """Return one row per image, sorted by name: the mean of each numeric column over the seeds, null if undefined."""
    numeric = cs.numeric() - cs.by_name("fold", "seed", "eps", require_all=False)
    rows = rows_of(results, variant, condition).group_by("image")
    return rows.agg(pl.col("patient").first(), numeric.cast(pl.Float64).fill_nan(None).mean()).sort("image")


def mean_of(results: Results, variant: str, condition: ConditionKey, column: str) -> Interval:
    """Return the mean of a record column over the images where it is defined; the others are counted."""
    frame, bounds = per_image(results, variant, condition), (0.0, 1.0)
    if is_metric_column(column):
        found = metric_of(column)
        bounds = found[1].facts.bounds if found else (-math.inf, math.inf)
    return bootstrap_mean(numbers(frame, column), patients_of(frame), bounds=bounds, draws=results.draws)


def pooled_of(frame: pl.DataFrame, terms: Terms, *, draws: int, confidence: float = 0.95) -> Interval:
    """Return an overlap of all pixels of some rows taken as one image; each has a reference."""
    above, below = terms(*(numbers(frame, f"{name}_px") for name in ("intersection", "predicted", "mask")))
    return bootstrap_ratio(above, below, patients_of(frame), draws=draws, confidence=confidence)


def size_limits(records: pl.DataFrame) -> Floats:
    """Return the thirds of the foreground share of the image over the images with foreground; zeros without any."""
    clean = records.filter(at(CLEAN), pl.col("mask_px") > 0)
    areas = clean.group_by("image").agg((pl.col("mask_px") / pl.col("pixels")).first().alias("area"))["area"]
    return np.quantile(areas.to_numpy(), (1 / 3, 2 / 3)) if len(areas) else np.zeros(2)


def false_positive_area(results: Results, variant: str, condition: ConditionKey) -> Interval:
    """Return the mean share of pixels predicted as foreground in images with an empty reference mask."""
    frame = per_image(results, variant, condition).filter(pl.col("mask_px") == 0)
    area = numbers(frame, "predicted_px") / numbers(frame, "pixels")
    return bootstrap_mean(area, patients_of(frame), draws=results.draws) if len(frame) else UNDEFINED


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
        values[:, row, place] = numbers(rows, column), 1 - rows["dice"].to_numpy()
    return ImageScores(images, patients_of(names), values[0], values[1])


def ranking_of(scores: ImageScores, score: DrawnScore = AURC, *, draws: int) -> Interval:
    """Return the mean over the seeds of AURC, or of another score of drawn images; undefined without images.

    It is undefined, too, if a seed has no image with an uncertainty.
    """
    if not scores.images:
        return UNDEFINED
    layers = [
        (known, risk[known], uncertainty[known])
        for uncertainty, risk in zip(scores.uncertainty, scores.risk, strict=True)
        if len(known := np.flatnonzero(np.isfinite(uncertainty) & np.isfinite(risk)))
    ]

    def statistic(times: Floats) -> Floats:
        if len(layers) < len(scores.risk):
            return np.full(len(times), np.nan)
        return np.asarray(np.mean([score(times[:, known], *values) for known, *values in layers], axis=0), np.float64)

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
    found = values_under(results, variant, [CLEAN, condition], pl.col(column))
    known = ~np.isnan(found.values).any(axis=1)
    if not known.any():
        return dict.fromkeys(("change", "share_lower", "detection"), UNDEFINED)
    (before, after), patients = found.values[known].T, found.patients[known]
    lower = np.where(np.isnan(after - before), np.nan, after < before)
    return {
        "change": bootstrap_difference(after, before, patients, draws=results.draws),
        "share_lower": bootstrap_mean(lower, patients, draws=results.draws),
        "detection": told_apart(before, after, patients, draws=results.draws),
    }


def told_apart(before: Floats, after: Floats, patients: ArrayLike, *, draws: int) -> Interval:
    """Return the AUROC of telling images (N,) before and after something apart by scores; NaN leaves an image out."""
    known = ~np.isnan(before + after)
    if not known.any():
        return UNDEFINED
    values, block = np.unique(np.concatenate([before[known], after[known]]), return_inverse=True)
    parts = block[: known.sum()], block[known.sum() :]

    def statistic(rows: NDArray[np.int64]) -> float:
        negative, positive = (np.bincount(part[rows], minlength=len(values)) for part in parts)
        return float(auroc_from_counts(negative + positive, positive))

    return bootstrap_statistic(statistic, np.asarray(patients)[known], draws=draws)


@dataclass(frozen=True, slots=True)
class ValueTable:
    """A value of N images, sorted by name, of one variant under K conditions (N, K): seed means, NaN if undefined."""

    images: list[str]
    patients: NDArray[np.str_]
    values: Floats


def values_under(results: Results, variant: str, conditions: Sequence[ConditionKey], value: pl.Expr) -> ValueTable:
    """Return a value (``DICE``, say; null where undefined) of every image of a variant under some conditions."""
    rows = results.records.filter(pl.col("variant") == variant)
    rows = rows.with_columns(value=value.cast(pl.Float64).fill_nan(None))
    means = {f"under{place}": pl.col("value").filter(at(key)).mean() for place, key in enumerate(conditions)}
    found = rows.group_by("image").agg(pl.col("patient").first(), **means).sort("image")
    return ValueTable(found["image"].to_list(), patients_of(found), found.select(*means).fill_null(np.nan).to_numpy())


def means_of(table: ValueTable, *, draws: int) -> list[Interval]:
    """Return the mean under each condition with its interval."""
    return weighted_means(table, np.eye(table.values.shape[1]), draws=draws)


def weighted_means(table: ValueTable, weights: Floats, *, draws: int) -> list[Interval]:
    """Return weighted sums of the conditions' means over the images, from one set of draws over patients.

    The weights are (M, K): (1, -1) gives a difference, trapezoid weights an area. ``count`` and ``patients`` of the M
    intervals are those with a value under every condition of a weight.
    """
    names, owner, times = draw_patients(table.patients, draws, 0)
    defined = np.isfinite(table.values)
    sums, counts = (
        np.stack([np.bincount(owner, column, len(names)) for column in part.T.astype(np.float64)], axis=1)
        for part in (np.where(defined, table.values, 0.0), defined)
    )
    found = []
    for weight in weights:
        used = weight != 0
        with np.errstate(invalid="ignore"):
            value = float((sums[:, used].sum(0) / counts[:, used].sum(0)) @ weight[used])
            drawn = (times @ sums[:, used] / (times @ counts[:, used])) @ weight[used]
        held = defined[:, used].all(axis=1)
        found.append(percentile_interval(value, drawn, owner=owner[held], undefined=int((~held).sum())))
    return found


def area_weights(eps: Sequence[float], upto: float) -> Floats:
    """Return the weights (K,) that make means at rising budgets the area under their curve over [0, upto], / upto.

    The curve is linear between budgets; ``upto`` may lie between two of them.

    Example:
        >>> area_weights([0.0, 1.0, 2.0], 2.0).tolist(), area_weights([0.0, 2.0], 1.0).tolist()
        ([0.25, 0.5, 0.25], [0.75, 0.25])
    """
    knots = np.array([*(rung for rung in eps if rung < upto), upto])
    at_knots = np.stack([np.interp(knots, eps, unit) for unit in np.eye(len(eps))], axis=1)
    widths = np.diff(knots)
    share = np.concatenate([[0.0], widths]) / 2 + np.concatenate([widths, [0.0]]) / 2
    return np.asarray(share @ at_knots / upto, np.float64)
