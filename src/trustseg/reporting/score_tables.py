"""The tables of overlap, ranking, calibration, change of uncertainty, checks, repetitions and costs."""

import math
from collections.abc import Callable, Iterator
from statistics import median
from typing import Final

import polars as pl

from trustseg import metrics
from trustseg.records import REGIONS, is_metric_column
from trustseg.reporting import image_rankings
from trustseg.reporting.cells import FinishedCell
from trustseg.reporting.image_rankings import rank_correlation, read_scores
from trustseg.reporting.image_scores import false_positive_area, mean_of, per_image, rows_of
from trustseg.reporting.labels import CLEAN, describe_attack, describe_condition, describe_eps, describe_metric, words
from trustseg.reporting.pixel_scores import estimate, pixel_table
from trustseg.reporting.report_data import ReportData, as_table
from trustseg.reporting.tables import Row, Table
from trustseg.run_files import Evaluation, read_checked

__all__ = ["TABLES"]

_RANKINGS: Final = ("pixel_ranking", "image_ranking")


@as_table
def checks(data: ReportData) -> Iterator[Row]:
    """Yield one row per model and check of gradient masking."""
    for check in data.checks:
        yield {
            "variant": check.variant,
            "model": check.model,
            "check": words(check.name),
            "figure": check.value,
            "threshold": check.threshold,
            "status": words(check.status),
            "meaning": check.meaning,
        }


@as_table
def differences(data: ReportData) -> Iterator[Row]:
    """Yield one row per paired difference between two variants."""
    for item in data.differences:
        yield {
            "variant": item.variant,
            "baseline": item.baseline,
            "metric": describe_metric(item.metric),
            "condition": describe_condition(item.condition),
            "difference": item.interval,
            "verdict": item.verdict,
            "scope": "these trained models" if item.tentative else "",
        }


@as_table
def robustness(data: ReportData) -> Iterator[Row]:
    """Yield the overlap of every variant under every attack and budget."""
    overlaps = metrics.metrics_of("image", least="summary")
    conditions = dict.fromkeys(key for attack in data.attacks for key in data.curve(attack))
    for variant in data.results.variants:
        for condition in data.evaluated_conditions(variant, {CLEAN: None} | conditions):
            found = {metric: data.score(variant, condition, metric) for metric in overlaps}
            yield {
                "variant": variant,
                "condition": "clean" if condition == CLEAN else describe_attack(condition[0]),
                "eps": describe_eps(condition),
                "images": found["dice"].count,
                **found,
                "trust": data.trust(variant, condition),
            }


@as_table
def mask_metrics(data: ReportData) -> Iterator[Row]:
    """Yield the mean of every further metric that was evaluated, over the images with foreground."""
    columns = [name for name in data.results.records.columns if is_metric_column(name)]
    for variant in data.results.variants:
        for condition in data.evaluated_conditions(variant, data.clean_and_attacked if columns else ()):
            means = {name: mean_of(data.results, variant, condition, name) for name in columns}
            yield {"variant": variant, "condition": describe_condition(condition), **means}


@as_table
def false_positives(data: ReportData) -> Iterator[Row]:
    """Yield the area predicted as foreground in images without foreground, clean and attacked."""
    under = dict(zip(("clean", "attacked"), data.clean_and_attacked, strict=False))
    for variant in data.results.variants:
        areas = {key: false_positive_area(data.results, variant, condition) for key, condition in under.items()}
        if areas["clean"].count:
            yield {"variant": variant, "images": areas["clean"].count, **areas}


@as_table
def ranking(data: ReportData) -> Iterator[Row]:
    """Yield how well uncertainty ranks wrong pixels and bad images, clean and attacked."""
    for variant, measure in data.measures.items():
        for condition in data.clean_and_attacked:
            about = {"variant": variant, "measure": words(measure), "condition": describe_condition(condition)}
            yield about | {metric: data.score(variant, condition, metric) for metric in metrics.metrics_of(*_RANKINGS)}


@as_table
def measures(data: ReportData) -> Iterator[Row]:
    """Yield the ranking of wrong pixels and bad images by every measure: heads are compared by one they share."""
    under = dict(zip(("", "robust_"), data.clean_and_attacked, strict=False))
    compared = metrics.metrics_of(*_RANKINGS, least="compared")
    for variant, found in data.all_columns.items():
        for measure in found:
            yield {"variant": variant, "measure": words(measure)} | {
                f"{prefix}{metric}": data.score(variant, condition, metric, measure)
                for metric in compared
                for prefix, condition in under.items()
            }


@as_table
def calibration(data: ReportData) -> Iterator[Row]:
    """Yield the positive-class calibration error, clean and attacked."""
    under = dict(zip(("", "robust_"), data.clean_and_attacked, strict=False))
    places = [(metric, *where) for metric in metrics.metrics_of("calibration") for where in under.items()]
    for variant in data.results.variants:
        yield {"variant": variant} | {f"{key}{name}": data.score(variant, where, name) for name, key, where in places}


