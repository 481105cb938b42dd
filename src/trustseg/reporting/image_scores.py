"""Scores of images with their patient-bootstrap intervals, from the records.

A variant's folds hold different images and count as one test set. Seeds are repetitions: a value of an image is
averaged over the seeds first; a ranking or calibration score is computed for each seed and then averaged. All scores
draw the same patients, so differences between variants are paired.

Dice and IoU of an image, and what ranks by them, are taken over the images with foreground alone: the same images for
every variant and condition. Where the reference mask is empty, the area predicted is reported instead.
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import polars as pl
import polars.selectors as cs
from numpy.typing import NDArray

from trustseg import metrics
from trustseg.records import is_metric_column
from trustseg.reporting.cell_tables import at
from trustseg.reporting.labels import ConditionKey, metric_of
from trustseg.reporting.results import Results
from trustseg.statistics import Interval, bootstrap_mean, bootstrap_ratio
from trustseg.tables import floats_of

__all__ = ["UNDEFINED", "Floats", "false_positive_area", "mean_of", "patients_of", "per_image", "pooled_of", "rows_of"]

Floats = NDArray[np.float64]
Terms = Callable[[Floats, Floats, Floats], tuple[Floats, Floats]]
"""Pixels of intersection, prediction and reference (N,) -> numerators and denominators (N,) of an overlap."""
UNDEFINED: Final = Interval(value=math.nan, low=math.nan, high=math.nan, count=0, patients=0)


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
    return bootstrap_mean(floats_of(frame, column), patients_of(frame), bounds=bounds, draws=results.draws)


def pooled_of(frame: pl.DataFrame, terms: Terms, *, draws: int, confidence: float = 0.95) -> Interval:
    """Return an overlap of all pixels of some rows taken as one image; each has a reference."""
    above, below = terms(*(floats_of(frame, f"{name}_px") for name in ("intersection", "predicted", "mask")))
    return bootstrap_ratio(above, below, patients_of(frame), draws=draws, confidence=confidence)


def false_positive_area(results: Results, variant: str, condition: ConditionKey) -> Interval:
    """Return the mean share of pixels predicted as foreground in images with an empty reference mask."""
    frame = per_image(results, variant, condition).filter(pl.col("mask_px") == 0)
    area = floats_of(frame, "predicted_px") / floats_of(frame, "pixels")
    return bootstrap_mean(area, patients_of(frame), draws=results.draws) if len(frame) else UNDEFINED
