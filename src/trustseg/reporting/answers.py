"""The tables of a report and the sentences beside them, from its evidence."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import polars as pl

from trustseg.reporting.checks import trust
from trustseg.reporting.choices import describe_attack, describe_condition, describe_eps, words
from trustseg.reporting.image_scores import UNDEFINED, ConditionKey, per_image, rows_of
from trustseg.reporting.overview import basis, summary
from trustseg.reporting.report_data import Difference, Metric, ReportData
from trustseg.reporting.tables import Column, Table, Value, interval_text
from trustseg.statistics import Interval

__all__ = ["METRIC_NAMES", "all_tables", "comparisons", "headlines", "sentence"]

METRIC_NAMES: Final[Mapping[str, str]] = {
    "dice": "Dice",
    "iou": "IoU",
    "pooled_dice": "pooled Dice",
    "pooled_iou": "pooled IoU",
    "ause": "pixel AUSE",
    "ause_brier": "pixel AUSE, Brier",
    "nause": "pixel nAUSE",
    "aurc": "image AURC",
    "augrc": "image AUGRC",
    "ece": "ECE",
}
_VARIANT: Final = Column("variant", "Variant")
_CONDITION: Final = Column("condition", "Condition")


def all_tables(evidence: ReportData) -> dict[str, Table]:
    """Return every table of a report by its key."""
    tables = (
        summary(evidence),
        differences(evidence),
        robustness(evidence),
        false_positives(evidence),
        ranking(evidence),
        measures(evidence),
        calibration(evidence),
        shift(evidence),
        repetitions(evidence),
    )
    return {table.key: table for table in tables}


def differences(evidence: ReportData) -> Table:
    """Return one row per paired difference between two variants."""
    columns = (
        _VARIANT,
        Column("baseline", "minus"),
        Column("metric", "Metric"),
        _CONDITION,
        Column("difference", "Difference", signed=True),
        Column("verdict", "Interval says"),
        Column("scope", "Speaks of"),
    )
    rows: list[dict[str, Value]] = [
        {
            "variant": item.variant,
            "baseline": item.baseline,
            "metric": METRIC_NAMES[item.metric],
            "condition": describe_condition(*item.place),
            "difference": item.interval,
            "verdict": item.verdict,
            "scope": "these trained models" if item.tentative else "",
        }
        for item in evidence.differences
    ]
    return Table("differences", f"Paired differences on the same images. {basis(evidence)}", columns, tuple(rows))


def robustness(evidence: ReportData) -> Table:
    """Return Dice and IoU of every variant under every attack and budget."""
    columns = (
        _VARIANT,
        _CONDITION,
        Column("eps", "Budget"),
        Column("images", "Images"),
        Column("dice", "Dice"),
        Column("iou", "IoU"),
        *([Column("trust", "Checks")] if evidence.checks else []),
    )
    rows: list[dict[str, Value]] = [
        {
            "variant": variant,
            "condition": condition if condition == "clean" else describe_attack(condition),
            "eps": describe_eps(condition, eps),
            "images": found["dice"].count,
            "dice": found["dice"],
            "iou": found["iou"],
            "trust": None if condition == "clean" else trust(evidence.checks, variant),
        }
        for (variant, (condition, eps)), found in evidence.robustness.items()
    ]
    return Table("robustness", "Per-image Dice and IoU of the images with foreground", columns, tuple(rows))


def false_positives(evidence: ReportData) -> Table:
    """Return the area predicted as foreground in images without foreground, clean and attacked."""
    columns = [_VARIANT, Column("images", "Images without foreground")]
    columns += [
        Column(key, f"Share of pixels, {describe_condition(*place)} ↓", digits=4)
        for key, place in zip(("clean", "attacked"), evidence.choices.compared, strict=False)
    ]
    rows: list[dict[str, Value]] = []
    for variant in evidence.results.variants:
        found = [_interval_over_patients(evidence, variant, place) for place in evidence.choices.compared]
        if found[0].count:
            row: dict[str, Value] = {"variant": variant, "images": found[0].count}
            rows.append(row | {column.key: area for column, area in zip(columns[2:], found, strict=True)})
    title = "Predicted as foreground where the reference mask is empty"
    return Table("false_positives", title, tuple(columns), tuple(rows))


def ranking(evidence: ReportData) -> Table:
    """Return how well uncertainty ranks wrong pixels and bad images, clean and attacked."""
    metrics: tuple[Metric, ...] = ("ause", "ause_brier", "nause", "aurc", "augrc")
    columns = [_VARIANT, Column("measure", "Measure"), _CONDITION]
    columns += [Column(metric, f"{METRIC_NAMES[metric]} ↓") for metric in metrics]
    rows = [
        {
            "variant": variant,
            "measure": words(evidence.choices.measures[variant]),
            "condition": describe_condition(*place),
        }
        | {metric: evidence.score(variant, place, metric) for metric in metrics}
        for variant in evidence.results.variants
        if variant in evidence.choices.measures
        for place in evidence.choices.compared
    ]
    return Table("ranking", "Does uncertainty point at the errors?", tuple(columns), tuple(rows))


def measures(evidence: ReportData) -> Table:
    """Return the ranking of wrong pixels and bad images by every measure: heads are compared by one they share."""
    columns = [_VARIANT, Column("measure", "Measure")]
    keys = (("nause", "robust_nause"), ("aurc", "robust_aurc"))
    metrics: tuple[Metric, ...] = ("nause", "aurc")
    places = evidence.choices.compared
    for metric, names in zip(metrics, keys, strict=True):
        for key, place in zip(names, places, strict=False):
            columns.append(Column(key, f"{METRIC_NAMES[metric]}, {describe_condition(*place)} ↓"))
    rows: list[dict[str, Value]] = []
    for variant, found in evidence.choices.all_columns.items():
        for measure in found:
            row: dict[str, Value] = {"variant": variant, "measure": words(measure)}
            for metric, names in zip(metrics, keys, strict=True):
                for key, place in zip(names, places, strict=False):
                    row[key] = evidence.measures.get((variant, place, measure), {}).get(metric, UNDEFINED)
            rows.append(row)
    return Table("measures", "Every measure of every variant", tuple(columns), tuple(rows))


def calibration(evidence: ReportData) -> Table:
    """Return the positive-class calibration error, clean and attacked."""
    columns = [_VARIANT]
    columns += [
        Column(key, f"ECE, {describe_condition(*place)} ↓")
        for key, place in zip(("ece", "robust_ece"), evidence.choices.compared, strict=False)
    ]
    rows = [
        {"variant": variant}
        | {
            column.key: evidence.score(variant, place, "ece")
            for column, place in zip(columns[1:], evidence.choices.compared, strict=True)
        }
        for variant in evidence.results.variants
    ]
    return Table("calibration", "Expected calibration error of the foreground probability", tuple(columns), tuple(rows))


def shift(evidence: ReportData) -> Table:
    """Return what the headline attack does to the uncertainty of the images."""
    columns = (
        _VARIANT,
        Column("measure", "Measure"),
        Column("change", "Mean change", digits=4, signed=True),
        Column("share_lower", "Share of images that look surer"),
        Column("correlation", "Spearman with 1 - Dice, clean", signed=True),
        Column("robust_correlation", "Spearman with 1 - Dice, attacked", signed=True),
        Column("detection", 'AUROC of "was attacked"'),
    )
    clean, attacked = ("clean", 0.0), evidence.choices.compared[-1]
    rows: list[dict[str, Value]] = [
        {
            "variant": variant,
            "measure": words(evidence.choices.measures[variant]),
            "change": found.change,
            "share_lower": found.share_lower,
            "correlation": evidence.correlations.get((variant, clean), UNDEFINED),
            "robust_correlation": evidence.correlations.get((variant, attacked), UNDEFINED),
            "detection": found.detection,
        }
        for variant, found in evidence.shifts.items()
    ]
    title = f"Image uncertainty under {describe_condition(*attacked)} against the same image clean"
    return Table("shift", title, columns, tuple(rows))


def repetitions(evidence: ReportData) -> Table:
    """Return what each variant's numbers rest on, and how far single seeds lie apart."""
    columns = (
        _VARIANT,
        Column("folds", "Folds"),
        Column("seeds", "Seeds"),
        Column("models", "Trained models"),
        Column("images", "Test images"),
        Column("empty", "Without foreground"),
        Column("patients", "Patients"),
        Column("lowest_dice", "Lowest seed, Dice"),
        Column("highest_dice", "Highest seed, Dice"),
        Column("epochs", "Epochs"),
        Column("seconds_training", "Training, s", digits=0),
        Column("seconds_evaluation", "Evaluation, s", digits=0),
    )
    rows = tuple(_repetition(evidence, variant) for variant in evidence.results.variants)
    return Table("repetitions", "What the numbers rest on", columns, rows)


