"""Failure detection: how well every image score finds bad segmentations among clean images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from trustseg.deferral.ranking import AURC, DrawnScore, auroc_of_failures, normalised_aurc
from trustseg.reporting.image_scores import ImageScores, image_ranking, numbers, read_scores
from trustseg.reporting.labels import CLEAN, words
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.tables import Row, Table
from trustseg.statistics import Interval, bootstrap_counts, spearman

__all__ = ["TAU", "finder_table", "read_finders", "same_orders"]

TAU: Final = 0.5  # the Dice below which a segmentation has failed, where no policy says otherwise


@dataclass(frozen=True, slots=True)
class Finder:
    """How well one image score of one variant finds its bad segmentations.

    Attributes:
        variant: which models.
        column: the score.
        aurc: area under the risk-coverage curve of 1 - Dice.
        naurc: the same, 0 for an oracle and 1 for a random order.
        auroc: chance that a failed image (Dice below tau) looks less sure than another; NaN without failures.
        size: Spearman's correlation with the predicted area, the mean over seeds; NaN where undefined.
    """

    variant: str
    column: str
    aurc: Interval
    naurc: Interval
    auroc: Interval
    size: float


def read_finders(data: ReportData, *, tau: float = TAU, draws: int = 2000) -> list[Finder]:
    """Return every image score of every variant, the best AURC of a variant first; a Dice below tau is a failure."""
    found: list[Finder] = []
    for variant in data.results.variants:
        mine = []
        for column in data.results.score_columns(variant):
            scores = read_scores(data.results, variant, CLEAN, column)
            if scores.images:
                aurc, naurc, auroc = (
                    _interval(scores, score, draws) for score in (AURC, normalised_aurc, auroc_of_failures(tau))
                )
                mine.append(Finder(variant, column, aurc, naurc, auroc, _size_correlation(data, variant, column)))
        found += sorted(mine, key=lambda finder: (np.nan_to_num(finder.aurc.value, nan=np.inf), finder.column))
    return found


def finder_table(data: ReportData, finders: Sequence[Finder], *, tau: float = TAU) -> Table:
    """Return one row for each score of each variant, in rising order of AURC."""
    rows: list[Row] = []
    places: dict[str, int] = {}
    for finder in finders:
        places[finder.variant] = places.get(finder.variant, 0) + 1
        rows.append(
            {
                "variant": finder.variant,
                "place": places[finder.variant],
                "score": words(finder.column),
                "aurc": finder.aurc,
                "naurc": finder.naurc,
                "auroc": finder.auroc,
                "size": finder.size,
            }
        )
    return data.table("aggregations", rows, tau=f"{tau:g}")


def same_orders(data: ReportData) -> list[str]:
    """Return a sentence for each group of image scores that put the clean images of some variants in one order."""
    results = data.results
    found: dict[tuple[str, ...], list[str]] = {}
    for variant in results.variants:
        groups: dict[bytes, list[str]] = {}
        for column in results.score_columns(variant):
            scores = read_scores(results, variant, CLEAN, column)
            if len(scores.images) > 2:
                groups.setdefault(_ranks(scores), []).append(words(column))
        for group in groups.values():
            if len(group) > 1:
                found.setdefault(tuple(group), []).append(variant)
    return [
        f"{'every variant' if len(who) == len(results.variants) else ', '.join(who)}: {', '.join(group[:-1])} and "
        f"{group[-1]} put the images in the same order."
        for group, who in found.items()
    ]


def _ranks(scores: ImageScores) -> bytes:
    """Return the dense ranks of the images for each seed, comparable as bytes."""
    return b"".join(np.unique(row, return_inverse=True)[1].astype(np.int64).tobytes() for row in scores.uncertainty)


def _interval(scores: ImageScores, score: DrawnScore, draws: int) -> Interval:
    """Return a score of drawn images, the mean over the seeds, with its interval over patients."""
    return bootstrap_counts(image_ranking(scores, score), scores.patients, draws=draws)


def _size_correlation(data: ReportData, variant: str, column: str) -> float:
    """Return the mean over seeds of Spearman's correlation with the predicted area, over all clean test images."""
    rows = data.results.records.filter(pl.col("variant") == variant, pl.col("condition") == "clean")
    found = [
        spearman(numbers(frame, column), frame["predicted_px"].to_numpy())
        for _, frame in rows.group_by("seed", maintain_order=True)
    ]
    return float(np.mean(found)) if found else float("nan")
