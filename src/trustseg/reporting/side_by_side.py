"""The same images under many conditions, laid side by side: their means and areas from one set of bootstrap draws."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trustseg.reporting.image_scores import ConditionKey, Floats
from trustseg.reporting.results import Results, at
from trustseg.statistics import Interval
from trustseg.statistics.bootstrap import draw_owners
from trustseg.statistics.interval import percentile_interval

__all__ = ["DICE", "FALSE_POSITIVES", "Sheet", "area_weights", "lay_out", "weighted_means"]

DICE: Final = pl.when(pl.col("mask_px") > 0).then("dice")
FALSE_POSITIVES: Final = pl.when(pl.col("mask_px") == 0).then(pl.col("predicted_px") / pl.col("pixels"))


@dataclass(frozen=True, slots=True)
class Sheet:
    """A value of N images of one variant under K conditions, averaged over the seeds.

    Attributes:
        images: names, sorted.
        patients: patient of each image (N,).
        values: (N, K), NaN where undefined.
    """

    images: list[str]
    patients: NDArray[np.str_]
    values: Floats


def lay_out(results: Results, variant: str, places: Sequence[ConditionKey], value: pl.Expr) -> Sheet:
    """Return a value of every image of a variant under each of some conditions.

    Args:
        results: the records.
        variant: which variant.
        places: conditions with eps (K,).
        value: what to read of a record, e.g. ``DICE``; null where undefined.
    """
    rows = results.records.filter(pl.col("variant") == variant)
    rows = rows.select("image", "patient", "condition", "eps", value=value.cast(pl.Float64).fill_nan(None))
    means = rows.group_by("image", "condition", "eps").agg(pl.col("value").mean())
    names = rows.group_by("image").agg(pl.col("patient").first()).sort("image")
    images = names["image"].to_list()
    row_of = {image: row for row, image in enumerate(images)}
    values = np.full((len(images), len(places)), np.nan)
    for column, place in enumerate(places):
        held = means.filter(at(*place))
        numbers = held["value"].fill_null(float("nan")).to_numpy()
        values[[row_of[image] for image in held["image"]], column] = numbers
    return Sheet(images, names["patient"].to_numpy().astype(np.str_), values)


def weighted_means(sheet: Sheet, weights: Floats, *, draws: int) -> list[Interval]:
    """Return weighted sums of the conditions' means over the images, each with its patient-bootstrap interval.

    Args:
        sheet: values (N, K); an undefined one is left out of the mean of its condition.
        weights: (M, K): rows of the identity give the means, (1, -1) a difference, trapezoid weights an area.
        draws: bootstrap draws, >= 1; the same patients are drawn as everywhere else.

    Returns:
        M intervals; ``count`` and ``patients`` are those with a value under every condition of a weight.
    """
    names, owner, times = draw_owners(sheet.patients, draws, 0)
    defined = np.isfinite(sheet.values)
    sums, counts = (
        np.stack([np.bincount(owner, column, len(names)) for column in part.T.astype(np.float64)], axis=1)
        for part in (np.where(defined, sheet.values, 0.0), defined)
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

    Args:
        eps: budgets, rising from 0.
        upto: end of the range, at most the largest budget, > 0.

    Example:
        >>> area_weights([0.0, 1.0, 2.0], 2.0).tolist(), area_weights([0.0, 2.0], 1.0).tolist()
        ([0.25, 0.5, 0.25], [0.75, 0.25])
    """
    knots = np.array([*(rung for rung in eps if rung < upto), upto])
    at_knots = np.stack([np.interp(knots, eps, unit) for unit in np.eye(len(eps))], axis=1)
    widths = np.diff(knots)
    share = np.concatenate([[0.0], widths]) / 2 + np.concatenate([widths, [0.0]]) / 2
    return np.asarray(share @ at_knots / upto, np.float64)
