"""The numbers of a study, computed once: what tables, figures and words of a report are made from."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final, Literal

import polars as pl

from trustseg.deferral.ranking import by_blocks
from trustseg.metrics import augrc_from_counts, ause_from_counts, nause_from_counts
from trustseg.reporting import image_scores, pixel_scores
from trustseg.reporting.checks import Check, load_checks
from trustseg.reporting.choices import Choices, choose, pairs
from trustseg.reporting.image_scores import Shift
from trustseg.reporting.labels import CLEAN, HIGHER_IS_BETTER, ConditionKey, describe_condition
from trustseg.reporting.paired_scores import Side, calibration_difference, paired_difference
from trustseg.reporting.results import Results
from trustseg.reporting.tables import Row, Table, make_table
from trustseg.statistics import Interval

__all__ = ["FEW_TRAININGS", "Difference", "Metric", "ReportData", "collect", "ranking_scores"]

Verdict = Literal[
    "better", "worse", "includes 0", "within the margin", "margin not reached", "one training", "undefined"
]
Metric = Literal[
    "dice", "dice_native", "pooled_dice", "iou", "pooled_iou", "ause", "ause_brier", "nause", "aurc", "augrc", "ece"
]

FEW_TRAININGS: Final = 3  # fewer seeds than this say next to nothing of how much trainings differ
_COMPARED: Final[tuple[Metric, ...]] = ("dice", "nause", "aurc", "ece")


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference variant - baseline in one metric under one condition.

    Attributes:
        variant: first variant.
        baseline: what is subtracted.
        condition: under which.
        metric: which score.
        interval: the difference, its interval over patients and, from two on, over trainings.
        trainings: seeds that both were trained with.
        rank: of the baseline among those that the study names.
        margin: smallest difference that matters, >= 0.
    """

    variant: str
    baseline: str
    condition: ConditionKey
    metric: Metric
    interval: Interval
    trainings: int = 1
    rank: int = 0
    margin: float = 0.0

    @property
    def verdict(self) -> Verdict:
        """What the interval allows to say: better or worse only if it covers trainings and lies beyond the margin."""
        low, high = self.interval.low, self.interval.high
        if math.isnan(low) or math.isnan(high):
            return "undefined"
        if self.tentative and not low <= 0 <= high:
            return "one training"
        if low > self.margin or high < -self.margin:
            return "better" if self.is_ahead else "worse"
        if -self.margin < low and high < self.margin:
            return "within the margin"
        return "includes 0" if low <= 0 <= high else "margin not reached"

    @property
    def tentative(self) -> bool:
        """Whether the interval covers patients alone: another training may turn the result around."""
        return self.trainings < 2

    @property
    def mark(self) -> str:
        """The sign of the footnote on a verdict of these trained models only, empty on others."""
        return " †" if self.tentative and self.verdict != "undefined" else ""

    @property
    def is_ahead(self) -> bool:
        """Whether the variant has the better value, however little."""
        return (self.interval.value > 0) == (self.metric in HIGHER_IS_BETTER)


@dataclass(frozen=True, slots=True)
class ReportData:
    """Every number of a report.

    Attributes:
        results: the study they come from.
        choices: attack, budgets and measures of the headline.
        scores: (variant, condition) -> metric -> interval, for the conditions of the headline; only overlap at the
            largest budget.
        robustness: (variant, condition) -> "dice" and "iou", for every condition.
        measures: (variant, condition, measure) -> "nause" and "aurc", for every measure, clean and attacked.
        false_positives: (variant, condition) -> share of pixels predicted as foreground in images without foreground,
            clean and attacked.
        differences: paired differences between variants.
        shifts: variant -> what the headline attack does to its image uncertainty; none without an attack.
        correlations: (variant, condition) -> Spearman of image uncertainty with 1 - Dice, clean and attacked.
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

    def score(self, variant: str, condition: ConditionKey, metric: Metric) -> Interval:
        """Return one of ``scores``, undefined where there is none."""
        return self.scores.get((variant, condition), {}).get(metric, image_scores.UNDEFINED)

    def table(self, key: str, rows: Sequence[Row], titles: Mapping[str, str] | None = None, **words: object) -> Table:
        """Return a table in whose words the target has its name, and clean and attacked the headline's conditions."""
        conditions = map(describe_condition, self.choices.compared)
        words = {**dict(zip(("clean", "attacked"), conditions, strict=False)), "target": self.results.target, **words}
        return make_table(key, rows, titles, **words)

    def evaluated(self, variant: str, conditions: Iterable[ConditionKey]) -> list[ConditionKey]:
        """Return the conditions under which a variant was evaluated."""
        return [condition for condition in conditions if (variant, condition) in self.robustness]