@as_table
def calibration_regions(data: ReportData) -> Iterator[Row]:
    """Yield the positive-class calibration error of each region, clean and attacked; no row for old tables."""
    ece = metrics.METRICS["ece"]
    for variant in data.results.variants:
        for condition in data.clean_and_attacked:
            tables = {region: pixel_table(data.results, variant, condition, ece, region=region) for region in REGIONS}
            if tables["boundary"].patients:
                errors = {region: estimate(table, draws=data.draws) for region, table in tables.items()}
                yield {"variant": variant, "condition": describe_condition(condition), **errors}


@as_table
def uncertainty_change(data: ReportData) -> Iterator[Row]:
    """Yield what the headline attack does to the image uncertainty of each variant."""
    for variant in data.attacked_variants:
        column, attacked = data.columns[variant], data.clean_and_attacked[-1]
        clean, robust = (
            rank_correlation(read_scores(data.results, variant, condition, column), draws=data.draws)
            for condition in (CLEAN, attacked)
        )
        found = image_rankings.uncertainty_change(data.results, variant, attacked, column)
        yield {
            "variant": variant,
            "measure": words(data.measures[variant]),
            "change": found["change"],
            "share_lower": found["share_lower"],
            "correlation": clean,
            "robust_correlation": robust,
            "detection": found["detection"],
        }


@as_table
def repetitions(data: ReportData) -> Iterator[Row]:
    """Yield what each variant's numbers rest on, and how far single seeds lie apart."""
    results = data.results
    for variant in results.variants:
        cells = results.cells_of(variant)
        images, clean = (read(results, variant, CLEAN) for read in (per_image, rows_of))
        per_seed = clean.group_by("seed").agg(pl.col("dice").fill_nan(None).mean())["dice"].drop_nulls().to_list()
        yield {
            "variant": variant,
            "folds": len({cell.fold for cell in cells}),
            "seeds": len({cell.seed for cell in cells}),
            "models": len(results.trainings_of(variant)),
            "images": len(images),
            "empty": images.filter(pl.col("mask_px") == 0).height,
            "patients": images["patient"].n_unique(),
            "lowest_dice": min(per_seed, default=math.nan),
            "highest_dice": max(per_seed, default=math.nan),
            "epochs": max((cell.done.epochs for cell in cells if cell.done.epochs is not None), default=0),
            "seconds_training": sum(cell.done.seconds_training for cell in cells),
            "seconds_evaluation": sum(cell.done.seconds_evaluation for cell in cells),
        }


def costs(data: ReportData) -> Table:
    """Return one row per variant: what a model takes to train and a clean prediction to make, and how good it is.

    Variants whose evaluation did not record its cost are left out.
    """
    seconds = {cell.id: cell.done.seconds_training for cell in data.results.cells}
    rows: list[Row] = []
    places: set[str] = set()
    judged = metrics.metrics_of(least="compared")
    for variant in data.results.variants:
        cells = data.results.cells_of(variant)
        found = [cost for cost in map(_cost, cells) if {"passes", "seconds_per_image"} <= cost.model_fields_set]
        if not found:
            continue
        places |= {f"{one.timed_on}, {one.timed_threads} threads, batches of {one.timed_batch_size}" for one in found}
        trained = [sum(seconds.get(name, math.nan) for name in cell.members or (cell.id,)) for cell in cells]
        row: Row = {
            "variant": variant,
            "models": max(len(cell.members) or 1 for cell in cells),
            "seconds_training": median(trained),
            "passes": max(cost.passes for cost in found),
            "milliseconds": 1000 * median(cost.seconds_per_image for cost in found),
        }
        rows.append({**row, **{metric: data.score(variant, CLEAN, metric) for metric in judged}})
    by = " or ".join(sorted({words(measure) for measure in data.measures.values()}))
    rankings = metrics.metrics_of(*_RANKINGS, least="compared")
    ranked = {metric: f"{describe_metric(metric)} ({by})" for metric in rankings}
    timing = f"Times: median over the runs; a prediction's is that of 3 batches on {' or '.join(sorted(places))}"
    timing += "; times taken differently are not comparable." if len(places) > 1 else "."
    return data.table("costs", rows, ranked, timing=timing)


def _cost(cell: FinishedCell) -> Evaluation:
    path = cell.folder / "evaluation.json"
    return read_checked(path, Evaluation) if path.is_file() else Evaluation()


TABLES: Final[tuple[Callable[[ReportData], Table], ...]] = (
    *(checks, differences, robustness, mask_metrics, false_positives, ranking, measures),
    *(calibration, calibration_regions, uncertainty_change, repetitions, costs),
)
