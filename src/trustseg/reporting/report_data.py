"""The numbers of a study that several tables, figures and sentences of a report are made from, computed once."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Final, Literal

import polars as pl

from trustseg.deferral.ranking import by_blocks
from trustseg.metrics import augrc_from_counts, ause_from_counts, nause_from_counts
from trustseg.reporting.checks import Check, load_checks, trust
from trustseg.reporting.choices import Choices, choose, pairs
from trustseg.reporting.image_scores import UNDEFINED, mean_of, pooled, ranking_of, read_scores, rows_of
from trustseg.reporting.labels import CLEAN, HIGHER_IS_BETTER, ConditionKey, describe_condition
from trustseg.reporting.paired_scores import Side, calibration_difference, paired_difference
from trustseg.reporting.pixel_scores import estimate, pixel_calibration, pixel_ranking, squared_error_ranking
from trustseg.reporting.results import Results
from trustseg.reporting.series import Look, looks
from trustseg.reporting.tables import Row, Table, make_table
from trustseg.statistics import Interval

__all__ = ["FEW_TRAININGS", "Difference", "Metric", "ReportData", "collect", "ranking_scores"]

Verdict = Literal[
    "better", "worse", "includes 0", "within the margin", "margin not reached", "one training", "undefined"
]
Metric = Literal["dice", "dice_native", "pooled_dice", "iou", "ause", "ause_brier", "nause", "aurc", "augrc", "ece"]
Scores = dict[Metric, Interval]

FEW_TRAININGS: Final = 3  # fewer seeds than this say next to nothing of how much trainings differ
_OVERLAP: Final[tuple[Metric, ...]] = ("dice", "iou")


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference variant - baseline in one metric under one condition.

    Attributes:
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


@dataclass(frozen=True)
class ReportData:
    """Numbers of a study, and what they refer to.

    Attributes:
        draws: bootstrap draws of every interval.
        scores: (variant, condition) -> metric -> interval, for the conditions of the headline; only overlap at the
            largest budget.
        robustness: (variant, condition) -> "dice" and "iou", for every condition.
        measures: (variant, condition, measure) -> "nause" and "aurc", for every measure, clean and attacked.
        checks: the checks of gradient masking of every model that was checked.
    """

    results: Results
    choices: Choices
    draws: int
    scores: Mapping[tuple[str, ConditionKey], Mapping[Metric, Interval]]
    robustness: Mapping[tuple[str, ConditionKey], Mapping[Metric, Interval]]
    measures: Mapping[tuple[str, ConditionKey, str], Mapping[Metric, Interval]]
    differences: tuple[Difference, ...]
    checks: tuple[Check, ...]

    @cached_property
    def looks(self) -> dict[str, Look]:
        """How each variant is drawn in every figure."""
        return looks(self.results)

    @property
    def shifted(self) -> list[str]:
        """The variants whose image uncertainty was measured under the headline attack."""
        judged = [variant for variant in self.results.variants if variant in self.choices.columns]
        return [variant for variant in judged if self.evaluated(variant, self.choices.compared[1:])]

    def score(self, variant: str, condition: ConditionKey, metric: Metric) -> Interval:
        """Return one of ``scores``, undefined where there is none."""
        return self.scores.get((variant, condition), {}).get(metric, UNDEFINED)

    def table(self, key: str, rows: Sequence[Row], titles: Mapping[str, str] | None = None, **words: object) -> Table:
        """Return a table in whose words the target has its name, and clean and attacked the headline's conditions."""
        conditions = map(describe_condition, self.choices.compared)
        words = {**dict(zip(("clean", "attacked"), conditions, strict=False)), "target": self.results.target, **words}
        return make_table(key, rows, titles, **words)

    def evaluated(self, variant: str, conditions: Iterable[ConditionKey]) -> list[ConditionKey]:
        """Return the conditions under which a variant was evaluated."""
        return [condition for condition in conditions if (variant, condition) in self.robustness]

    def trust(self, variant: str, condition: ConditionKey | None = None) -> str | None:
        """Return what the checks of gradient masking take from a number under attack, for a table."""
        return None if condition == CLEAN else trust(self.checks, variant)


