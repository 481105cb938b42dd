"""Scores of all pixels of a test set with their patient-bootstrap intervals, from histograms of each patient.

As for images, the folds of a variant are one test set, and a score is computed for each seed and then averaged.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from trustseg.metrics import ause_from_counts, calibration_error_from_counts
from trustseg.reporting.brier import KNOWING, oracle_blocks
from trustseg.reporting.image_scores import UNDEFINED, ConditionKey, Floats, RankingScore
from trustseg.reporting.results import Results, load_calibration, load_histogram
from trustseg.statistics import Interval, bootstrap_rows

__all__ = [
    "PatientTable",
    "estimate",
    "estimate_difference",
    "merge_bins",
    "pixel_calibration",
    "pixel_ranking",
    "squared_error_ranking",
]

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


def pixel_ranking(
    results: Results, variant: str, place: ConditionKey, measure: str, *, score: RankingScore
) -> PatientTable:
    """Return the patient table of a ranking score (AUSE, nAUSE) of the pixels, averaged over the seeds.

    Neighbouring bins are merged to about 1000, none holding more than 1/500 of the pixels or of the errors unless it
    was one bin before.
    """
    frame = _histograms(results, variant, place, measure)
    patients, table = _patient_sums(merge_bins(frame), ("count", "wrong"))
    shape = table.shape[1:]

    def statistic(drawn: Floats) -> Floats:
        parts = drawn.reshape(-1, *shape)
        return np.asarray(score(parts[:, :, 0], parts[:, :, 1]).mean(-1), np.float64)

    return PatientTable(patients, table.reshape(len(patients), math.prod(shape)), statistic)


def squared_error_ranking(results: Results, variant: str, place: ConditionKey, measure: str) -> PatientTable:
    """Return the patient table of AUSE with squared errors (p - y)^2 (AUSE-Brier), averaged over the seeds.

    AUSE = (AURC - AURC of the oracle) / mean error. The oracle's order follows from the entropy or the variance, which
    one of must have been stored; without, there are no patients.
    """
    known = next((name for name in KNOWING if _histograms(results, variant, place, name).height), None)
    frame = _histograms(results, variant, place, measure)
    if known is None or frame.is_empty():
        return PatientTable([], np.zeros((0, 0)), lambda drawn: drawn[:, 0])
    best = oracle_blocks(_histograms(results, variant, place, known), measure=known)
    patients, table = _patient_sums(merge_bins(frame, error="brier"), ("count", "brier"))
    _, oracle = _patient_sums(merge_bins(best, error="brier"), ("count", "brier"))
    sizes = [math.prod(part.shape[1:]) for part in (table, oracle)]

    def statistic(drawn: Floats) -> Floats:
        own = drawn[:, : sizes[0]].reshape(-1, *table.shape[1:])
        least = drawn[:, sizes[0] :].reshape(-1, *oracle.shape[1:])
        total, rebuilt = own[:, :, 1].sum(-1), least[:, :, 1].sum(-1)
        scale = np.divide(total, rebuilt, out=np.zeros_like(total), where=rebuilt > 0)  # a bin's middle is not its mean
        oracle_errors = scale[..., None] * least[:, :, 1]
        scores = ause_from_counts(own[:, :, 0], own[:, :, 1], oracle=(least[:, :, 0], oracle_errors))
        return np.asarray(scores.mean(-1), np.float64)

    rows = [part.reshape(len(patients), size) for part, size in zip((table, oracle), sizes, strict=True)]
    return PatientTable(patients, np.hstack(rows), statistic)


def merge_bins(histogram: pl.DataFrame, *, error: str = "wrong") -> pl.DataFrame:
    """Return the histogram with neighbouring bins merged where they hold few pixels and few errors, renumbered from 0.

    Args:
        histogram: columns ``bin``, ``count``, ``error`` and any others; ``bin`` increases with uncertainty.
        error: name of the column with the errors.

    Returns:
        The same rows with ``bin`` replaced.
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


def pixel_calibration(results: Results, variant: str, place: ConditionKey, *, region: str = "whole") -> PatientTable:
    """Return the patient table of the positive-class expected calibration error of the pixels, averaged over the seeds.

    Args:
        results: the study.
        variant: which models.
        place: condition with eps.
        region: ``"whole"`` image, ``"boundary"`` band or reference ``"foreground"``; no patients where not evaluated.
    """
    frames = [
        load_calibration(cell, condition=place[0], eps=place[1], region=region).with_columns(seed=pl.lit(cell.seed))
        for cell in results.cells_of(variant)
    ]
    patients, table = _patient_sums(pl.concat(frames), ("count", "sum_probability", "sum_reference"))
    shape = table.shape[1:]

    def statistic(drawn: Floats) -> Floats:
        counts = np.moveaxis(drawn.reshape(-1, *shape), 2, -1)
        return np.asarray(calibration_error_from_counts(counts).mean(-1), np.float64)

    return PatientTable(patients, table.reshape(len(patients), math.prod(shape)), statistic)


def _histograms(results: Results, variant: str, place: ConditionKey, measure: str) -> pl.DataFrame:
    """Return the histograms of all runs of a variant, with their seeds."""
    return pl.concat(
        load_histogram(cell, condition=place[0], eps=place[1], measure=measure).with_columns(seed=pl.lit(cell.seed))
        for cell in results.cells_of(variant)
    )


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
