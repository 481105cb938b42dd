"""The numbers of a study, computed once: what tables, figures and words of a report are made from."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Final, Literal

import polars as pl

from trustseg.metrics import augrc_from_counts, ause_from_counts, nause_from_counts
from trustseg.reporting import image_scores, pixel_scores
from trustseg.reporting.checks import Check, load_checks
from trustseg.reporting.choices import Choices, choose, pairs
from trustseg.reporting.image_scores import ConditionKey, Shift
from trustseg.reporting.results import Results, at
from trustseg.statistics import Interval

__all__ = ["FEW_TRAININGS", "Difference", "Metric", "ReportData", "collect"]

Verdict = Literal["better", "worse", "includes 0", "undefined"]
Metric = Literal[
    "dice", "dice_native", "pooled_dice", "iou", "pooled_iou", "ause", "ause_brier", "nause", "aurc", "augrc", "ece"
]

HIGHER_IS_BETTER: Final = frozenset({"dice", "dice_native", "pooled_dice", "iou", "pooled_iou"})
FEW_TRAININGS: Final = 3  # fewer seeds and fewer folds than this say nothing of how much trainings differ
_COMPARED: Final[tuple[Metric, ...]] = ("dice", "nause", "aurc", "ece")


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference variant - baseline in one metric under one condition.

    Attributes:
        variant: first variant.
        baseline: what is subtracted.
        place: condition with eps.
        metric: which score.
        interval: the difference, its interval over patients.
        tentative: both or one of the variants was trained too few times to speak of more than these trained models.
    """

    variant: str
    baseline: str
    place: ConditionKey
    metric: Metric
    interval: Interval
    tentative: bool = False

    @property
    def verdict(self) -> Verdict:
        """What the interval allows to say; "undefined" where there is none."""
        if math.isnan(self.interval.low) or math.isnan(self.interval.high):
            return "undefined"
        if self.interval.low <= 0 <= self.interval.high:
            return "includes 0"
        return "better" if (self.interval.value > 0) == (self.metric in HIGHER_IS_BETTER) else "worse"

    @property
    def mark(self) -> str:
        """The sign of the footnote on a verdict that is about less than it seems, empty on others."""
        return " †" if self.tentative and self.verdict != "undefined" else ""


@dataclass(frozen=True, slots=True)
class ReportData:
    """Every number of a report.

    Attributes:
        results: the study they come from.
        choices: attack, budgets and measures of the headline.
        scores: (variant, condition with eps) -> metric -> interval, for the conditions of the headline; only overlap
            at the largest budget.
        robustness: (variant, condition with eps) -> "dice" and "iou", for every condition.
        measures: (variant, condition with eps, measure) -> "nause" and "aurc", for every measure, clean and attacked.
        false_positives: (variant, condition with eps) -> share of pixels predicted as foreground in images without
            foreground, clean and attacked.
        differences: paired differences between variants.
        shifts: variant -> what the headline attack does to its image uncertainty; none without an attack.
        correlations: (variant, condition with eps) -> Spearman of image uncertainty with 1 - Dice, clean and attacked.
        checks: the checks of gradient masking of every model that was checked.
    """

    results: Results
    choices: Choices
    scores: Mapping[tuple[str, ConditionKey], Mapping[Metric, Interval]]
    robustness: Mapping[tuple[str, ConditionKey], Mapping[Metric, Interval]]
    measures: Mapping[tuple[str, ConditionKey, str], Mapping[Metric, Interval]]
    false_positives: Mapping[tuple[str, ConditionKey], Interval]
    differences: tuple[Difference, ...]
    shifts: Mapping[str, Shift]
    correlations: Mapping[tuple[str, ConditionKey], Interval]
    checks: tuple[Check, ...]

    def score(self, variant: str, place: ConditionKey, metric: Metric) -> Interval:
        """Return one of ``scores``, undefined where there is none."""
        return self.scores.get((variant, place), {}).get(metric, image_scores.UNDEFINED)


