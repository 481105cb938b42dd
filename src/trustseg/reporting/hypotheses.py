"""The hypotheses tested on a study: estimate, interval, verdict and one plain sentence of each; dose-response."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import polars as pl

from trustseg.records import metric_column
from trustseg.reporting.deployed import is_deployed
from trustseg.reporting.differences import Side, paired_difference
from trustseg.reporting.image_scores import mean_of
from trustseg.reporting.labels import CLEAN, ConditionKey, describe_condition, describe_metric, metric_of, words
from trustseg.reporting.report_data import ReportData, tabulated
from trustseg.reporting.results import Results
from trustseg.reporting.series import Chart, Panel, chart, curve, without
from trustseg.reporting.tables import Row, Table, interval_text, number_text
from trustseg.statistics import ALPHA, FEW_PATIENTS, Comparison, Interval, holm
from trustseg.study.hypotheses import (
    FILE,
    Hypothesis,
    load_hypotheses,
    other_settings,
    setting,
    settings_match,
)

__all__ = ["Outcome", "answer_hypotheses", "dose_chart", "dose_response", "hypotheses"]

Verdict = Literal["supported", "contradicted", "inconclusive", "not testable here"]

SAME_BUDGET: Final = 1e-9  # budgets closer than this are one; load_results rounds them to 7 digits
ONE_TRAINING: Final = "one training on each side: the difference is that of these trained models alone"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a study says of one hypothesis, in one score and one pair of variants.

    Attributes:
        untestable: why it cannot be tested; empty where it can.
        compared: the two sides in words.
        score: the score and the condition in words.
        p: p-value after Holm's correction over all tests of the study that decide something; NaN without a test.
    """

    hypothesis: Hypothesis
    untestable: str = ""
    compared: str = ""
    score: str = ""
    comparison: Comparison | None = None
    p: float = math.nan

    @property
    def tested(self) -> Comparison | None:
        """The comparison, if it rests on enough to decide anything."""
        return self.comparison if self.comparison is not None and _decides(self.comparison) else None

    @property
    def verdict(self) -> Verdict:
        """What the comparison allows to say; of one training on each side at most that it shows no difference."""
        found, asked = self.tested, self.hypothesis
        if found is not None:
            return found.conclusion(asked.direction, margin=asked.margin, p=self.p)
        shows_nothing = self.comparison is not None and _includes_zero(self.comparison)
        return "inconclusive" if shows_nothing and asked.direction in ("higher", "lower") else "not testable here"

    @property
    def sentence(self) -> str:
        """The verdict in words, and what it rests on."""
        claim, found = self.hypothesis.claim, self.comparison
        if found is None:
            return f"{claim} Not testable here: {self.untestable}."
        verdict, interval = self.verdict, interval_text(found.interval, signed=True)
        return f"{claim} {self.score}, {self.compared}: {interval}: {verdict} ({_why(self, found)})."


def answer_hypotheses(data: ReportData) -> list[Outcome]:
    """Return what a study says of each hypothesis in its folder."""
    outcomes = [outcome for hypothesis in _hypotheses_of(data.results) for outcome in _compared(hypothesis, data)]
    raw = [found.p_of(o.hypothesis.direction, o.hypothesis.margin) for o in outcomes if (found := o.tested)]
    corrected = iter(holm(raw))
    return [replace(outcome, p=next(corrected)) if outcome.tested else outcome for outcome in outcomes]


def _hypotheses_of(results: Results) -> list[Hypothesis]:
    """Return the hypotheses that a study states, in its folder; none where it states none."""
    own = results.folder / FILE
    return load_hypotheses(own) if own.is_file() else []


@tabulated
def hypotheses(data: ReportData, outcomes: Sequence[Outcome]) -> Iterator[Row]:
    """Yield a row for each outcome."""
    for outcome in outcomes:
        found = outcome.comparison
        yield {
            "name": outcome.hypothesis.name,
            "compared": outcome.compared or outcome.hypothesis.claim,
            "score": outcome.score or outcome.hypothesis.measures[0],
            "difference": found.interval if found else None,
            "p": None if math.isnan(outcome.p) else outcome.p,
            "effect": None if found is None or math.isnan(found.effect) else found.effect,
            "detectable": found.detectable if found else None,
            "seeds": found.trainings if found else None,
            "verdict": outcome.verdict,
        }


