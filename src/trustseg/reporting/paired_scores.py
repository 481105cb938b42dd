"""Paired differences of two variants in one score, seed by seed, with intervals over patients and seeds."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trustseg.deferral.ranking import AURC
from trustseg.metrics import nause_from_counts
from trustseg.records import metric_column
from trustseg.reporting.cell_tables import at
from trustseg.reporting.deployed import deployed, is_deployed, policy_by
from trustseg.reporting.image_scores import Floats, numbers, patients_of, rows_of
from trustseg.reporting.labels import ConditionKey
from trustseg.reporting.pixel_scores import PatientTable, pixel_calibration, pixel_ranking
from trustseg.reporting.results import Results
from trustseg.statistics import Comparison, compare_drawn, compare_images, draw_patients

__all__ = ["SCORES", "Side", "calibration_difference", "compare_values", "paired_difference"]


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: a variant, and the measure and record column of its uncertainty."""

    variant: str
    measure: str
    column: str


def paired_difference(
    results: Results, first: Side, second: Side, condition: ConditionKey, score: str, *, draws: int
) -> Comparison:
    """Return the difference first - second in one score under one condition, over the seeds and images of both.

    The score is one of ``SCORES``, else a metric of single images, by its name in records. Without a seed and an image
    that both have, its interval is undefined.
    """
    if score in SCORES:
        return SCORES[score](results, first, second, condition, draws)
    value = pl.col(metric_column(score))
    frames = [rows_of(results, side.variant, condition).with_columns(value=value) for side in (first, second)]
    return compare_values(frames[0], frames[1], draws=draws)


def _unnoticed(results: Results, first: Side, second: Side, condition: ConditionKey, draws: int) -> Comparison:
    """Compare the share of images that an attack harms and that the deferral policy of the run does not send on.

    Each run decides by its own policy, fitted on its validation images; a run without one is left out.
    """
    frames = [_harmed(results, side, condition) for side in (first, second)]
    return compare_values(frames[0], frames[1], draws=draws)


def _harmed(results: Results, side: Side, condition: ConditionKey) -> pl.DataFrame:
    here = at(condition)
    frames = []
    for cell in filter(is_deployed, results.cells_of(side.variant)):
        policy = policy_by(cell, measure=side.measure, column=side.column)
        own = results.records.filter(pl.col("cell") == cell.id, here | (pl.col("kind") == "clean"))
        if len(own):
            frames.append(deployed(own, policy).filter(here).with_columns(value=pl.col("unnoticed").cast(pl.Float64)))
    return pl.concat(frames, how="diagonal_relaxed") if frames else results.records.clear().with_columns(value=0.0)


def compare_values(first: pl.DataFrame, second: pl.DataFrame, *, draws: int) -> Comparison:
    """Return the difference first - second of the column ``value`` on the images of both, seeds apart."""
    columns = ["image", "patient", "seed", "value"]
    pairs = first.select(columns).join(second.select(columns), on=["image", "seed"], suffix="_second")
    if pairs.is_empty():
        return _undefined()
    values, patients = [], _patients(pairs)
    for side in ("value", "value_second"):
        wide = pairs.pivot("image", index="seed", values=side, aggregate_function="mean").sort("seed")
        values.append(wide.select(patients["image"].to_list()).cast(pl.Float64).fill_null(np.nan).to_numpy())
    return compare_images(values[0], values[1], patients["patient"].to_numpy(), draws=draws)


def _patients(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.group_by("image").agg(pl.col("patient").first()).sort("image")


def _image_ranking(results: Results, first: Side, second: Side, condition: ConditionKey, draws: int) -> Comparison:
    """Compare the area under the risk-coverage curve of images with foreground."""
    kept = [
        rows_of(results, side.variant, condition)
        .filter(pl.col("dice").is_not_null(), ~pl.col("dice").is_nan())
        .select("image", "patient", "seed", u=pl.col(side.column).cast(pl.Float64), risk=1 - pl.col("dice"))
        for side in (first, second)
    ]
    pairs = kept[0].join(kept[1], on=["image", "seed"], suffix="_second").drop_nulls()
    if pairs.is_empty():
        return _undefined()
    patients = _patients(pairs)["patient"].to_numpy()
    names, _, times = draw_patients(patients, draws=draws)
    weights = np.vstack([np.ones(len(names), times.dtype), times])
    columns = []
    for _, rows in pairs.sort("seed", "image").group_by("seed", maintain_order=True):
        drawn = weights[:, np.searchsorted(names, np.char.lower(patients_of(rows)))].astype(np.float64)
        one, other = (AURC(drawn, numbers(rows, f"risk{end}"), numbers(rows, f"u{end}")) for end in ("", "_second"))
        columns.append(one - other)
    table = np.stack(columns, axis=1)
    return compare_drawn(table[0], table[1:], patients, seed=0)


def _pixel_ranking(results: Results, first: Side, second: Side, condition: ConditionKey, draws: int) -> Comparison:
    """Compare the normalised area under the sparsification error of pixels."""

    def table(only: Results, side: Side) -> PatientTable:
        return pixel_ranking(only, side.variant, condition, side.measure, score=nause_from_counts)

    return _of_pixels(table, results, first, second, draws)


def calibration_difference(
    results: Results, first: Side, second: Side, condition: ConditionKey, *, draws: int
) -> Comparison:
    """Return the difference in the calibration error of pixels, which no measure of uncertainty enters."""
    return _of_pixels(
        lambda only, side: pixel_calibration(only, side.variant, condition), results, first, second, draws
    )


def _of_pixels(
    table_of: Callable[[Results, Side], PatientTable], results: Results, first: Side, second: Side, draws: int
) -> Comparison:
    """Compare a score of pixels, seeds apart, on the patients that both sides have."""
    seeds = [{cell.seed for cell in results.cells_of(side.variant)} for side in (first, second)]
    columns: list[Floats] = []
    shared: list[str] | None = None
    for seed in sorted(seeds[0] & seeds[1]):
        only = replace(results, cells=tuple(cell for cell in results.cells if cell.seed == seed))
        one, other = (table_of(only, side) for side in (first, second))
        held = sorted(set(one.patients) & set(other.patients))
        if not held or (shared is not None and held != shared):  # seeds that tested other patients are not comparable
            continue
        shared = held
        names, owner, times = draw_patients(held, draws, 0)
        weights = np.vstack([np.ones(len(names), times.dtype), times])[:, owner].astype(np.float64)
        columns.append(_drawn(one, held, weights) - _drawn(other, held, weights))
    if not columns or shared is None:
        return _undefined()
    table = np.stack(columns, axis=1)
    return compare_drawn(table[0], table[1:], shared, seed=0)


def _drawn(table: PatientTable, patients: list[str], weights: NDArray[np.float64]) -> Floats:
    return table.statistic(weights @ table.table[[table.patients.index(name) for name in patients]])


def _undefined() -> Comparison:
    return compare_drawn([math.nan], [[math.nan]], ["none"], seed=0)


SCORES: Final[Mapping[str, Callable[[Results, Side, Side, ConditionKey, int], Comparison]]] = {
    "nause": _pixel_ranking,
    "aurc": _image_ranking,
    "undetected_harm": _unnoticed,
}