def collect(results: Results, *, draws: int = 2000) -> ReportData:
    """Return every number of a report on a study.

    Args:
        results: the finished part of a study.
        draws: bootstrap draws, > 0.
    """
    choices = choose(results)
    ladder: list[ConditionKey] = [("clean", 0.0)]
    ladder += [(attack, eps) for attack, rungs in choices.attacks.items() for eps in rungs]
    judged = [variant for variant in results.variants if variant in choices.columns]
    measured = {
        (variant, place)
        for variant in results.variants
        for place in {*ladder, *choices.conditions, *choices.compared}
        if _evaluated(results, variant, place)
    }

    def each(variants: Iterable[str], places: Iterable[ConditionKey]) -> Iterator[tuple[str, ConditionKey]]:
        return (pair for pair in product(variants, places) if pair in measured)

    def overlap(variant: str, place: ConditionKey) -> dict[Metric, Interval]:
        return {
            "dice": image_scores.mean_of(results, variant, place, "dice", draws=draws),
            "iou": image_scores.mean_of(results, variant, place, "iou", draws=draws),
        }

    def correlation(variant: str, place: ConditionKey) -> Interval:
        scores = image_scores.read_scores(results, variant, place, choices.columns[variant])
        return image_scores.rank_correlation(scores, draws=draws)

    return ReportData(
        results=results,
        choices=choices,
        scores={
            (variant, place): _scores(results, choices, variant, place, draws)
            for variant, place in each(results.variants, choices.conditions)
        },
        robustness={pair: overlap(*pair) for pair in each(results.variants, ladder)},
        measures={
            (variant, place, measure): _measure_scores(results, variant, place, measure, column, draws)
            for variant, place in each(results.variants, choices.compared)
            for measure, column in choices.all_columns[variant].items()
        },
        false_positives={
            (variant, place): image_scores.false_positive_area(results, variant, place, draws=draws)
            for variant, place in each(results.variants, choices.compared)
        },
        differences=tuple(
            difference
            for variant, baseline in pairs(results)
            for place in choices.conditions
            if {(variant, place), (baseline, place)} <= measured
            for difference in _differences(results, choices, variant, baseline, place, draws)
        ),
        shifts={
            variant: image_scores.uncertainty_shift(results, variant, place, choices.columns[variant], draws=draws)
            for variant, place in each(judged, choices.compared[1:])
        },
        correlations={pair: correlation(*pair) for pair in each(judged, choices.compared)},
        checks=load_checks(results),
    )


def _evaluated(results: Results, variant: str, place: ConditionKey) -> bool:
    return bool(results.records.select(((pl.col("variant") == variant) & at(*place)).any()).item())


def _scores(
    results: Results, choices: Choices, variant: str, place: ConditionKey, draws: int
) -> dict[Metric, Interval]:
    found: dict[Metric, Interval] = {
        "dice": image_scores.mean_of(results, variant, place, "dice", draws=draws),
        "pooled_dice": image_scores.pooled(results, variant, place, union=False, draws=draws),
        "iou": image_scores.mean_of(results, variant, place, "iou", draws=draws),
        "pooled_iou": image_scores.pooled(results, variant, place, union=True, draws=draws),
    }
    if image_scores.has_native(results, variant, place):
        found["dice_native"] = image_scores.mean_of(results, variant, place, "dice_native", draws=draws)
    if place in choices.compared:
        found["ece"] = pixel_scores.estimate(pixel_scores.pixel_calibration(results, variant, place), draws=draws)
    if place in choices.compared and variant in choices.columns:
        measure = choices.measures[variant]
        images = image_scores.read_scores(results, variant, place, choices.columns[variant])
        found |= {
            "ause": pixel_scores.estimate(
                pixel_scores.pixel_ranking(results, variant, place, measure, score=ause_from_counts), draws=draws
            ),
            "nause": pixel_scores.estimate(
                pixel_scores.pixel_ranking(results, variant, place, measure, score=nause_from_counts), draws=draws
            ),
            "ause_brier": pixel_scores.estimate(
                pixel_scores.squared_error_ranking(results, variant, place, measure), draws=draws
            ),
            "aurc": image_scores.risk_area(images, draws=draws),
            "augrc": image_scores.risk_area(images, image_scores.by_blocks(augrc_from_counts), draws=draws),
        }
    return found


def _measure_scores(
    results: Results, variant: str, place: ConditionKey, measure: str, column: str, draws: int
) -> dict[Metric, Interval]:
    pixels = pixel_scores.pixel_ranking(results, variant, place, measure, score=nause_from_counts)
    return {
        "nause": pixel_scores.estimate(pixels, draws=draws),
        "aurc": image_scores.risk_area(image_scores.read_scores(results, variant, place, column), draws=draws),
    }


def _differences(
    results: Results, choices: Choices, variant: str, baseline: str, place: ConditionKey, draws: int
) -> list[Difference]:
    both = (variant, baseline)
    intervals: dict[Metric, Interval] = {
        "dice": image_scores.mean_difference(results, variant, baseline, place, "dice", draws=draws)
    }
    if place in choices.compared:
        errors = [pixel_scores.pixel_calibration(results, name, place) for name in both]
        intervals["ece"] = pixel_scores.estimate_difference(errors[0], errors[1], draws=draws)
    # Scores of different measures are different questions: they are not subtracted.
    column = choices.columns.get(variant)
    if place in choices.compared and column is not None and column == choices.columns.get(baseline):
        orders = [
            pixel_scores.pixel_ranking(results, name, place, choices.measures[name], score=nause_from_counts)
            for name in both
        ]
        images = [image_scores.read_scores(results, name, place, column) for name in both]
        intervals["nause"] = pixel_scores.estimate_difference(orders[0], orders[1], draws=draws)
        intervals["aurc"] = image_scores.risk_area_difference(images[0], images[1], draws=draws)
    tentative = any(_few_trainings(results, name) for name in both)
    return [
        Difference(variant, baseline, place, metric, intervals[metric], tentative)
        for metric in _COMPARED
        if metric in intervals
    ]


def _few_trainings(results: Results, variant: str) -> bool:
    cells = results.cells_of(variant)
    return max(len({cell.seed for cell in cells}), len({cell.fold for cell in cells})) < FEW_TRAININGS