def _compared(hypothesis: Hypothesis, data: ReportData) -> Iterator[Outcome]:
    """Yield the comparisons that a hypothesis asks for, or the one reason why it cannot be tested."""
    results, configs = data.results, _configs_of(data.results)
    for side in (hypothesis.first, hypothesis.second):
        if not any(settings_match(config, side) for config in configs.values()):
            wanted = ", ".join(f"{key}={value}" for key, value in side.items())
            yield Outcome(hypothesis, f"no finished run has {wanted}")
            return
    condition = _condition_of(hypothesis, data)
    if isinstance(condition, str):
        yield Outcome(hypothesis, condition)
        return
    pairs = [
        (one, other)
        for one, config in configs.items()
        for other, against in configs.items()
        if settings_match(config, hypothesis.first)
        and settings_match(against, hypothesis.second)
        and other_settings(config, hypothesis) == other_settings(against, hypothesis)
        and {c.seed for c in results.cells_of(one)} & {c.seed for c in results.cells_of(other)}
    ]
    if not pairs:
        yield Outcome(hypothesis, "its two sides differ in other settings or share no seed")
    for one, other in pairs:
        first = _side(one, hypothesis.first_uncertainty, data)
        second = _side(other, hypothesis.second_uncertainty, data)
        if first is None or second is None:
            yield Outcome(hypothesis, f"the records of {one} or {other} lack the uncertainty it names")
            continue
        compared = f"{one} minus {other}"
        if one == other:  # by two measures
            compared = f"{one}: {words(first.measure)} minus {words(second.measure)}"
        bare = [side for side in (one, other) if not any(map(is_deployed, results.cells_of(side)))]
        for score in hypothesis.measures:
            if _kind(score) == "image" and metric_column(score) not in results.records.columns:
                yield Outcome(hypothesis, f"the records lack the metric {score}")
            elif _kind(score) == "decision" and bare:
                yield Outcome(hypothesis, f"no run of {bare[0]} has a deferral policy fitted on validation images")
            else:
                said = f"{describe_metric(score)}, {describe_condition(condition)}"
                found = paired_difference(results, first, second, condition, score)
                yield Outcome(hypothesis, "", compared, said, found)


def _configs_of(results: Results) -> dict[str, Mapping[str, Any]]:
    """Return the settings of each variant of single models; its mixtures have the same and would be tested for it."""
    single = [variant for variant in results.variants if not results.is_mixture(variant)]
    return {variant: results.cells_of(variant)[0].settings for variant in single}


def _condition_of(hypothesis: Hypothesis, data: ReportData) -> ConditionKey | str:
    """Return the condition that a hypothesis speaks of, or why there is none."""
    if hypothesis.condition == "clean":
        return CLEAN
    name = data.attack if hypothesis.condition == "attacked" else hypothesis.condition
    records = data.results.records
    labels = records["condition"].unique().sort()
    if name not in labels:  # the attack with other steps than usual, overconfidence20 say
        name = next((label for label in labels if label.rstrip("0123456789") == name), name)
    rungs = records.filter(pl.col("condition") == name)["eps"].unique().sort().to_list()
    if not rungs:
        return f"no run was measured under {hypothesis.condition}"
    nearest = min(rungs, key=lambda eps: abs(eps - (data.eps if hypothesis.eps is None else hypothesis.eps)))
    if hypothesis.eps is None or abs(nearest - round(hypothesis.eps, 7)) < SAME_BUDGET:
        return (name, nearest)
    measured = ", ".join(describe_condition((name, eps)) for eps in rungs)
    return f"no run was measured under {describe_condition((name, hypothesis.eps))}, only under {measured}"


def _kind(score: str) -> str:
    """Return what a score that hypotheses compare is taken of, as in ``MetricFacts``."""
    found = metric_of(score)
    return found[1].facts.kind if found else "image"


def _side(variant: str, uncertainty: str | None, data: ReportData) -> Side | None:
    measure = uncertainty or data.measures.get(variant)
    column = data.all_columns.get(variant, {}).get(measure or "")
    return Side(variant, measure, column) if measure and column else None