def collect(results: Results, *, draws: int = 2000) -> ReportData:
    """Return every number of a report on the finished part of a study."""
    choices = choose(results)
    everywhere = dict.fromkeys([CLEAN, *(key for attack in choices.attacks for key in choices.curve(attack))])
    judged = [variant for variant in results.variants if variant in choices.columns]
    measured = set(product(results.variants, everywhere)) & _evaluated(results)

    def each(variants: Iterable[str], conditions: Iterable[ConditionKey]) -> Iterator[tuple[str, ConditionKey]]:
        return (pair for pair in product(variants, conditions) if pair in measured)

    def overlap(variant: str, condition: ConditionKey) -> dict[Metric, Interval]:
        return {
            "dice": image_scores.mean_of(results, variant, condition, "dice", draws=draws),
            "iou": image_scores.mean_of(results, variant, condition, "iou", draws=draws),
        }

    def correlation(variant: str, condition: ConditionKey) -> Interval:
        scores = image_scores.read_scores(results, variant, condition, choices.columns[variant])
        return image_scores.rank_correlation(scores, draws=draws)

    robustness = {pair: overlap(*pair) for pair in each(results.variants, everywhere)}
    measures = {
        (variant, condition, measure): ranking_scores(results, variant, condition, measure, column, draws=draws)
        for variant, condition in each(results.variants, choices.compared)
        for measure, column in choices.all_columns[variant].items()
    }
    return ReportData(
        results=results,
        choices=choices,
        scores={
            pair: {
                **robustness[pair],
                **measures.get((*pair, choices.measures.get(pair[0], "")), {}),
                **_further_scores(results, choices, *pair, draws),
            }
            for pair in each(results.variants, choices.conditions)
        },
        robustness=robustness,
        measures=measures,
        false_positives={
            pair: image_scores.false_positive_area(results, *pair, draws=draws)
            for pair in each(results.variants, choices.compared)
        },
        differences=tuple(
            difference
            for (variant, baseline), rank in pairs(results).items()
            for condition in choices.conditions
            if {(variant, condition), (baseline, condition)} <= measured
            for difference in _differences(results, choices, variant, baseline, condition, rank, draws)
        ),
        shifts={
            variant: image_scores.uncertainty_shift(results, variant, condition, choices.columns[variant], draws=draws)
            for variant, condition in each(judged, choices.compared[1:])
        },
        correlations={pair: correlation(*pair) for pair in each(judged, choices.compared)},
        checks=load_checks(results),
    )


def _evaluated(results: Results) -> set[tuple[str, ConditionKey]]:
    rows = results.records.select("variant", "condition", pl.col("eps").round(7)).unique().iter_rows()
    return {(str(variant), (str(name), float(eps))) for variant, name, eps in rows}


def _further_scores(
    results: Results, choices: Choices, variant: str, condition: ConditionKey, draws: int
) -> dict[Metric, Interval]:
    """Return the scores of the headline but for mean overlap and ``ranking_scores``."""
    found: dict[Metric, Interval] = {
        "pooled_dice": image_scores.pooled(results, variant, condition, union=False, draws=draws),
        "pooled_iou": image_scores.pooled(results, variant, condition, union=True, draws=draws),
    }
    rows = image_scores.rows_of(results, variant, condition)
    if "dice_native" in rows.columns and rows["dice_native"].is_not_null().any():
        found["dice_native"] = image_scores.mean_of(results, variant, condition, "dice_native", draws=draws)
    if condition in choices.compared:
        found["ece"] = pixel_scores.estimate(pixel_scores.pixel_calibration(results, variant, condition), draws=draws)
    if condition in choices.compared and variant in choices.columns:
        measure, column = choices.measures[variant], choices.columns[variant]
        images = image_scores.read_scores(results, variant, condition, column)
        pixels = pixel_scores.pixel_ranking(results, variant, condition, measure, score=ause_from_counts)
        errors = pixel_scores.squared_error_ranking(results, variant, condition, measure)
        found |= {
            "ause": pixel_scores.estimate(pixels, draws=draws),
            "ause_brier": pixel_scores.estimate(errors, draws=draws),
            "augrc": image_scores.risk_area(images, by_blocks(augrc_from_counts), draws=draws),
        }
    return found


def ranking_scores(
    results: Results, variant: str, condition: ConditionKey, measure: str, column: str, *, draws: int
) -> dict[Metric, Interval]:
    """Return nAUSE of a measure and AURC of the image score in a column."""
    pixels = pixel_scores.pixel_ranking(results, variant, condition, measure, score=nause_from_counts)
    images = image_scores.read_scores(results, variant, condition, column)
    return {
        "nause": pixel_scores.estimate(pixels, draws=draws),
        "aurc": image_scores.risk_area(images, draws=draws),
    }


def _differences(
    results: Results, choices: Choices, variant: str, baseline: str, condition: ConditionKey, rank: int, draws: int
) -> list[Difference]:
    column, measure = (found.get(variant) for found in (choices.columns, choices.measures))
    first, second = (Side(name, measure or "", column or "") for name in (variant, baseline))
    found = {"dice": paired_difference(results, first, second, condition, "dice", draws=draws)}
    if condition in choices.compared:
        found["ece"] = calibration_difference(results, first, second, condition, draws=draws)
    # Scores of different measures are different questions: they are not subtracted.
    if condition in choices.compared and column is not None and column == choices.columns.get(baseline):
        found |= {
            score: paired_difference(results, first, second, condition, score, draws=draws)
            for score in ("nause", "aurc")
        }
    return [
        Difference(
            variant,
            baseline,
            condition,
            metric,
            found[metric].interval,
            found[metric].trainings,
            rank,
            results.wording.margin,
        )
        for metric in _COMPARED
        if metric in found
    ]
