"""The hypotheses tested on a study: estimate, interval, verdict and one plain sentence of each; dose-response."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Final, Literal

import polars as pl

from trustseg.errors import DataError
from trustseg.records import metric_column
from trustseg.reporting.decisions import has_policy
from trustseg.reporting.differences import Side, paired_difference
from trustseg.reporting.image_scores import mean_of
from trustseg.reporting.labels import CLEAN, ConditionKey, describe_condition, describe_metric, metric_of, words
from trustseg.reporting.report_data import ReportData, as_table
from trustseg.reporting.results import Results
from trustseg.reporting.series import Chart, Panel, chart, curve, drop_part
from trustseg.reporting.tables import Row, Table, interval_text, number_text
from trustseg.statistics import ALPHA, FEW_PATIENTS, Comparison, Interval, holm
from trustseg.study.hypotheses import FILE, Hypothesis, load_hypotheses, other_settings, setting, settings_match

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
        comparison, hypothesis = self.tested, self.hypothesis
        if comparison is not None:
            return comparison.conclusion(hypothesis.direction, margin=hypothesis.margin, p=self.p)
        shows_nothing = self.comparison is not None and _includes_zero(self.comparison)
        return "inconclusive" if shows_nothing and hypothesis.direction in ("higher", "lower") else "not testable here"

    @property
    def sentence(self) -> str:
        """The verdict in words, and what it rests on."""
        claim, comparison = self.hypothesis.claim, self.comparison
        if comparison is None:
            return f"{claim} Not testable here: {self.untestable}."
        verdict, interval = self.verdict, interval_text(comparison.interval, signed=True)
        return f"{claim} {self.score}, {self.compared}: {interval}: {verdict} ({_why(self, comparison)})."


def answer_hypotheses(data: ReportData) -> list[Outcome]:
    """Return what a study says of each hypothesis in its folder."""
    outcomes = [outcome for hypothesis in _hypotheses_of(data.results) for outcome in _outcomes_of(hypothesis, data)]
    p_values = [test.p_of(o.hypothesis.direction, o.hypothesis.margin) for o in outcomes if (test := o.tested)]
    corrected = iter(holm(p_values))
    return [replace(outcome, p=next(corrected)) if outcome.tested else outcome for outcome in outcomes]


def _hypotheses_of(results: Results) -> list[Hypothesis]:
    own = results.folder / FILE
    return load_hypotheses(own) if own.is_file() else []


@as_table
def hypotheses(data: ReportData, outcomes: Sequence[Outcome]) -> Iterator[Row]:
    """Yield a row for each outcome."""
    for outcome in outcomes:
        comparison = outcome.comparison
        yield {
            "name": outcome.hypothesis.name,
            "compared": outcome.compared or outcome.hypothesis.claim,
            "score": outcome.score or outcome.hypothesis.measures[0],
            "difference": comparison.interval if comparison else None,
            "p": None if math.isnan(outcome.p) else outcome.p,
            "effect": None if comparison is None or math.isnan(comparison.effect) else comparison.effect,
            "detectable": comparison.detectable if comparison else None,
            "seeds": comparison.trainings if comparison else None,
            "verdict": outcome.verdict,
        }


def _outcomes_of(hypothesis: Hypothesis, data: ReportData) -> Iterator[Outcome]:
    """Yield the comparisons that a hypothesis asks for, or the one reason why it cannot be tested."""
    results, configs = data.results, _configs_of(data.results)
    for side in (hypothesis.first, hypothesis.second):
        if not any(settings_match(config, side) for config in configs.values()):
            settings = ", ".join(f"{key}={value}" for key, value in side.items())
            yield Outcome(hypothesis, f"no finished run has {settings}")
            return
    try:
        condition = _condition_of(hypothesis, data)
    except DataError as error:
        yield Outcome(hypothesis, str(error))
        return
    pairs = [
        (variant, baseline)
        for (variant, config), (baseline, other) in product(configs.items(), configs.items())
        if settings_match(config, hypothesis.first)
        and settings_match(other, hypothesis.second)
        and other_settings(config, hypothesis) == other_settings(other, hypothesis)
        and {cell.seed for cell in results.cells_of(variant)} & {cell.seed for cell in results.cells_of(baseline)}
    ]
    if not pairs:
        yield Outcome(hypothesis, "its two sides differ in other settings or share no seed")
    for variant, baseline in pairs:
        first = _side(variant, hypothesis.first_uncertainty, data)
        second = _side(baseline, hypothesis.second_uncertainty, data)
        if first is None or second is None:
            yield Outcome(hypothesis, f"the records of {variant} or {baseline} lack the uncertainty it names")
            continue
        compared = f"{variant} minus {baseline}"
        if variant == baseline:  # by two measures
            compared = f"{variant}: {words(first.measure)} minus {words(second.measure)}"
        lacking = [side for side in (variant, baseline) if not any(map(has_policy, results.cells_of(side)))]
        for score in hypothesis.measures:
            if _kind(score) == "image" and metric_column(score) not in results.records.columns:
                yield Outcome(hypothesis, f"the records lack the metric {score}")
            elif _kind(score) == "decision" and lacking:
                yield Outcome(hypothesis, f"no run of {lacking[0]} has a deferral policy fitted on validation images")
            else:
                name = f"{describe_metric(score)}, {describe_condition(condition)}"
                comparison = paired_difference(results, first, second, condition, score)
                yield Outcome(hypothesis, "", compared, name, comparison)


def _configs_of(results: Results) -> dict[str, Mapping[str, Any]]:
    """Return the settings of each variant of single models; its mixtures have the same and would be tested for it."""
    single = [variant for variant in results.variants if not results.is_mixture(variant)]
    return {variant: results.cells_of(variant)[0].settings for variant in single}


def _condition_of(hypothesis: Hypothesis, data: ReportData) -> ConditionKey:
    """Return the condition that a hypothesis speaks of; a DataError says why there is none."""
    if hypothesis.condition == "clean":
        return CLEAN
    name = data.attack if hypothesis.condition == "attacked" else hypothesis.condition
    records = data.results.records
    labels = records["condition"].unique().sort()
    if name not in labels:  # the attack with other steps than usual, overconfidence20 say
        name = next((label for label in labels if label.rstrip("0123456789") == name), name)
    rungs = records.filter(pl.col("condition") == name)["eps"].unique().sort().to_list()
    if not rungs:
        raise DataError(f"no run was measured under {hypothesis.condition}")
    nearest = min(rungs, key=lambda eps: abs(eps - (data.eps if hypothesis.eps is None else hypothesis.eps)))
    if hypothesis.eps is None or abs(nearest - round(hypothesis.eps, 7)) < SAME_BUDGET:
        return (name, nearest)
    measured = ", ".join(describe_condition((name, eps)) for eps in rungs)
    raise DataError(f"no run was measured under {describe_condition((name, hypothesis.eps))}, only under {measured}")


def _kind(score: str) -> str:
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


@as_table
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
                curves.setdefault(drop_part(variant, dose), {})[variant] = value
        lines = [
            curve(name, [doses[variant] for variant in found], [*found.values()], data.styles[next(iter(found))])
            for name, found in curves.items()
        ]
        if any(len(line.x) > 1 for line in lines):
            score = f"{describe_metric(hypothesis.measures[0])}, {describe_condition(condition)}"
            panels.append(Panel(hypothesis.name, str(hypothesis.dose), score, tuple(lines)))
    return chart("dose_response", panels, max(1, len(panels)))


def _doses_of(data: ReportData) -> Iterator[tuple[Hypothesis, ConditionKey, dict[str, str]]]:
    """Yield each hypothesis whose dose was run at two values at least: where it is read, and variant -> dose."""
    for hypothesis in _hypotheses_of(data.results):
        key = hypothesis.dose
        if key is None or _kind(hypothesis.measures[0]) != "image":
            continue
        try:
            condition = _condition_of(hypothesis, data)
        except DataError:  # not measured, which its outcome says
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
    try:
        return float(dose)
    except ValueError:
        return math.nan
