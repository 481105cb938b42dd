"""Images of other populations: is the model less sure of them, and what does it claim to find there?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trustseg.metrics import auroc_from_counts, average_precision_from_counts, fpr_at_tpr_from_counts
from trustseg.reporting.choices import words
from trustseg.reporting.image_scores import Floats
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.results import Results
from trustseg.reporting.tables import Column, Table, Value
from trustseg.statistics import Interval, bootstrap_mean
from trustseg.statistics.contrast import bootstrap_contrast

__all__ = ["population_tables", "read_populations", "score_columns"]

DetectionScore = Literal["auroc", "aupr", "fpr95"]

_SCORES: Final[Mapping[DetectionScore, Callable[[Floats, Floats], Floats]]] = {
    "auroc": auroc_from_counts,
    "aupr": average_precision_from_counts,
    "fpr95": fpr_at_tpr_from_counts,
}
_TITLES: Final = {"auroc": "AUROC", "aupr": "AUPR", "fpr95": "FPR95 ↓"}


@dataclass(frozen=True, slots=True)
class Elsewhere:
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

    def patients(self, variant: str, population: str) -> int:
        """Return the patients of a population that a variant saw."""
        return self.area[variant, population].patients


def read_populations(evidence: ReportData, *, draws: int = 2000) -> Elsewhere:
    """Return what the models of a study make of other populations; nothing where none was evaluated.

    Args:
        evidence: the numbers of the study.
        draws: bootstrap draws, >= 1; the patients of the test images and of a population are drawn apart.
    """
    results, rows = evidence.results, evidence.results.populations
    if rows.is_empty():
        return Elsewhere({}, {}, {}, {})
    names = rows["condition"].unique(maintain_order=True).to_list()
    detection, touched, area = {}, {}, {}
    for variant in results.variants:
        for name in names:
            mine = rows.filter(pl.col("variant") == variant, pl.col("condition") == name)
            if mine.is_empty():
                continue
            patients = mine["patient"].to_numpy().astype(np.str_)
            claimed = mine["predicted_px"].cast(pl.Float64).to_numpy()
            touched[variant, name] = bootstrap_mean((claimed > 0).astype(np.float64), patients, draws=draws)
            area[variant, name] = bootstrap_mean(claimed / mine["pixels"].to_numpy(), patients, draws=draws)
            for column in score_columns(results, variant):
                detection[variant, name, column] = _detection(results, mine, variant, column, draws)
    images = {name: rows.filter(pl.col("condition") == name)["image"].n_unique() for name in names}
    return Elsewhere(detection, touched, area, images)


def score_columns(results: Results, variant: str) -> list[str]:
    """Return the image scores that the records of a variant hold."""
    rows = results.records.filter(pl.col("variant") == variant)
    return [name for name in rows.columns if name.startswith("u_") and rows[name].null_count() < len(rows)]


def population_tables(evidence: ReportData, elsewhere: Elsewhere) -> tuple[Table, ...]:
    """Return what is predicted elsewhere, and how well the scores tell elsewhere from the test images."""
    shown = {(variant, column) for variant, found in evidence.choices.all_columns.items() for column in found.values()}
    usual = {key: found for key, found in elsewhere.detection.items() if (key[0], key[2]) in shown}
    return (
        _areas(elsewhere),
        _detections("populations", "Do unknown images look less sure than the clean test images?", usual),
        _detections("populations_all", "The same by every score of an image", elsewhere.detection),
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

    def statistic_of(score: Callable[[Floats, Floats], Floats]) -> Callable[[Floats, Floats], Floats]:
        def statistic(times: Floats, other_times: Floats) -> Floats:
            blocks = [(_grouped(times, a), _grouped(other_times, b)) for a, b in parts]
            values = [score(negative + positive, positive) for negative, positive in blocks]
            return np.asarray(np.mean(values, axis=0), np.float64)

        return statistic

    patients = [frame["patient"].to_numpy().astype(np.str_) for frame in (known, other)]
    return {
        name: bootstrap_contrast(statistic_of(score), patients[0], patients[1], draws=draws)
        for name, score in _SCORES.items()
    }


@dataclass(frozen=True, slots=True)
class _Sorted:
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


def _areas(elsewhere: Elsewhere) -> Table:
    columns = (
        Column("population", "Population"),
        Column("images", "Images"),
        Column("patients", "Patients"),
        Column("variant", "Variant"),
        Column("touched", "Share with any foreground predicted"),
        Column("area", "Mean area predicted, % of the image", digits=2),
    )
    rows: list[dict[str, Value]] = [
        {
            "population": words(name),
            "images": count,
            "patients": elsewhere.patients(variant, name),
            "variant": variant,
            "touched": elsewhere.touched[variant, name],
            "area": _percent(elsewhere.area[variant, name]),
        }
        for name, count in elsewhere.images.items()
        for variant, of in elsewhere.area
        if of == name
    ]
    return Table("population_area", "What is predicted on images of other populations", columns, tuple(rows))


def _detections(key: str, title: str, found: Mapping[tuple[str, str, str], Mapping[DetectionScore, Interval]]) -> Table:
    columns = [Column("population", "Population"), Column("variant", "Variant"), Column("score", "Score of an image")]
    columns += [Column(name, _TITLES[name]) for name in _SCORES]
    populations = list(dict.fromkeys(population for _, population, _ in found))
    rows: list[dict[str, Value]] = []
    for name in populations:
        for (variant, population, column), scores in found.items():
            if population == name and scores:
                row: dict[str, Value] = {"population": words(name), "variant": variant}
                row |= {"score": words(column.removeprefix("u_"))}
                rows.append(row | {score: scores[score] for score in _SCORES})
    return Table(key, title, tuple(columns), tuple(rows))


def _percent(share: Interval) -> Interval:
    return replace(share, value=100 * share.value, low=100 * share.low, high=100 * share.high)
