"""Images of other populations: is the model less sure of them, and what does it claim to find there?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trustseg.metrics import auroc_from_counts, average_precision_from_counts, fpr_at_tpr_from_counts
from trustseg.reporting.image_scores import Floats, RankingScore, patients_of
from trustseg.reporting.labels import words
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.results import Results
from trustseg.reporting.tables import Row, Table, make_table
from trustseg.statistics import Interval, bootstrap_contrast, bootstrap_mean

__all__ = ["Populations", "population_tables", "read_populations"]

DetectionScore = Literal["auroc", "aupr", "fpr95"]

_SCORES: Final[Mapping[DetectionScore, RankingScore]] = {
    "auroc": auroc_from_counts,
    "aupr": average_precision_from_counts,
    "fpr95": fpr_at_tpr_from_counts,
}


@dataclass(frozen=True, slots=True)
class Populations:
    """What a study's models make of other populations.

    Attributes:
        detection: (variant, population, score column) -> how well the score tells these images from the clean test
            images, averaged over the runs of the variant.
        touched: (variant, population) -> share of images with any predicted foreground.
        area: (variant, population) -> mean share of the pixels that is predicted as foreground.
        images: population -> number of its images.
    """

    detection: Mapping[tuple[str, str, str], Mapping[DetectionScore, Interval]]
    touched: Mapping[tuple[str, str], Interval]
    area: Mapping[tuple[str, str], Interval]
    images: Mapping[str, int]


def read_populations(data: ReportData, *, draws: int = 2000) -> Populations:
    """Return what the models of a study make of other populations; nothing where none was evaluated.

    The patients of the test images and of a population are drawn apart.
    """
    results, rows = data.results, data.results.populations
    detection, touched, area = {}, {}, {}
    names = [] if rows.is_empty() else rows["condition"].unique(maintain_order=True).to_list()
    for variant in results.variants:
        for name in names:
            mine = rows.filter(pl.col("variant") == variant, pl.col("condition") == name)
            if mine.is_empty():
                continue
            patients, claimed = patients_of(mine), mine["predicted_px"].cast(pl.Float64).to_numpy()
            touched[variant, name] = bootstrap_mean((claimed > 0).astype(np.float64), patients, draws=draws)
            area[variant, name] = bootstrap_mean(claimed / mine["pixels"].to_numpy(), patients, draws=draws)
            for column in results.score_columns(variant):
                detection[variant, name, column] = _detection(results, mine, variant, column, draws)
    images = {name: rows.filter(pl.col("condition") == name)["image"].n_unique() for name in names}
    return Populations(detection, touched, area, images)


def population_tables(data: ReportData, populations: Populations) -> tuple[Table, ...]:
    """Return what is predicted elsewhere, and how well the scores tell elsewhere from the test images."""
    shown = {(variant, column) for variant, found in data.choices.all_columns.items() for column in found.values()}
    usual = {key: found for key, found in populations.detection.items() if (key[0], key[2]) in shown}
    return (
        _areas(data, populations),
        _detections("populations", usual),
        _detections("populations_all", populations.detection),
    )


def _detection(
    results: Results, elsewhere: pl.DataFrame, variant: str, column: str, draws: int
) -> dict[DetectionScore, Interval]:
    """Return the detection scores of one image score; those of the runs of a variant are averaged."""
    clean = results.records.filter(pl.col("variant") == variant, pl.col("condition") == "clean")
    known, other = (frame.drop_nulls(column).filter(pl.col(column).is_finite()) for frame in (clean, elsewhere))
    if not len(known) or not len(other):
        return {}
    runs = sorted(set(known["cell"]) & set(other["cell"]))
    parts = [_blocks(known, other, column, run) for run in runs]

    def statistic_of(score: RankingScore) -> Callable[[Floats, Floats], Floats]:
        def statistic(times: Floats, other_times: Floats) -> Floats:
            blocks = [(_grouped(times, a), _grouped(other_times, b)) for a, b in parts]
            values = [score(negative + positive, positive) for negative, positive in blocks]
            return np.asarray(np.mean(values, axis=0), np.float64)

        return statistic

    patients = patients_of(known), patients_of(other)
    return {name: bootstrap_contrast(statistic_of(score), *patients, draws=draws) for name, score in _SCORES.items()}


class _Sorted(NamedTuple):
    """Rows of one sample in rising order of the score, and where each block of equal scores begins and ends (K,)."""

    rows: NDArray[np.intp]
    begin: NDArray[np.intp]
    end: NDArray[np.intp]


def _blocks(known: pl.DataFrame, other: pl.DataFrame, column: str, run: str) -> tuple[_Sorted, _Sorted]:
    samples = [(np.flatnonzero(frame["cell"].to_numpy() == run), frame[column].to_numpy()) for frame in (known, other)]
    edges = np.unique(np.concatenate([values[rows] for rows, values in samples]))
    found = []
    for rows, values in samples:
        order = rows[np.argsort(values[rows], kind="stable")]
        ends = [np.searchsorted(values[order], edges, side=side) for side in ("left", "right")]
        found.append(_Sorted(order, ends[0], ends[1]))
    return found[0], found[1]


def _grouped(times: Floats, blocks: _Sorted) -> Floats:
    """Return how many drawn rows lie in each block (D, K)."""
    total = np.zeros((len(times), len(blocks.rows) + 1))
    np.cumsum(times[:, blocks.rows], axis=1, out=total[:, 1:])
    return total[:, blocks.end] - total[:, blocks.begin]


def _areas(data: ReportData, populations: Populations) -> Table:
    rows: list[Row] = [
        {
            "population": words(name),
            "images": count,
            "patients": area.patients,
            "variant": variant,
            "touched": populations.touched[variant, name],
            "area": replace(area, value=100 * area.value, low=100 * area.low, high=100 * area.high),
        }
        for name, count in populations.images.items()
        for (variant, of), area in populations.area.items()
        if of == name
    ]
    return data.table("population_area", rows)


def _detections(key: str, found: Mapping[tuple[str, str, str], Mapping[DetectionScore, Interval]]) -> Table:
    populations = list(dict.fromkeys(population for _, population, _ in found))
    rows: list[Row] = [
        {
            "population": words(name),
            "variant": variant,
            "score": words(column),
            **{str(key): scores[key] for key in _SCORES},
        }
        for name in populations
        for (variant, population, column), scores in found.items()
        if population == name and scores
    ]
    return make_table(key, rows)
