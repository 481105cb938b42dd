"""The tables of a report and the sentences beside them, from its evidence."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl

from trustseg.reporting.choices import describe_attack, describe_condition, describe_eps
from trustseg.reporting.evidence import Difference, Evidence, Metric
from trustseg.reporting.image_scores import UNDEFINED, Place, per_image
from trustseg.reporting.results import Cell
from trustseg.reporting.tables import Column, Table, Value, interval_text
from trustseg.study.statistics import Interval

METRIC_NAMES: Final[Mapping[str, str]] = {
    "dice": "Dice",
    "iou": "IoU",
    "pooled_dice": "pooled Dice",
    "pooled_iou": "pooled IoU",
    "ause": "pixel AUSE",
    "nause": "pixel nAUSE",
    "aurc": "image AURC",
    "augrc": "image AUGRC",
    "ece": "ECE",
}
_VARIANT: Final = Column("variant", "Variant")
_CONDITION: Final = Column("condition", "Condition")


def all_tables(evidence: Evidence) -> dict[str, Table]:
    """Return every table of a report by its key."""
    tables = (
        summary(evidence),
        differences(evidence),
        robustness(evidence),
        ranking(evidence),
        measures(evidence),
        calibration(evidence),
        shift(evidence),
        repetitions(evidence),
    )
    return {table.key: table for table in tables}


def summary(evidence: Evidence) -> Table:
    """Return one row per variant: Dice clean and attacked; ranking, selective risk, calibration clean."""
    clean, attacked = ("clean", 0.0), evidence.choices.conditions[1:]
    keys = ("robust_dice", "worst_dice")
    columns = [
        _VARIANT,
        Column("dice", "Dice per image"),
        Column("pooled_dice", "Dice pooled"),
        Column("iou", "IoU per image"),
    ]
    columns += [Column(key, f"Dice, {describe_condition(*place)}") for key, place in zip(keys, attacked, strict=False)]
    columns += [
        Column("ause", "pixel AUSE ↓"),
        Column("nause", "pixel nAUSE ↓"),
        Column("aurc", "image AURC ↓"),
        Column("ece", "ECE ↓"),
    ]
    rows = []
    for variant in evidence.results.variants:
        row: dict[str, Value] = {"variant": variant}
        for metric in ("dice", "pooled_dice", "iou", "ause", "nause", "aurc", "ece"):
            row[metric] = _score(evidence, variant, clean, metric)
        for key, place in zip(keys, attacked, strict=False):
            row[key] = _score(evidence, variant, place, "dice")
        rows.append(row)
    attacks = {f"{key}_under": describe_condition(*place) for key, place in zip(keys, attacked, strict=False)}
    return Table("summary", "Mean with 95 % patient-bootstrap interval", tuple(columns), tuple(rows), attacks)


def differences(evidence: Evidence) -> Table:
    """Return one row per paired difference between two variants."""
    columns = (
        _VARIANT,
        Column("baseline", "minus"),
        Column("metric", "Metric"),
        _CONDITION,
        Column("difference", "Difference", signed=True),
        Column("verdict", "Interval says"),
    )
    rows: list[dict[str, Value]] = [
        {
            "variant": item.variant,
            "baseline": item.baseline,
            "metric": METRIC_NAMES[item.metric],
            "condition": describe_condition(*item.place),
            "difference": item.interval,
            "verdict": item.verdict,
        }
        for item in evidence.differences
    ]
    return Table("differences", "Paired differences on the same images", columns, tuple(rows))


def robustness(evidence: Evidence) -> Table:
    """Return Dice and IoU of every variant under every attack and budget."""
    columns = (_VARIANT, _CONDITION, Column("eps", "Budget"), Column("dice", "Dice"), Column("iou", "IoU"))
    rows: list[dict[str, Value]] = [
        {
            "variant": variant,
            "condition": condition if condition == "clean" else describe_attack(condition),
            "eps": describe_eps(condition, eps),
            "dice": found["dice"],
            "iou": found["iou"],
        }
        for (variant, (condition, eps)), found in evidence.robustness.items()
    ]
    return Table("robustness", "Per-image Dice and IoU under attack", columns, tuple(rows))


def ranking(evidence: Evidence) -> Table:
    """Return how well uncertainty ranks wrong pixels and bad images, clean and attacked."""
    metrics: tuple[Metric, ...] = ("ause", "nause", "aurc", "augrc")
    columns = [_VARIANT, Column("measure", "Measure"), _CONDITION]
    columns += [Column(metric, f"{METRIC_NAMES[metric]} ↓") for metric in metrics]
    rows = [
        {
            "variant": variant,
            "measure": words(evidence.choices.measures[variant]),
            "condition": describe_condition(*place),
        }
        | {metric: _score(evidence, variant, place, metric) for metric in metrics}
        for variant in evidence.results.variants
        if variant in evidence.choices.measures
        for place in evidence.choices.compared
    ]
    return Table("ranking", "Does uncertainty point at the errors?", tuple(columns), tuple(rows))


def measures(evidence: Evidence) -> Table:
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


def calibration(evidence: Evidence) -> Table:
    """Return the positive-class calibration error, clean and attacked."""
    columns = [_VARIANT]
    columns += [
        Column(key, f"ECE, {describe_condition(*place)} ↓")
        for key, place in zip(("ece", "robust_ece"), evidence.choices.compared, strict=False)
    ]
    rows = [
        {"variant": variant}
        | {
            column.key: _score(evidence, variant, place, "ece")
            for column, place in zip(columns[1:], evidence.choices.compared, strict=True)
        }
        for variant in evidence.results.variants
    ]
    return Table("calibration", "Expected calibration error of the infection probability", tuple(columns), tuple(rows))


def shift(evidence: Evidence) -> Table:
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


def repetitions(evidence: Evidence) -> Table:
    """Return what each variant's numbers rest on, and how far single seeds lie apart."""
    columns = (
        _VARIANT,
        Column("folds", "Folds"),
        Column("seeds", "Seeds"),
        Column("images", "Test images"),
        Column("undefined", "Dice undefined"),
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


def comparisons(evidence: Evidence) -> list[tuple[str, str, list[Difference]]]:
    """Return each compared pair, variant and baseline, with its differences in Dice and in nAUSE under attack."""
    attacked = evidence.choices.compared[-1]
    found: dict[tuple[str, str], list[Difference]] = {}
    for item in evidence.differences:
        if item.metric == "dice" or (item.metric == "nause" and item.place == attacked):
            found.setdefault((item.variant, item.baseline), []).append(item)
    return [(*pair, sorted(items, key=lambda item: item.metric)) for pair, items in found.items()]


def headlines(evidence: Evidence) -> list[tuple[str, list[str]]]:
    """Return the answer in words: for each head, what choosing uncertain instead of random images changed.

    Where the study has no such pair, what adversarial training changed against none. The sentences of a pair tell the
    cost on clean images, the gain under the attack, the ranking of errors under it, and which intervals include 0.
    """
    regime = {variant: evidence.results.cells_of(variant)[0].regime for variant in evidence.results.variants}
    pairs = comparisons(evidence)
    chosen = [pair for pair in pairs if regime[pair[1]] == "random"] or pairs
    said = {"includes 0": "the interval includes 0, so no difference is shown"}
    return [
        (
            f"{variant} minus {baseline}",
            [
                f"{sentence(item)}: {said.get(item.verdict, item.verdict)}"
                for item in items
                if item.place in evidence.choices.compared
            ],
        )
        for variant, baseline, items in chosen
    ]


def words(measure: str) -> str:
    """Return the name of a measure or aggregation in words."""
    return measure.replace("_", " ")


def _score(evidence: Evidence, variant: str, place: Place, metric: Metric) -> Interval:
    return evidence.scores.get((variant, place), {}).get(metric, UNDEFINED)


def _repetition(evidence: Evidence, variant: str) -> dict[str, Value]:
    results = evidence.results
    cells = results.cells_of(variant)
    images = per_image(results, variant, ("clean", 0.0))
    clean = results.records.filter(pl.col("variant") == variant, pl.col("condition") == "clean")
    per_seed = clean.group_by("seed").agg(pl.col("dice").fill_nan(None).mean())["dice"].drop_nulls().to_list()
    epochs = [cell.done.get("epochs") for cell in cells]
    return {
        "variant": variant,
        "folds": len({cell.fold for cell in cells}),
        "seeds": len({cell.seed for cell in cells}),
        "images": len(images),
        "undefined": images["dice"].null_count(),
        "patients": images["patient"].n_unique(),
        "lowest_dice": min(per_seed, default=math.nan),
        "highest_dice": max(per_seed, default=math.nan),
        "epochs": max((int(number) for number in epochs if number is not None), default=0),
        "seconds_training": _total(cells, "seconds_training"),
        "seconds_evaluation": _total(cells, "seconds_evaluation"),
    }


def _total(cells: Sequence[Cell], key: str) -> float:
    """Return the sum over the cells of a number in their done marker; NaN where one does not tell."""
    return float(sum(cell.done.get(key, math.nan) for cell in cells))
