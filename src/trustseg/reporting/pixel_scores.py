"""Scores of all pixels of a test set with their patient-bootstrap intervals, from histograms of each patient.

As for images, the folds of a variant are one test set, and a score is computed for each seed and then averaged.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from trustseg.reporting.image_scores import UNDEFINED, Floats, Place, RankingScore
from trustseg.reporting.results import Results, load_calibration, load_histogram
from trustseg.study.statistics import Interval, bootstrap_rows

_PARTS: Final = 500


@dataclass(frozen=True, slots=True)
class PatientTable:
    """Sums per patient and the statistic of their total: what a bootstrap over patients needs.

    Attributes:
        patients: names (P,).
        table: sums (P, K).
        statistic: (draws, K) -> (draws,).
    """

    patients: list[str]
    table: Floats
    statistic: Callable[[Floats], Floats]


def estimate(table: PatientTable, *, draws: int) -> Interval:
    """Return the statistic of a patient table with its interval; undefined without patients."""
    if not table.patients:
        return UNDEFINED
    return bootstrap_rows(table.table, np.asarray(table.patients), table.statistic, draws=draws)


def estimate_difference(first: PatientTable, second: PatientTable, *, draws: int) -> Interval:
    """Return the paired difference first - second over the patients that both tables hold."""
    shared = sorted(set(first.patients) & set(second.patients))
    if not shared:
        return UNDEFINED
    left, right = (
        table.table[[{name: row for row, name in enumerate(table.patients)}[name] for name in shared]]
        for table in (first, second)
    )

    def statistic(drawn: Floats) -> Floats:
        return first.statistic(drawn[:, : left.shape[1]]) - second.statistic(drawn[:, left.shape[1] :])

    return bootstrap_rows(np.hstack([left, right]), np.asarray(shared), statistic, draws=draws)


def pixel_ranking(results: Results, variant: str, place: Place, measure: str, *, score: RankingScore) -> PatientTable:
    """Return the patient table of a ranking score (AUSE, nAUSE) of the pixels, averaged over the seeds.

    Neighbouring bins are merged to about 1000, none holding more than 1/500 of the pixels or of the errors unless it
    was one bin before.
    """
    frames = [
        load_histogram(cell, condition=place[0], eps=place[1], measure=measure).with_columns(seed=pl.lit(cell.seed))
        for cell in results.cells_of(variant)
    ]
    patients, table = _patient_sums(merge_bins(pl.concat(frames)), ("count", "wrong"))
    shape = table.shape[1:]

    def statistic(drawn: Floats) -> Floats:
        parts = drawn.reshape(-1, *shape)
        return np.asarray(score(parts[:, :, 0], parts[:, :, 1]).mean(-1), np.float64)

    return PatientTable(patients, table.reshape(len(patients), math.prod(shape)), statistic)


def merge_bins(histogram: pl.DataFrame) -> pl.DataFrame:
    """Return the histogram with neighbouring bins merged where they hold few pixels and few errors, renumbered from 0.

    Args:
        histogram: columns ``bin, count, wrong`` and any others; ``bin`` increases with uncertainty.

    Returns:
        The same rows with ``bin`` replaced.
    """
    totals = histogram.group_by("bin").agg(pl.col("count").sum(), pl.col("wrong").sum()).sort("bin")
    # The middle of a bin, so that a bin with much in it never shares a part with its neighbours' far ends.
    parts = [
        ((pl.col(name).cum_sum() - pl.col(name) / 2) * _PARTS / pl.col(name).sum().clip(1)).floor()
        for name in ("count", "wrong")
    ]
    merged = totals.select(
        "bin", part=pl.struct(*(p.alias(str(i)) for i, p in enumerate(parts))).rle_id().cast(pl.Int32)
    )
    return histogram.join(merged, on="bin", how="left").with_columns(bin=pl.col("part")).drop("part")


def calibration_error(results: Results, variant: str, place: Place) -> PatientTable:
    """Return the patient table of the positive-class expected calibration error of the pixels, averaged over the seeds.

    ECE = sum over 15 bins of (pixels in the bin / pixels) |mean probability - share of reference pixels|.
    """
    frames = [
        load_calibration(cell, condition=place[0], eps=place[1]).with_columns(seed=pl.lit(cell.seed))
        for cell in results.cells_of(variant)
    ]
    patients, table = _patient_sums(pl.concat(frames), ("count", "sum_probability", "sum_reference"))
    shape = table.shape[1:]

    def statistic(drawn: Floats) -> Floats:
        parts = drawn.reshape(-1, *shape)
        gap = np.abs(parts[:, :, 1] - parts[:, :, 2]).sum(-1)
        return np.asarray((gap / parts[:, :, 0].sum(-1)).mean(-1), np.float64)

    return PatientTable(patients, table.reshape(len(patients), math.prod(shape)), statistic)


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
