"""What image scores detect: bad segmentations among clean images, and images of other populations."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Final

import numpy as np
import polars as pl
from scipy import sparse

from trustseg import metrics
from trustseg.deferral.ranking import auroc_of_failures, by_blocks, normalised_aurc
from trustseg.reporting.image_rankings import ImageScores, RankingScore, ranking_of, read_scores
from trustseg.reporting.image_scores import Floats, patients_of
from trustseg.reporting.labels import CLEAN, words
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.results import Results
from trustseg.reporting.tables import Row, Table
from trustseg.statistics import Interval, bootstrap_contrast, bootstrap_mean, spearman
from trustseg.tables import floats_of

__all__ = ["TAU", "failure_detection_table", "population_tables", "populations_of", "same_orders"]

TAU: Final = 0.5  # the Dice below which a segmentation has failed, where no policy says otherwise


def failure_detection_table(data: ReportData, *, tau: float = TAU) -> Table:
    """Return how well every image score of every variant finds bad segmentations, in rising order of AURC.

    A Dice below tau is a failure. ``naurc`` is 0 for an oracle and 1 for a random order; ``size`` is Spearman's
    correlation with the predicted area, the mean over seeds.
    """
    compared = metrics.metrics_of("image_ranking", least="compared")
    measured = {name: by_blocks(metric) for name, metric in compared.items()}
    measured |= {"naurc": normalised_aurc, "auroc": auroc_of_failures(tau)}
    rows: list[Row] = []
    for variant in data.results.variants:
        found = {
            column: {name: ranking_of(scores, score, draws=data.draws) for name, score in measured.items()}
            for column, scores in _clean_scores(data.results, variant, least=1).items()
        }
        order = sorted(found, key=lambda column: (np.nan_to_num(found[column]["aurc"].value, nan=np.inf), column))
        for place, column in enumerate(order, start=1):
            size = _size_correlation(data.results, variant, column)
            rows.append({"variant": variant, "place": place, "score": words(column), **found[column], "size": size})
    return data.table("aggregations", rows, tau=f"{tau:g}")


def same_orders(data: ReportData) -> list[str]:
    """Return a sentence for each group of image scores that put the clean images of some variants in one order."""
    variants_by_group: dict[tuple[str, ...], list[str]] = {}
    for variant in data.results.variants:
        groups: dict[bytes, list[str]] = {}
        for column, scores in _clean_scores(data.results, variant, least=3).items():
            ranks = [np.unique(row, return_inverse=True)[1].astype(np.int64) for row in scores.uncertainty]
            groups.setdefault(b"".join(row.tobytes() for row in ranks), []).append(words(column))
        for group in groups.values():
            if len(group) > 1:
                variants_by_group.setdefault(tuple(group), []).append(variant)
    sentences = []
    for (*first, last), variants in variants_by_group.items():
        who = "every variant" if len(variants) == len(data.results.variants) else ", ".join(variants)
        sentences.append(f"{who}: {', '.join(first)} and {last} put the images in the same order.")
    return sentences


def _clean_scores(results: Results, variant: str, *, least: int) -> dict[str, ImageScores]:
    found = {column: read_scores(results, variant, CLEAN, column) for column in results.score_columns(variant)}
    return {column: scores for column, scores in found.items() if len(scores.images) >= least}


def _size_correlation(results: Results, variant: str, column: str) -> float:
    """Return the mean over seeds of Spearman's correlation with the predicted area, over all clean test images."""
    rows = results.records.filter(pl.col("variant") == variant, pl.col("condition") == "clean")
    found = [
        spearman(floats_of(frame, column), frame["predicted_px"].to_numpy())
        for _, frame in rows.group_by("seed", maintain_order=True)
    ]
    return float(np.mean(found)) if found else float("nan")


def populations_of(results: Results) -> list[str]:
    """Return the names of the other populations that were evaluated."""
    rows = results.populations
    return [] if rows.is_empty() else rows["condition"].unique(maintain_order=True).to_list()


def population_tables(data: ReportData) -> tuple[Table, ...]:
    """Return what is predicted on other populations, and how well scores tell them from the clean test images.

    The patients of the test images and of a population are drawn apart.
    """
    areas: list[Row] = []
    all_scores: list[Row] = []
    headline_scores: list[Row] = []
    for name, variant in product(populations_of(data.results), data.results.variants):
        rows = data.results.populations.filter(pl.col("condition") == name)
        own_rows = rows.filter(pl.col("variant") == variant)
        if own_rows.is_empty():
            continue
        population, patients = words(name), patients_of(own_rows)
        predicted, pixels = floats_of(own_rows, "predicted_px"), own_rows["pixels"].to_numpy()
        area = bootstrap_mean(predicted / pixels, patients, draws=data.draws)
        areas.append(
            {
                "population": population,
                "images": rows["image"].n_unique(),
                "patients": area.patients,
                "variant": variant,
                "touched": bootstrap_mean((predicted > 0).astype(np.float64), patients, draws=data.draws),
                "area": replace(area, value=100 * area.value, low=100 * area.low, high=100 * area.high),
            }
        )
        for column in data.results.score_columns(variant):
            if found := _detection(data.results, own_rows, variant, column):
                all_scores.append({"population": population, "variant": variant, "score": words(column), **found})
                headline_scores += all_scores[-1:] if column in data.all_columns[variant].values() else []
    tables = {"population_area": areas, "populations": headline_scores, "populations_all": all_scores}
    return tuple(data.table(key, rows) for key, rows in tables.items())


def _detection(results: Results, population: pl.DataFrame, variant: str, column: str) -> dict[str, Interval]:
    """Return how well a score tells images from the clean test images; those of the runs of a variant are averaged."""
    clean = results.records.filter(pl.col("variant") == variant, pl.col("condition") == "clean")
    clean, population = (frame.drop_nulls(column).filter(pl.col(column).is_finite()) for frame in (clean, population))
    if not len(clean) or not len(population):
        return {}
    parts = [_blocks(clean, population, column, run) for run in sorted(set(clean["cell"]) & set(population["cell"]))]

    def statistic_of(score: RankingScore) -> Callable[[Floats, Floats], Floats]:
        def statistic(times: Floats, other_times: Floats) -> Floats:
            blocks = [(times @ first, other_times @ second) for first, second in parts]
            values = [score(negative + positive, positive) for negative, positive in blocks]
            return np.asarray(np.mean(values, axis=0), np.float64)

        return statistic

    patients = patients_of(clean), patients_of(population)
    return {
        name: bootstrap_contrast(statistic_of(metric), *patients, draws=results.draws)
        for name, metric in metrics.metrics_of("detection").items()
    }


def _blocks(known: pl.DataFrame, other: pl.DataFrame, column: str, run: str) -> tuple[sparse.csr_array, ...]:
    """Return which rows of a run lie in which of K blocks of equal scores, in rising order, (N, K) of each sample."""
    values = np.unique(pl.concat([frame.filter(cell=run)[column] for frame in (known, other)]))
    found = []
    for frame in (known, other):
        rows = np.flatnonzero(frame["cell"].to_numpy() == run)
        places = np.searchsorted(values, frame[column].to_numpy()[rows])
        found.append(sparse.csr_array((np.ones(len(rows)), (rows, places)), shape=(len(frame), len(values))))
    return tuple(found)