def _decides(comparison: Comparison) -> bool:
    """Return whether a comparison rests on enough to decide anything, and so is one of the tests corrected for."""
    interval = comparison.interval
    known = not math.isnan(interval.low) and not interval.few_patients and not _is_nothing(comparison)
    return known and comparison.trainings > 1


def _is_nothing(comparison: Comparison) -> bool:
    """Return whether both sides are the same in every image and draw: the same training, or nothing to measure."""
    return comparison.interval.low == comparison.interval.high == comparison.interval.value == 0


def _includes_zero(comparison: Comparison) -> bool:
    """Return whether an interval over patients includes 0; one that covers trainings as well would be wider still."""
    interval = comparison.interval
    return interval.low <= 0 <= interval.high and not interval.few_patients and not _is_nothing(comparison)


def _why(outcome: Outcome, comparison: Comparison) -> str:
    """Return what a verdict rests on."""
    hypothesis, interval = outcome.hypothesis, comparison.interval
    match outcome.verdict:
        case "not testable here" if _is_nothing(comparison):
            return "both sides are the same in every image"
        case "not testable here" if interval.few_patients:
            return f"fewer than {FEW_PATIENTS} patients"
        case "not testable here":
            return "no interval" if math.isnan(interval.low) else ONE_TRAINING
        case "inconclusive" if comparison.trainings < 2:
            return ONE_TRAINING
        case "inconclusive":
            return f"a difference of {number_text(comparison.detectable)} would have been found 4 times in 5"
    if hypothesis.direction in ("not_lower", "not_higher", "equal"):
        return f"the margin is {hypothesis.margin:g}"
    if outcome.p < ALPHA:
        return f"p < {ALPHA} after correction"
    return f"any difference is shown to be below the margin of {hypothesis.margin:g}"


@tabulated
def dose_response(data: ReportData) -> Iterator[Row]:
    """Yield the first score of each hypothesis with a dose at each value of it; no rows where one value was run."""
    for hypothesis, condition, variants in _doses_of(data):
        for variant, dose in variants.items():
            value = mean_of(data.results, variant, condition, metric_column(hypothesis.measures[0]))
            yield {"name": hypothesis.name, "variant": variant, "dose": dose, "value": value}


def dose_chart(data: ReportData, table: Table) -> Chart:
    """Return the table as curves, one panel for each hypothesis whose doses are numbers; none where there is none."""
    panels = []
    for hypothesis, condition, variants in _doses_of(data):
        doses = {variant: _number(dose) for variant, dose in variants.items()}
        values = {str(row["variant"]): row["value"] for row in table.rows if row["name"] == hypothesis.name}
        curves: dict[str, dict[str, Interval]] = {}
        for variant in sorted(variants, key=lambda variant: doses[variant]):
            value = values[variant]
            if isinstance(value, Interval) and math.isfinite(doses[variant]):
                dose = str(hypothesis.dose).rpartition(".")[2]
                curves.setdefault(without(variant, dose), {})[variant] = value
        lines = [
            curve(name, [doses[variant] for variant in found], [*found.values()], data.looks[next(iter(found))])
            for name, found in curves.items()
        ]
        if any(len(line.x) > 1 for line in lines):
            score = f"{describe_metric(hypothesis.measures[0])}, {describe_condition(condition)}"
            panels.append(Panel(hypothesis.name, str(hypothesis.dose), score, tuple(lines)))
    return chart("dose_response", panels, max(1, len(panels)))


def _doses_of(data: ReportData) -> Iterator[tuple[Hypothesis, ConditionKey, dict[str, str]]]:
    """Yield each hypothesis whose dose was run at two values at least: where it is read, and variant -> dose."""
    for hypothesis in _hypotheses_of(data.results):
        condition, key = _condition_of(hypothesis, data), hypothesis.dose
        if key is None or isinstance(condition, str) or _kind(hypothesis.measures[0]) != "image":
            continue
        sides = [
            {name: value for name, value in side.items() if name != key}
            for side in (hypothesis.first, hypothesis.second)
        ]
        doses = {
            variant: str(setting(config, key))
            for variant, config in _configs_of(data.results).items()
            if any(settings_match(config, side) for side in sides)
        }
        if len(set(doses.values())) > 1:
            yield hypothesis, condition, doses


def _number(dose: str) -> float:
    """Return a dose as a number, NaN if it is a word."""
    try:
        return float(dose)
    except ValueError:
        return math.nan