def sentence(difference: Difference) -> str:
    """Return a difference in words, e.g. ``"Dice, PGD 4/255: +0.050 [+0.010, +0.090]"``."""
    place = describe_condition(*difference.place)
    return f"{METRIC_NAMES[difference.metric]}, {place}: {interval_text(difference.interval, signed=True)}"


def comparisons(evidence: ReportData) -> list[tuple[str, str, list[Difference]]]:
    """Return each compared pair, variant and baseline, with its differences in Dice and in nAUSE under attack."""
    attacked = evidence.choices.compared[-1]
    found: dict[tuple[str, str], list[Difference]] = {}
    for item in evidence.differences:
        if item.metric == "dice" or (item.metric == "nause" and item.place == attacked):
            found.setdefault((item.variant, item.baseline), []).append(item)
    return [(*pair, sorted(items, key=lambda item: item.metric)) for pair, items in found.items()]


def headlines(evidence: ReportData) -> list[tuple[str, list[str]]]:
    """Return the answer in words: for each head, what choosing uncertain instead of random images changed.

    Where the study has no such pair, what adversarial training changed against none. The sentences of a pair tell the
    cost on clean images, the gain under the attack, the ranking of errors under it, and which intervals include 0.
    """
    regime = {variant: evidence.results.cells_of(variant)[0].regime for variant in evidence.results.variants}
    pairs = comparisons(evidence)
    chosen = [pair for pair in pairs if regime[pair[1]] == "random"] or pairs
    said = {
        "includes 0": "the interval includes 0, so no difference is shown",
        "undefined": "no interval, so nothing can be said",
    }
    return [
        (
            f"{variant} minus {baseline}",
            [
                f"{sentence(item)}: {said.get(item.verdict, item.verdict)}{item.mark}"
                for item in items
                if item.place in evidence.choices.compared
            ],
        )
        for variant, baseline, items in chosen
    ]


def _interval_over_patients(evidence: ReportData, variant: str, place: ConditionKey) -> Interval:
    """Return a false-positive area, without the ends that one patient alone cannot give."""
    found = evidence.false_positives.get((variant, place), UNDEFINED)
    return found if found.patients > 1 else replace(found, low=math.nan, high=math.nan)


def _repetition(evidence: ReportData, variant: str) -> dict[str, Value]:
    results = evidence.results
    cells = results.cells_of(variant)
    images = per_image(results, variant, ("clean", 0.0))
    clean = rows_of(results, variant, ("clean", 0.0))
    per_seed = clean.group_by("seed").agg(pl.col("dice").fill_nan(None).mean())["dice"].drop_nulls().to_list()
    epochs = [cell.done.epochs for cell in cells]
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
        "epochs": max((number for number in epochs if number is not None), default=0),
        "seconds_training": sum(cell.done.seconds_training for cell in cells),
        "seconds_evaluation": sum(cell.done.seconds_evaluation for cell in cells),
    }
