"""Paired differences of two variants, seed by seed, with intervals over patients and seeds; pairs to compare."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from trustseg import metrics
from trustseg.deferral.ranking import by_blocks
from trustseg.entries import Entry
from trustseg.records import metric_column
from trustseg.reporting.cell_tables import at
from trustseg.reporting.cells import FinishedCell
from trustseg.reporting.decisions import has_policy, policy_reading, with_decisions
from trustseg.reporting.image_scores import Floats, patients_of, rows_of
from trustseg.reporting.labels import ConditionKey, describe_condition, describe_metric, metric_of
from trustseg.reporting.pixel_scores import pixel_table
from trustseg.reporting.results import Results
from trustseg.reporting.tables import Column
from trustseg.statistics import Comparison, Interval, compare_drawn, compare_images, draw_patients
from trustseg.study.grid import REPETITIONS
from trustseg.tables import floats_of

if TYPE_CHECKING:
    from trustseg.metrics.entries import Kind, MetricFacts
    from trustseg.reporting.report_data import ReportData

__all__ = ["Difference", "Side", "compare_values", "differences_of", "paired_difference", "pairs"]

Metric: TypeAlias = "Entry[Any, MetricFacts]"
Verdict = Literal[
    "better", "worse", "includes 0", "within the margin", "margin not reached", "one training", "identical", "undefined"
]


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: a variant, and the measure and record column of its uncertainty."""

    variant: str
    measure: str
    column: str


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
    metric: str
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
        if low == high == self.interval.value == 0:
            return "identical"
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
        return (self.interval.value > 0) == self.higher_is_better

    @property
    def score(self) -> str:
        """The metric and the condition in words."""
        return f"{describe_metric(self.metric)}, {describe_condition(self.condition)}"

    @property
    def heading(self) -> str:
        """The same as a heading, which says whether lower is better."""
        return Column(self.metric, self.score).heading

    @property
    def kind(self) -> str:
        """What the metric is taken of, as in ``MetricFacts``."""
        return metrics.METRICS[self.metric].facts.kind

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher value of the metric is better."""
        return metrics.METRICS[self.metric].facts.better == "higher"


def pairs(results: Results) -> dict[tuple[str, str], int]:
    """Return the variants to compare, each with its baseline: (variant, baseline) -> rank of the baseline.

    The study's ``report.baselines`` are settings; every variant is compared with the one that has them and
    agrees in all others. Of a baseline without attacks, how the others are attacked does not matter. Mixtures
    are left out: what training changed is told by single models.
    """
    cells = [results.cells_of(variant)[0] for variant in results.variants if not results.is_mixture(variant)]
    baselines = results.report_settings.baselines
    found: dict[tuple[str, str], int] = {}
    for (cell, other), (rank, settings) in product(product(cells, cells), enumerate(baselines)):
        ignored = (*settings, *(["adversarial."] if settings.get("adversarial.selection") == "none" else []))
        is_baseline = any(_has(cell, same) for same in baselines[rank:])
        comparable = cell.head == other.head or "model.head" in settings
        if comparable and _has(other, settings) and not is_baseline and _same(cell, other, ignored):
            found.setdefault((cell.variant, other.variant), rank)
    return found


def _has(cell: FinishedCell, settings: Mapping[str, Any]) -> bool:
    values = {**cell.values, "model.head": cell.head, "adversarial.selection": cell.selection}
    return all(values.get(key) == value for key, value in settings.items())


def _same(cell: FinishedCell, other: FinishedCell, ignored: tuple[str, ...]) -> bool:
    first, second = (
        {key: value for key, value in each.values.items() if key not in REPETITIONS and not key.startswith(ignored)}
        for each in (cell, other)
    )
    return first == second


def differences_of(data: "ReportData") -> Iterator[Difference]:
    """Yield the differences of every pair under every condition of the headline that both were measured under."""
    results, margin = data.results, data.results.report_settings.margin
    for ((variant, baseline), rank), condition in product(pairs(results).items(), data.conditions):
        if not {(variant, condition), (baseline, condition)} <= data.measured:
            continue
        column, measure = (found.get(variant, "") for found in (data.columns, data.measures))
        sides = Side(variant, measure, column), Side(baseline, measure, column)
        # Scores of different measures are different questions: they are not subtracted.
        kinds: list[Kind] = ["image"]
        if condition in data.clean_and_attacked:
            shares = column and column == data.columns.get(baseline)
            kinds += [*(("pixel_ranking", "image_ranking") if shares else ()), "calibration"]
        for metric in metrics.metrics_of(*kinds, least="compared"):
            each = paired_difference(results, *sides, condition, metric)
            yield Difference(variant, baseline, condition, metric, each.interval, each.trainings, rank, margin)


def paired_difference(results: Results, first: Side, second: Side, condition: ConditionKey, score: str) -> Comparison:
    """Return the difference first - second in one score under one condition, over the seeds and images of both.

    The score is a metric, maybe with options. Without a seed and an image that both have, its interval is undefined.
    """
    _, entry = metric_of(score) or ("", None)
    if entry and entry.facts.kind in _COMPARISONS:
        return _COMPARISONS[entry.facts.kind](results, first, second, condition, entry)
    value = pl.col(metric_column(score))
    frames = [rows_of(results, side.variant, condition).with_columns(value=value) for side in (first, second)]
    return compare_values(*frames, draws=results.draws)


def _harm_comparison(results: Results, first: Side, second: Side, condition: ConditionKey, _: Metric) -> Comparison:
    """Compare the share of images that an attack harms and that the deferral policy of the run does not send on.

    Each run decides by its own policy, fitted on its validation images; a run without one is left out.
    """
    here, none = at(condition), results.records.clear().with_columns(value=0.0)
    sides = []
    for side in (first, second):
        frames = []
        for cell in filter(has_policy, results.cells_of(side.variant)):
            policy = policy_reading(cell, measure=side.measure, column=side.column)
            own = results.records.filter(pl.col("cell") == cell.id, here | (pl.col("kind") == "clean"))
            if len(own):
                decided = with_decisions(own, policy).filter(here)
                frames.append(decided.with_columns(value=pl.col("undetected_harm").cast(pl.Float64)))
        sides.append(pl.concat(frames, how="diagonal_relaxed") if frames else none)
    return compare_values(*sides, draws=results.draws)


def compare_values(first: pl.DataFrame, second: pl.DataFrame, *, draws: int) -> Comparison:
    """Return the difference first - second of the column ``value`` on the images of both, seeds apart."""
    columns = ["image", "patient", "seed", "value"]
    pairs = first.select(columns).join(second.select(columns), on=["image", "seed"], suffix="_second")
    if pairs.is_empty():
        return _undefined()
    values, patients = [], _patients(pairs)
    for side in ("value", "value_second"):
        wide = pairs.pivot("image", index="seed", values=side, aggregate_function="mean").sort("seed")
        values.append(wide.select(patients["image"].to_list()).cast(pl.Float64).fill_null(np.nan).to_numpy())
    return compare_images(values[0], values[1], patients["patient"].to_numpy(), draws=draws)


def _patients(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.group_by("image").agg(pl.col("patient").first()).sort("image")


def _image_ranking(results: Results, first: Side, second: Side, condition: ConditionKey, metric: Metric) -> Comparison:
    kept = [
        rows_of(results, side.variant, condition)
        .filter(pl.col("dice").is_not_null(), ~pl.col("dice").is_nan())
        .select("image", "patient", "seed", u=pl.col(side.column).cast(pl.Float64), risk=1 - pl.col("dice"))
        for side in (first, second)
    ]
    pairs = kept[0].join(kept[1], on=["image", "seed"], suffix="_second").drop_nulls()
    if pairs.is_empty():
        return _undefined()
    patients = _patients(pairs)["patient"].to_numpy()
    weights_of, score = _weights(patients, results.draws), by_blocks(metric)
    columns = []
    for _, rows in pairs.sort("seed", "image").group_by("seed", maintain_order=True):
        drawn = weights_of(patients_of(rows))
        left, right = (
            score(drawn, floats_of(rows, f"risk{end}"), floats_of(rows, f"u{end}")) for end in ("", "_second")
        )
        columns.append(left - right)
    return _comparison(columns, patients)


def _pixel_score(results: Results, first: Side, second: Side, condition: ConditionKey, metric: Metric) -> Comparison:
    seeds = [{cell.seed for cell in results.cells_of(side.variant)} for side in (first, second)]
    columns: list[Floats] = []
    shared: list[str] = []
    for seed in sorted(seeds[0] & seeds[1]):
        only = replace(results, cells=tuple(cell for cell in results.cells if cell.seed == seed))
        tables = [pixel_table(only, side.variant, condition, metric, measure=side.measure) for side in (first, second)]
        patients = sorted(set(tables[0].patients) & set(tables[1].patients))
        if not patients or (shared and patients != shared):  # seeds that tested other patients are not comparable
            continue
        shared = patients
        drawn = _weights(patients, results.draws)(patients)
        places = ([table.patients.index(name) for name in patients] for table in tables)
        left, right = (table.statistic(drawn @ table.table[place]) for table, place in zip(tables, places, strict=True))
        columns.append(left - right)
    return _comparison(columns, shared)


def _weights(patients: ArrayLike, draws: int) -> Callable[[ArrayLike], Floats]:
    """Return a function of patients (N,): how often each is taken, once, and then as in each draw (1 + D, N)."""
    names, _, times = draw_patients(patients, draws)
    weights = np.vstack([np.ones(len(names)), times])
    return lambda chosen: weights[:, np.searchsorted(names, np.char.lower(np.asarray(chosen)))]


def _comparison(columns: Sequence[Floats], patients: ArrayLike) -> Comparison:
    """Return the comparison of differences (1 + D,) of each seed: on all patients, and in each draw."""
    if not len(columns):
        return _undefined()
    table = np.stack(columns, axis=1)
    return compare_drawn(table[0], table[1:], patients, seed=0)


def _undefined() -> Comparison:
    return compare_drawn([math.nan], [[math.nan]], ["none"], seed=0)


_COMPARISONS: Final[Mapping[str, Callable[[Results, Side, Side, ConditionKey, Metric], Comparison]]] = {
    "pixel_ranking": _pixel_score,
    "calibration": _pixel_score,
    "image_ranking": _image_ranking,
    "decision": _harm_comparison,
}
