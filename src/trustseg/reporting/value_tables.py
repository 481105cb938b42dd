"""Values of images under several conditions, and weighted means over the images from one set of bootstrap draws."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trustseg.reporting.cell_tables import at
from trustseg.reporting.image_scores import Floats, patients_of
from trustseg.reporting.labels import CLEAN, ConditionKey
from trustseg.statistics import Interval, draw_patients
from trustseg.statistics.interval import percentile_interval

__all__ = [
    "DICE",
    "FALSE_POSITIVES",
    "ValueTable",
    "area_weights",
    "means_of",
    "size_limits",
    "values_under",
    "weighted_means",
]

DICE: Final = pl.when(pl.col("mask_px") > 0).then("dice")
FALSE_POSITIVES: Final = pl.when(pl.col("mask_px") == 0).then(pl.col("predicted_px") / pl.col("pixels"))


@dataclass(frozen=True, slots=True)
class ValueTable:
    """A value of N images, sorted by name, of one variant under K conditions (N, K): seed means, NaN if undefined."""

    images: list[str]
    patients: NDArray[np.str_]
    values: Floats


def values_under(records: pl.DataFrame, variant: str, conditions: Sequence[ConditionKey], value: pl.Expr) -> ValueTable:
    """Return a value (``DICE``, say; null where undefined) of every image of a variant under some conditions."""
    rows = records.filter(pl.col("variant") == variant)
    rows = rows.with_columns(value=value.cast(pl.Float64).fill_nan(None))
    means = {f"under{place}": pl.col("value").filter(at(key)).mean() for place, key in enumerate(conditions)}
    rows_by_image = rows.group_by("image").agg(pl.col("patient").first(), **means).sort("image")
    return ValueTable(
        rows_by_image["image"].to_list(),
        patients_of(rows_by_image),
        rows_by_image.select(*means).fill_null(np.nan).to_numpy(),
    )


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
    intervals = []
    for weight in weights:
        used = weight != 0
        with np.errstate(invalid="ignore"):
            value = float((sums[:, used].sum(0) / counts[:, used].sum(0)) @ weight[used])
            drawn = (times @ sums[:, used] / (times @ counts[:, used])) @ weight[used]
        complete = defined[:, used].all(axis=1)
        intervals.append(percentile_interval(value, drawn, owner=owner[complete], undefined=int((~complete).sum())))
    return intervals


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


def size_limits(records: pl.DataFrame) -> Floats:
    """Return the thirds of the foreground share of the image over the images with foreground; zeros without any."""
    clean = records.filter(at(CLEAN), pl.col("mask_px") > 0)
    areas = clean.group_by("image").agg((pl.col("mask_px") / pl.col("pixels")).first().alias("area"))["area"]
    return np.quantile(areas.to_numpy(), (1 / 3, 2 / 3)) if len(areas) else np.zeros(2)
