"""Scores of all pixels of a test set with their patient-bootstrap intervals, from histograms of each patient.

As for images, the folds of a variant are one test set, and a score is computed for each seed and then averaged.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from trustseg.entries import Entry
from trustseg.metrics import BINS, bin_values
from trustseg.reporting.cell_tables import calibration_of, histograms_of
from trustseg.reporting.cells import FinishedCell
from trustseg.reporting.image_scores import UNDEFINED, Floats
from trustseg.reporting.labels import ConditionKey
from trustseg.reporting.results import Results
from trustseg.statistics import Interval, bootstrap_rows

if TYPE_CHECKING:
    from trustseg.metrics import MetricFacts

__all__ = ["PatientTable", "estimate", "merge_bins", "minority_of", "pixel_table"]

_PARTS: Final = 500
_INVERTIBLE: Final = ("entropy", "variance")  # functions of min(p, 1 - p) alone


@dataclass(frozen=True, slots=True)
class PatientTable:
    """What a bootstrap over patients needs: names (P,), sums (P, K), and the statistic (draws, K) -> (draws,)."""

    patients: list[str]
    table: Floats
    statistic: Callable[[Floats], Floats]


def estimate(table: PatientTable, *, draws: int) -> Interval:
    """Return the statistic of a patient table with its interval; undefined without patients."""
    if not table.patients:
        return UNDEFINED
    return bootstrap_rows(table.table, np.asarray(table.patients), table.statistic, draws=draws)


def pixel_table(
    results: Results,
    variant: str,
    condition: ConditionKey,
    metric: "Entry[Any, MetricFacts]",
    *,
    measure: str = "",
    region: str = "whole",
) -> PatientTable:
    """Return the patient table of a metric of pixels, averaged over the seeds; no patients where it was not measured.

    A ranking is by the measure. Neighbouring bins are merged to about 1000, none holding more than 1/500 of the pixels
    or of the errors unless it was one bin before. Calibration is of the ``"whole"`` image, the ``"boundary"`` band or
    the reference ``"foreground"``.
    """
    cells = results.cells_of(variant)
    if metric.facts.kind == "calibration":
        frame = calibration_of(cells, condition, region)
        patients, sums = _patient_sums(frame, ("count", "sum_probability", "sum_reference"))
        return _table(patients, sums, lambda parts: metric(np.moveaxis(parts, 2, -1)))
    frame = histograms_of(cells, condition, measure)
    if metric.facts.error == "brier":
        return _squared_errors(cells, condition, frame, metric)
    patients, sums = _patient_sums(merge_bins(frame), ("count", "wrong"))
    return _table(patients, sums, lambda parts: metric(parts[:, :, 0], parts[:, :, 1]))


def _squared_errors(
    cells: Sequence[FinishedCell], condition: ConditionKey, frame: pl.DataFrame, metric: "Entry[Any, MetricFacts]"
) -> PatientTable:
    """Return the patient table of a ranking of squared errors (p - y)^2.

    The order of the oracle follows from the entropy or the variance, which one of must have been stored; without, there
    are no patients.
    """
    stored = ((name, histograms_of(cells, condition, name)) for name in _INVERTIBLE)
    known, ordered = next(((name, found) for name, found in stored if found.height), ("", pl.DataFrame()))
    if not known or frame.is_empty():
        return PatientTable([], np.zeros((0, 0)), lambda drawn: drawn[:, 0])
    patients, table = _patient_sums(merge_bins(frame, error="brier"), ("count", "brier"))
    _, oracle = _patient_sums(merge_bins(_oracle_blocks(ordered, measure=known), error="brier"), ("count", "brier"))
    sizes = [math.prod(part.shape[1:]) for part in (table, oracle)]

    def statistic(drawn: Floats) -> Floats:
        model = drawn[:, : sizes[0]].reshape(-1, *table.shape[1:])
        ideal = drawn[:, sizes[0] :].reshape(-1, *oracle.shape[1:])
        total, rebuilt = model[:, :, 1].sum(-1), ideal[:, :, 1].sum(-1)
        scale = np.divide(total, rebuilt, out=np.zeros_like(total), where=rebuilt > 0)  # a bin's middle is not its mean
        best = {"oracle": (ideal[:, :, 0], scale[..., None] * ideal[:, :, 1])} if metric.takes("oracle") else {}
        scores = metric(model[:, :, 0], model[:, :, 1], **best)
        return np.asarray(scores.mean(-1), np.float64)

    rows = [part.reshape(len(patients), size) for part, size in zip((table, oracle), sizes, strict=True)]
    return PatientTable(patients, np.hstack(rows), statistic)


def merge_bins(histogram: pl.DataFrame, *, error: str = "wrong") -> pl.DataFrame:
    """Return the histogram with neighbouring bins merged where they hold few pixels and few errors, renumbered from 0.

    ``bin`` increases with uncertainty; ``error`` names the column with the errors.
    """
    totals = histogram.group_by("bin").agg(pl.col("count", error).sum()).sort("bin")
    # The middle of a bin, so that a bin with much in it never shares a part with its neighbours' far ends.
    parts = [
        ((pl.col(name).cum_sum() - pl.col(name) / 2) * _PARTS / pl.max_horizontal(pl.col(name).sum(), least)).floor()
        for name, least in (("count", 1), (error, 1e-9))
    ]
    merged = totals.select(
        "bin", part=pl.struct(*(p.alias(str(i)) for i, p in enumerate(parts))).rle_id().cast(pl.Int32)
    )
    return histogram.join(merged, on="bin", how="left").with_columns(bin=pl.col("part")).drop("part")


def _table(patients: list[str], sums: Floats, score: Callable[[Floats], Floats]) -> PatientTable:
    """Return the patient table of the mean over seeds of a score; sums are (P, seeds, columns, bins)."""
    shape = sums.shape[1:]

    def statistic(drawn: Floats) -> Floats:
        return np.asarray(score(drawn.reshape(-1, *shape)).mean(-1), np.float64)

    return PatientTable(patients, sums.reshape(len(patients), math.prod(shape)), statistic)


def _patient_sums(frame: pl.DataFrame, columns: Sequence[str]) -> tuple[list[str], Floats]:
    """Return the patients and the sums of some columns for each of them: (P, seeds, columns, bins)."""
    if frame.is_empty():
        return [], np.zeros((0, 1, len(columns), 0))
    patients, seeds = (sorted(frame[name].unique()) for name in ("patient", "seed"))
    shape = (len(patients), len(seeds), int(frame.select(pl.col("bin").max() + 1).item()))
    place = frame.select(
        pl.col("patient").replace_strict(patients, range(len(patients)), return_dtype=pl.Int64),
        pl.col("seed").replace_strict(seeds, range(len(seeds)), return_dtype=pl.Int64),
        pl.col("bin").cast(pl.Int64),
    )
    cell = np.ravel_multi_index([place[name].to_numpy() for name in place.columns], shape)
    sums = [np.bincount(cell, frame[name].to_numpy(), np.prod(shape).item()).reshape(shape) for name in columns]
    return patients, np.stack(sums, axis=2)


def minority_of(values: Floats, *, measure: str) -> Floats:
    """Return min(p, 1 - p) of pixels, in [0, 1/2], from their entropy (natural logarithm) or variance.

    Example:
        >>> minority_of(np.array([0.0, 0.1875, 0.25]), measure="variance").tolist()
        [0.0, 0.25, 0.5]
    """
    if measure == "variance":
        v = np.clip(values, 0, 0.25)
        return np.asarray(2 * v / (1 + np.sqrt(1 - 4 * v)), np.float64)
    grid = np.geomspace(1e-40, 0.5, 100_001)
    entropy = -grid * np.log(grid) - (1 - grid) * np.log1p(-grid)
    found = np.interp(np.log(np.clip(values, entropy[0], None)), np.log(entropy), np.log(grid))
    return np.where(values > 0, np.exp(found), 0.0)


def _oracle_blocks(histogram: pl.DataFrame, *, measure: str) -> pl.DataFrame:
    """Return a histogram of the squared errors, from one of the entropy or the variance of pixels.

    Both are functions of min(p, 1 - p), and that with right or wrong gives (p - y)^2: min(p, 1 - p)^2 of a right pixel,
    its complement squared of a wrong one; no pixel has to be kept. The ``bin`` of the result is the order of its
    blocks, from the smallest error to the largest, ``brier`` the sum of the squared errors in each.
    """
    bins = histogram["bin"].to_numpy().astype(np.int64)
    values = bin_values("coarse").astype(np.float64).clip(0)
    minority = minority_of(values, measure=measure)[np.maximum(bins, BINS["coarse"] // 2)]
    wrong = histogram["wrong"].to_numpy().astype(np.int64)
    right = histogram["count"].to_numpy().astype(np.int64) - wrong
    parts = [
        histogram.drop("wrong").with_columns(
            bin=pl.Series(order), count=pl.Series(count), brier=pl.Series(count * error**2)
        )
        for order, count, error in ((bins, right, minority), (2 * BINS["coarse"] - bins, wrong, 1 - minority))
    ]
    return pl.concat(parts).filter(pl.col("count") > 0)