def collect(results: Results, *, draws: int = 2000) -> ReportData:
    """Return the numbers of the finished part of a study."""
    choices = choose(results)
    rows = results.records.select("variant", "condition", pl.col("eps").round(7)).unique().iter_rows()
    measured = {(str(variant), (str(name), float(eps))) for variant, name, eps in rows}

    def each(conditions: Iterable[ConditionKey]) -> list[tuple[str, ConditionKey]]:
        return [pair for pair in product(results.variants, conditions) if pair in measured]

    everywhere = dict.fromkeys([CLEAN, *(key for attack in choices.attacks for key in choices.curve(attack))])
    robustness = {
        pair: {metric: mean_of(results, *pair, metric, draws=draws) for metric in _OVERLAP} for pair in each(everywhere)
    }
    measures = {
        (variant, condition, measure): ranking_scores(results, variant, condition, measure, column, draws=draws)
        for variant, condition in each(choices.compared)
        for measure, column in choices.all_columns[variant].items()
    }
    scores = {
        pair: {
            **robustness[pair],
            **measures.get((*pair, choices.measures.get(pair[0], "")), {}),
            **_further_scores(results, choices, *pair, draws),
        }
        for pair in each(choices.conditions)
    }
    differences = tuple(
        difference
        for (variant, baseline), rank in pairs(results).items()
        for condition in choices.conditions
        if {(variant, condition), (baseline, condition)} <= measured
        for difference in _differences(results, choices, variant, baseline, condition, rank, draws)
    )
    return ReportData(results, choices, draws, scores, robustness, measures, differences, load_checks(results))


def _further_scores(results: Results, choices: Choices, variant: str, condition: ConditionKey, draws: int) -> Scores:
    """Return the scores of the headline but for mean overlap and ``ranking_scores``."""
    found: Scores = {"pooled_dice": pooled(results, variant, condition, union=False, draws=draws)}
    rows = rows_of(results, variant, condition)
    if "dice_native" in rows.columns and rows["dice_native"].is_not_null().any():
        found["dice_native"] = mean_of(results, variant, condition, "dice_native", draws=draws)
    if condition not in choices.compared:
        return found
    found["ece"] = estimate(pixel_calibration(results, variant, condition), draws=draws)
    if variant in choices.columns:
        measure = choices.measures[variant]
        images = read_scores(results, variant, condition, choices.columns[variant])
        pixels = pixel_ranking(results, variant, condition, measure, score=ause_from_counts)
        errors = squared_error_ranking(results, variant, condition, measure)
        found["ause"], found["ause_brier"] = (estimate(table, draws=draws) for table in (pixels, errors))
        found["augrc"] = ranking_of(images, by_blocks(augrc_from_counts), draws=draws)
    return found


def ranking_scores(
    results: Results, variant: str, condition: ConditionKey, measure: str, column: str, *, draws: int
) -> Scores:
    """Return nAUSE of a measure and AURC of the image score in a column."""
    pixels = pixel_ranking(results, variant, condition, measure, score=nause_from_counts)
    images = read_scores(results, variant, condition, column)
    return {"nause": estimate(pixels, draws=draws), "aurc": ranking_of(images, draws=draws)}


def _differences(
    results: Results, choices: Choices, variant: str, baseline: str, condition: ConditionKey, rank: int, draws: int
) -> list[Difference]:
    column, measure = (found.get(variant) for found in (choices.columns, choices.measures))
    first, second = (Side(name, measure or "", column or "") for name in (variant, baseline))
    metrics: list[Metric] = ["dice"]
    # Scores of different measures are different questions: they are not subtracted.
    if condition in choices.compared and column is not None and column == choices.columns.get(baseline):
        metrics += ["nause", "aurc"]
    found = {metric: paired_difference(results, first, second, condition, metric, draws=draws) for metric in metrics}
    if condition in choices.compared:
        found["ece"] = calibration_difference(results, first, second, condition, draws=draws)
    margin = results.wording.margin
    return [
        Difference(variant, baseline, condition, metric, each.interval, each.trainings, rank, margin)
        for metric, each in found.items()
    ]
