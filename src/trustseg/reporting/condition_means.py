"""Means and areas over many conditions of the same images, from one set of bootstrap draws."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trustseg.reporting.cell_tables import at
from trustseg.reporting.image_scores import Floats, numbers, patients_of
from trustseg.reporting.labels import ConditionKey
from trustseg.reporting.results import Results
from trustseg.statistics import Interval, draw_patients
from trustseg.statistics.interval import percentile_interval

__all__ = ["DICE", "FALSE_POSITIVES", "ValueTable", "area_weights", "means_of", "values_under", "weighted_means"]

DICE: Final = pl.when(pl.col("mask_px") > 0).then("dice")
FALSE_POSITIVES: Final = pl.when(pl.col("mask_px") == 0).then(pl.col("predicted_px") / pl.col("pixels"))


@dataclass(frozen=True, slots=True)
class ValueTable:
    """A value of N images, sorted by name, of one variant under K conditions (N, K): seed means, NaN if undefined."""

    images: list[str]
    patients: NDArray[np.str_]
    values: Floats


def values_under(results: Results, variant: str, conditions: Sequence[ConditionKey], value: pl.Expr) -> ValueTable:
    """Return a value (``DICE``, say; null where undefined) of every image of a variant under some conditions."""
    rows = results.records.filter(pl.col("variant") == variant)
    rows = rows.select("image", "patient", "condition", "eps", value=value.cast(pl.Float64).fill_nan(None))
    means = rows.group_by("image", "condition", "eps").agg(pl.col("value").mean())
    names = rows.group_by("image").agg(pl.col("patient").first()).sort("image")
    images = names["image"].to_list()
    row_of = {image: row for row, image in enumerate(images)}
    values = np.full((len(images), len(conditions)), np.nan)
    for column, condition in enumerate(conditions):
        held = means.filter(at(condition))
        values[[row_of[image] for image in held["image"]], column] = numbers(held, "value")
    return ValueTable(images, patients_of(names), values)


def means_of(table: ValueTable, *, draws: int) -> list[Interval]:
    """Return the mean under each condition with its interval."""
    return weighted_means(table, np.eye(table.values.shape[1]), draws=draws)


def weighted_means(table: ValueTable, weights: Floats, *, draws: int) -> list[Interval]:
    """Return weighted sums of the conditions' means over the images, each with its patient-bootstrap interval.

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
