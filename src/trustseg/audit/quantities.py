"""The quantities that requirements can name, each with its interval, from the records of an audit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trustseg.audit.evidence import SCORE, TAU, Evidence
from trustseg.audit.repeats import APPROXIMATE
from trustseg.deferral import apply_policy
from trustseg.deferral.ranking import DrawnScore, auroc_of_failures, by_blocks
from trustseg.entries import Entry
from trustseg.metrics import METRICS, MetricFacts, metrics_of
from trustseg.records import metric_column, score_column
from trustseg.reporting.image_scores import UNDEFINED, patients_of, pooled_of
from trustseg.reporting.labels import CLEAN, ConditionKey
from trustseg.reporting.pixel_scores import pixel_table
from trustseg.statistics import (
    Interval,
    bootstrap_counts,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_ratio,
    bootstrap_rows,
)
from trustseg.study.deferral import SCORES, decided_images
from trustseg.tables import floats_of

__all__ = ["QUANTITIES", "MeasuredImages", "Quantity", "QuantityFacts"]

Floats = NDArray[np.float64]

FALSE_ALARM: Final = 0.01  # share of the pixels of an image without foreground, as in ``undetected_harm``


@dataclass(frozen=True, slots=True)
class QuantityFacts:
    """Facts about a quantity for requirements."""

    better: str = "higher"  # "higher", "lower", or "zero" where a value may err to both sides
    # what must have been given or measured: `masks`, `no_masks`, `controls` (images without foreground),
    # `probability`, `policy`, `model`
    needs: tuple[str, ...] = ("masks",)
    conditions: str = "any"  # "any", "clean" or "changed"
    by_subgroup: bool = True  # whether it can be given for part of the images
    bounds: tuple[float, float] = (0.0, 1.0)  # between which its value always lies


@dataclass(frozen=True, slots=True)
class MeasuredImages:
    """What a quantity is computed from."""

    evidence: Evidence
    condition: ConditionKey = CLEAN  # under which the images were measured
    images: frozenset[str] | None = None  # which of them; None for all
    draws: int = 2000  # of the bootstrap
    confidence: float = 0.95  # of the interval

    @property
    def rows(self) -> pl.DataFrame:
        """Return the records."""
        return self.evidence.rows(self.condition, self.images)

    def over(self, rows: pl.DataFrame, bootstrap: Callable[..., Interval], *values: object) -> Interval:
        """Return what a bootstrap over the patients of some rows gives; undefined without rows."""
        if not len(rows):
            return UNDEFINED
        return bootstrap(*values, patients_of(rows), draws=self.draws, confidence=self.confidence)


Quantity = Entry[Interval, QuantityFacts]


def _with_foreground(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("mask_px") > 0)


def _mean_of(measured: MeasuredImages, *, column: str, bounds: tuple[float, float] = (0.0, 1.0)) -> Interval:
    """Return the mean of a column, whose values lie between ``bounds``, over the images with foreground."""
    rows = _with_foreground(measured.rows)
    if column not in rows.columns:
        return UNDEFINED
    return measured.over(rows, partial(bootstrap_mean, bounds=bounds), floats_of(rows, column))


def _pooled(measured: MeasuredImages, *, metric: Entry[Any, MetricFacts]) -> Interval:
    rows = measured.rows.drop_nulls("mask_px")
    if not len(rows):
        return UNDEFINED
    return pooled_of(rows, metric, draws=measured.draws, confidence=measured.confidence)


def failure_rate(measured: MeasuredImages) -> Interval:
    """Return the share of images with foreground whose Dice is below 0.5."""
    rows = _with_foreground(measured.rows)
    return measured.over(rows, bootstrap_mean, (floats_of(rows, "dice") < TAU).astype(np.float64))


def false_positive_area(measured: MeasuredImages) -> Interval:
    """Return the mean share of pixels predicted as foreground in images without foreground."""
    rows = measured.rows.filter(pl.col("mask_px") == 0)
    return measured.over(rows, bootstrap_mean, floats_of(rows, "predicted_px") / floats_of(rows, "pixels"))


def false_alarm_rate(measured: MeasuredImages) -> Interval:
    """Return the share of images without foreground of which at least 1 % is predicted as foreground."""
    rows = measured.rows.filter(pl.col("mask_px") == 0)
    areas = floats_of(rows, "predicted_px") / floats_of(rows, "pixels")
    return measured.over(rows, bootstrap_mean, (areas >= FALSE_ALARM).astype(np.float64))


def dice_drop(measured: MeasuredImages) -> Interval:
    """Return the mean fall of Dice from the same images unchanged."""
    changed = measured.evidence.changed
    if changed is None:
        return UNDEFINED
    clean = changed.records.filter(pl.col("condition") == "clean").select("image", before="dice")
    rows = _with_foreground(measured.rows).join(clean, on="image", how="inner", maintain_order="left")
    return measured.over(rows, bootstrap_difference, floats_of(rows, "before"), floats_of(rows, "dice"))


def _calibration_in(measured: MeasuredImages, *, region: str) -> Interval:
    evidence = measured.evidence
    results, ece = evidence.results(measured.condition), METRICS["ece"]
    table = pixel_table(results, evidence.name, measured.condition, ece, region=region)
    if not table.patients:
        return UNDEFINED
    patients = np.asarray(table.patients)
    return bootstrap_rows(table.table, patients, table.statistic, draws=measured.draws, confidence=measured.confidence)


def _ranking(measured: MeasuredImages, *, score: DrawnScore) -> Interval:
    column = score_column(*SCORE)
    rows = _with_foreground(measured.rows).drop_nulls(["dice", column])
    risk, uncertainty = 1 - floats_of(rows, "dice"), floats_of(rows, column)
    return measured.over(rows, bootstrap_counts, lambda times: score(times, risk, uncertainty))


def _decision(measured: MeasuredImages, *, name: str) -> Interval:
    """Return a score of the deferral policy on the patients that it was not fitted on."""
    evidence = measured.evidence
    rows = measured.rows.filter(~pl.col("patient").is_in(list(evidence.fitted_on)))
    if evidence.policy is None or not len(rows):
        return UNDEFINED
    rows = apply_policy(evidence.policy, rows)
    above, below = SCORES[name](decided_images(rows, tau=evidence.policy.tau))
    return measured.over(rows, bootstrap_ratio, above, below)


def decision_change(measured: MeasuredImages) -> Interval:
    """Return the largest share of pixels that change sides with batch size, order or number of threads."""
    repeats = measured.evidence.repeats
    if not repeats:
        return UNDEFINED
    shares = [share for way, found in repeats.items() if way not in APPROXIMATE for share in found.values()]
    worst, images = max(shares), next(iter(repeats.values()))
    patients = measured.evidence.rows(CLEAN).filter(pl.col("image").is_in(list(images)))["patient"].n_unique()
    return Interval(worst, worst, worst, len(images), patients)  # measured, not sampled


def _of_masks(name: str, metric: Entry[Any, MetricFacts]) -> Quantity:
    facts = metric.facts
    label = metric.label if facts.unit == "share" else f"{metric.label}, {facts.unit}"
    mean = partial(_mean_of, column=metric_column(name), bounds=facts.bounds)
    return Entry(mean, label, QuantityFacts(better=facts.better, bounds=facts.bounds))


_LOWER: Final = "lower"
_SCORED: Final = ("masks", "probability")

QUANTITIES: Final[Mapping[str, Quantity]] = {
    **{name: _of_masks(name, metric) for name, metric in metrics_of("image").items()},
    "dice_native": Entry(
        partial(_mean_of, column="dice_native"), "Dice at native size", QuantityFacts(conditions="clean")
    ),
    **{
        name: Entry(partial(_pooled, metric=metric), metric.label, QuantityFacts(metric.facts.better))
        for name, metric in metrics_of("pooled").items()
    },
    "failure_rate": Entry(failure_rate, "failure rate", QuantityFacts(_LOWER)),
    "dice_drop": Entry(dice_drop, "fall of Dice", QuantityFacts(_LOWER, conditions="changed", bounds=(-1.0, 1.0))),
    "agreement": Entry(
        partial(_mean_of, column="dice"),
        "Dice with the clean prediction",
        QuantityFacts(needs=("no_masks", "model"), conditions="changed"),
    ),
    "false_positive_area": Entry(
        false_positive_area, "false-positive area", QuantityFacts(_LOWER, needs=("controls",))
    ),
    "false_alarm_rate": Entry(false_alarm_rate, "false-alarm rate", QuantityFacts(_LOWER, needs=("controls",))),
    "brier": Entry(partial(_mean_of, column="brier"), "Brier score", QuantityFacts(_LOWER, needs=_SCORED)),
    **{
        name: Entry(
            partial(_calibration_in, region=region), label, QuantityFacts(_LOWER, needs=_SCORED, by_subgroup=False)
        )
        for name, region, label in (
            ("ece", "whole", "ECE"),
            ("ece_boundary", "boundary", "ECE near the border"),
            ("ece_foreground", "foreground", "ECE of the foreground"),
        )
    },
    "failure_auroc": Entry(
        partial(_ranking, score=auroc_of_failures(TAU)), "AUROC of failures", QuantityFacts(needs=_SCORED)
    ),
    **{
        name: Entry(
            partial(_ranking, score=by_blocks(metric)), metric.label, QuantityFacts(metric.facts.better, _SCORED)
        )
        for name, metric in metrics_of("image_ranking").items()
    },
    **{
        name: Entry(
            partial(_decision, name=name), name.replace("_", " "), QuantityFacts(_LOWER, needs=(*_SCORED, "policy"))
        )
        for name in SCORES
        if name != "coverage"
    },
    "decision_change": Entry(
        decision_change,
        "largest change by batch, order and threads",
        QuantityFacts(_LOWER, needs=("model",), conditions="clean", by_subgroup=False),
    ),
}
"""Functions of ``MeasuredImages`` that return an interval, undefined where nothing can be said."""
