"""The tables of overlap, ranking, calibration, uncertainty shift and repetitions."""

import math
from dataclasses import replace
from typing import Final

import polars as pl

from trustseg.records import REGIONS
from trustseg.reporting.checks import trust
from trustseg.reporting.image_scores import UNDEFINED, mean_of, per_image, rows_of
from trustseg.reporting.labels import (
    CLEAN,
    METRIC_NAMES,
    ConditionKey,
    describe_attack,
    describe_condition,
    describe_eps,
    describe_metric,
    words,
)
from trustseg.reporting.pixel_scores import estimate, pixel_calibration
from trustseg.reporting.report_data import Metric, ReportData
from trustseg.reporting.tables import Row, Table
from trustseg.statistics import Interval

__all__ = [
    "calibration",
    "calibration_regions",
    "differences",
    "false_positives",
    "mask_metrics",
    "measures",
    "ranking",
    "repetitions",
    "robustness",
    "shift",
]

_RANKINGS: Final[tuple[Metric, ...]] = ("ause", "ause_brier", "nause", "aurc", "augrc")


def differences(data: ReportData) -> Table:
    """Return one row per paired difference between two variants."""
    rows = [
        {
            "variant": item.variant,
            "baseline": item.baseline,
            "metric": METRIC_NAMES[item.metric],
            "condition": describe_condition(item.condition),
            "difference": item.interval,
            "verdict": item.verdict,
            "scope": "these trained models" if item.tentative else "",
        }
        for item in data.differences
    ]
    return data.table("differences", rows)


def robustness(data: ReportData) -> Table:
    """Return Dice and IoU of every variant under every attack and budget."""
    rows = [
        {
            "variant": variant,
            "condition": "clean" if condition == CLEAN else describe_attack(condition[0]),
            "eps": describe_eps(condition),
            "images": found["dice"].count,
            "dice": found["dice"],
            "iou": found["iou"],
            "trust": None if condition == CLEAN else trust(data.checks, variant),
        }
        for (variant, condition), found in data.robustness.items()
    ]
    return data.table("robustness", rows)


def mask_metrics(data: ReportData, *, draws: int) -> Table:
    """Return the mean of every further metric that was evaluated, over the images with foreground."""
    columns = [name for name in data.results.records.columns if name.startswith("metric_")]
    rows: list[Row] = [
        {"variant": variant, "condition": describe_condition(condition)}
        | {name: mean_of(data.results, variant, condition, name, draws=draws) for name in columns}
        for variant in data.results.variants
        for condition in data.evaluated(variant, data.choices.compared if columns else ())
    ]
    return data.table("mask_metrics", rows, {name: describe_metric(name) for name in columns})


def false_positives(data: ReportData) -> Table:
    """Return the area predicted as foreground in images without foreground, clean and attacked."""
    under = dict(zip(("clean", "attacked"), data.choices.compared, strict=False))
    rows: list[Row] = []
    for variant in data.results.variants:
        areas = {key: _over_patients(data, variant, condition) for key, condition in under.items()}
        if areas["clean"].count:
            rows.append({"variant": variant, "images": areas["clean"].count, **areas})
    return data.table("false_positives", rows)


def ranking(data: ReportData) -> Table:
    """Return how well uncertainty ranks wrong pixels and bad images, clean and attacked."""
    rows = [
        {"variant": variant, "measure": words(measure), "condition": describe_condition(condition)}
        | {metric: data.score(variant, condition, metric) for metric in _RANKINGS}
        for variant, measure in data.choices.measures.items()
        for condition in data.choices.compared
    ]
    return data.table("ranking", rows)


def measures(data: ReportData) -> Table:
    """Return the ranking of wrong pixels and bad images by every measure: heads are compared by one they share."""
    metrics: tuple[Metric, ...] = ("nause", "aurc")
    under = dict(zip(("", "robust_"), data.choices.compared, strict=False))
    rows = [
        {"variant": variant, "measure": words(measure)}
        | {
            f"{prefix}{metric}": data.measures.get((variant, condition, measure), {}).get(metric, UNDEFINED)
            for metric in metrics
            for prefix, condition in under.items()
        }
        for variant, found in data.choices.all_columns.items()
        for measure in found
    ]
    return data.table("measures", rows)


def calibration(data: ReportData) -> Table:
    """Return the positive-class calibration error, clean and attacked."""
    under = dict(zip(("ece", "robust_ece"), data.choices.compared, strict=False))
    rows = [
        {"variant": variant} | {key: data.score(variant, condition, "ece") for key, condition in under.items()}
        for variant in data.results.variants
    ]
    return data.table("calibration", rows)


def calibration_regions(data: ReportData, *, draws: int) -> Table:
    """Return the positive-class calibration error of each region, clean and attacked; no row for old tables."""
    rows: list[Row] = []
    for variant in data.results.variants:
        for condition in data.choices.compared:
            tables = {region: pixel_calibration(data.results, variant, condition, region=region) for region in REGIONS}
            if tables["boundary"].patients:
                row: Row = {"variant": variant, "condition": describe_condition(condition)}
                rows.append({**row, **{region: estimate(table, draws=draws) for region, table in tables.items()}})
    return data.table("calibration_regions", rows)


def shift(data: ReportData) -> Table:
    """Return what the headline attack does to the image uncertainty of each variant."""
    attacked = data.choices.compared[-1]
    rows: list[Row] = [
        {
            "variant": variant,
            "measure": words(data.choices.measures[variant]),
            "change": found.change,
            "share_lower": found.share_lower,
            "correlation": data.correlations.get((variant, CLEAN), UNDEFINED),
            "robust_correlation": data.correlations.get((variant, attacked), UNDEFINED),
            "detection": found.detection,
        }
        for variant, found in data.shifts.items()
    ]
    return data.table("shift", rows)


def repetitions(data: ReportData) -> Table:
    """Return what each variant's numbers rest on, and how far single seeds lie apart."""
    return data.table("repetitions", [_repetition(data, variant) for variant in data.results.variants])


def _over_patients(data: ReportData, variant: str, condition: ConditionKey) -> Interval:
    """Return a false-positive area, without the ends that one patient alone cannot give."""
    found = data.false_positives.get((variant, condition), UNDEFINED)
    return found if found.patients > 1 else replace(found, low=math.nan, high=math.nan)


def _repetition(data: ReportData, variant: str) -> Row:
    results = data.results
    cells = results.cells_of(variant)
    images, clean = (read(results, variant, CLEAN) for read in (per_image, rows_of))
    per_seed = clean.group_by("seed").agg(pl.col("dice").fill_nan(None).mean())["dice"].drop_nulls().to_list()
    return {
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
