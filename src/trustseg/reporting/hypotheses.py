"""The hypotheses tested on a study: estimate, interval, verdict and one plain sentence of each; dose-response."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from trustseg.records import metric_column
from trustseg.reporting.choices import Choices
from trustseg.reporting.deployed import is_deployed
from trustseg.reporting.image_scores import mean_of
from trustseg.reporting.labels import CLEAN, METRIC_NAMES, ConditionKey, describe_condition, describe_metric, words
from trustseg.reporting.paired_scores import Side, paired_difference
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.results import Results
from trustseg.reporting.series import Chart, Panel, chart, curve
from trustseg.reporting.tables import Row, Table, interval_text, make_table, number_text
from trustseg.statistics import ALPHA, FEW_PATIENTS, Comparison, Interval, holm
from trustseg.study.hypotheses import (
    FILE,
    RANKINGS,
    Hypothesis,
    load_hypotheses,
    other_settings,
    setting,
    settings_match,
)

__all__ = ["Outcome", "answer_hypotheses", "dose_chart", "dose_table", "hypothesis_table"]

Verdict = Literal["supported", "contradicted", "inconclusive", "not testable here"]

SAME_BUDGET: Final = 1e-9  # budgets closer than this are one; load_results rounds them to 7 digits
ONE_TRAINING: Final = "one training on each side: the difference is that of these trained models alone"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a study says of one hypothesis, in one score and one pair of variants.

    Attributes:
        sentence: the verdict in words.
        compared: the two sides in words; empty where it cannot be tested.
        score: the score and the condition in words.
        p: p-value after Holm's correction over all tests of the study that decide something; NaN without a test.
    """

    hypothesis: Hypothesis
    sentence: str
    compared: str = ""
    score: str = ""
    comparison: Comparison | None = None
    p: float = math.nan
    verdict: Verdict = "not testable here"


@dataclass(frozen=True, slots=True)
class _Test:
    hypothesis: Hypothesis
    sides: tuple[Side, Side]
    condition: ConditionKey
    score: str


def answer_hypotheses(data: ReportData) -> list[Outcome]:
    """Return what a study says of each hypothesis in its folder."""
    results = data.results
    found = [item for hypothesis in _hypotheses_of(results) for item in _tests(hypothesis, results, data.choices)]
    tests = [item for item in found if isinstance(item, _Test)]
    compared = [paired_difference(results, *test.sides, test.condition, test.score, draws=data.draws) for test in tests]
    rows = list(zip(tests, compared, strict=True))
    raw = [c.p_of(t.hypothesis.direction, t.hypothesis.margin) for t, c in rows if _decides(c)]
    corrected = iter(holm(raw))
    judged = iter([_judged(t, c, next(corrected) if _decides(c) else math.nan) for t, c in rows])
    return [next(judged) if isinstance(item, _Test) else item for item in found]


def _hypotheses_of(results: Results) -> list[Hypothesis]:
    """Return the hypotheses that a study states, in its folder; none where it states none."""
    own = results.folder / FILE
    return load_hypotheses(own) if own.is_file() else []


def hypothesis_table(outcomes: Sequence[Outcome]) -> Table:
    """Return a row for each outcome."""
    rows: list[Row] = []
    for outcome in outcomes:
        found = outcome.comparison
        rows.append(
            {
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
        )
    return make_table("hypotheses", rows)


def _tests(hypothesis: Hypothesis, results: Results, choices: Choices) -> Iterator[_Test | Outcome]:
    """Yield the tests of a hypothesis, or the one reason why it cannot be tested."""
    configs = _configs_of(results)
    for side in (hypothesis.first, hypothesis.second):
        if not any(settings_match(config, side) for config in configs.values()):
            wanted = ", ".join(f"{key}={value}" for key, value in side.items())
            yield _untestable(hypothesis, f"no finished run has {wanted}")
            return
    condition = _condition_of(hypothesis, results, choices)
    if isinstance(condition, str):
        yield _untestable(hypothesis, condition)
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
        yield _untestable(hypothesis, "its two sides differ in other settings or share no seed")
    for one, other in pairs:
        first = _side(one, hypothesis.first_uncertainty, choices)
        second = _side(other, hypothesis.second_uncertainty, choices)
        if first is None or second is None:
            yield _untestable(hypothesis, f"the records of {one} or {other} lack the uncertainty it names")
            continue
        bare = [side for side in (one, other) if not any(map(is_deployed, results.cells_of(side)))]
        for score in hypothesis.measures:
            if score not in RANKINGS and metric_column(score) not in results.records.columns:
                yield _untestable(hypothesis, f"the records lack the metric {score}")
            elif score == "undetected_harm" and bare:
                yield _untestable(hypothesis, f"no run of {bare[0]} has a deferral policy fitted on validation images")
            else:
                yield _Test(hypothesis, (first, second), condition, score)


def _configs_of(results: Results) -> dict[str, Mapping[str, Any]]:
    """Return the settings of each variant of single models; its mixtures have the same and would be tested for it."""
    single = [variant for variant in results.variants if not results.is_mixture(variant)]
    return {variant: results.cells_of(variant)[0].settings for variant in single}


def _condition_of(hypothesis: Hypothesis, results: Results, choices: Choices) -> ConditionKey | str:
    """Return the condition that a hypothesis speaks of, or why there is none."""
    if hypothesis.condition == "clean":
        return CLEAN
    name = choices.attack if hypothesis.condition == "attacked" else hypothesis.condition
    labels = results.records["condition"].unique().sort()
    if name not in labels:  # the attack with other steps than usual, overconfidence20 say
        name = next((label for label in labels if label.rstrip("0123456789") == name), name)
    rungs = results.records.filter(results.records["condition"] == name)["eps"].unique().sort().to_list()
    if not rungs:
        return f"no run was measured under {hypothesis.condition}"
    nearest = min(rungs, key=lambda eps: abs(eps - (choices.eps if hypothesis.eps is None else hypothesis.eps)))
    if hypothesis.eps is None or abs(nearest - round(hypothesis.eps, 7)) < SAME_BUDGET:
        return (name, nearest)
    measured = ", ".join(describe_condition((name, eps)) for eps in rungs)
    return f"no run was measured under {describe_condition((name, hypothesis.eps))}, only under {measured}"


def _score_name(score: str) -> str:
    """Return a score that hypotheses compare in words."""
    return METRIC_NAMES.get(score) or describe_metric(metric_column(score))


def _side(variant: str, uncertainty: str | None, choices: Choices) -> Side | None:
    measure = uncertainty or choices.measures.get(variant)
    column = choices.all_columns.get(variant, {}).get(measure or "")
    return Side(variant, measure, column) if measure and column else None


def _untestable(hypothesis: Hypothesis, reason: str) -> Outcome:
    return Outcome(hypothesis, f"{hypothesis.claim} Not testable here: {reason}.")


def _decides(comparison: Comparison) -> bool:
    """Return whether a comparison rests on enough to decide anything, and so is one of the tests corrected for."""
    interval = comparison.interval
    known = not math.isnan(interval.low) and not interval.few_patients and not _is_nothing(comparison)
    return known and comparison.trainings > 1


def _is_nothing(comparison: Comparison) -> bool:
    """Return whether both sides are the same in every image and draw: the same training, or nothing to measure."""
    return comparison.interval.low == comparison.interval.high == comparison.interval.value == 0


def _judged(test: _Test, comparison: Comparison, p: float) -> Outcome:
    hypothesis, (first, second) = test.hypothesis, test.sides
    verdict: Verdict = "not testable here"
    if _decides(comparison):
        verdict = comparison.conclusion(hypothesis.direction, margin=hypothesis.margin, p=p)
    compared = f"{first.variant} minus {second.variant}"
    if first.variant == second.variant:  # by two measures
        compared = f"{first.variant}: {words(first.measure)} minus {words(second.measure)}"
    score = f"{_score_name(test.score)}, {describe_condition(test.condition)}"
    sentence = (
        f"{hypothesis.claim} {score}, {compared}: {interval_text(comparison.interval, signed=True)}: {verdict} "
        f"({_why(verdict, comparison, hypothesis, p)})."
    )
    return Outcome(hypothesis, sentence, compared, score, comparison, p, verdict)


def _why(verdict: Verdict, comparison: Comparison, hypothesis: Hypothesis, p: float) -> str:
    """Return what a verdict rests on."""
    if verdict == "not testable here":
        if _is_nothing(comparison):
            return "both sides are the same in every image"
        if comparison.interval.few_patients:
            return f"fewer than {FEW_PATIENTS} patients"
        return "no interval" if math.isnan(comparison.interval.low) else ONE_TRAINING
    if verdict == "inconclusive":
        return f"a difference of {number_text(comparison.detectable)} would have been found 4 times in 5"
    if hypothesis.direction in ("not_lower", "not_higher", "equal"):
        return f"the margin is {hypothesis.margin:g}"
    if p < ALPHA:
        return f"p < {ALPHA} after correction"
    return f"any difference is shown to be below the margin of {hypothesis.margin:g}"


def dose_table(data: ReportData) -> Table:
    """Return the first score of each hypothesis with a dose at each value of it; no rows where one value was run."""
    rows: list[Row] = []
    for hypothesis, condition, variants in _doses_of(data):
        for variant, dose in variants.items():
            value = mean_of(data.results, variant, condition, metric_column(hypothesis.measures[0]), draws=data.draws)
            rows.append({"name": hypothesis.name, "variant": variant, "dose": dose, "value": value})
    return data.table("dose_response", rows)


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
                curves.setdefault(_without(variant, str(hypothesis.dose)), {})[variant] = value
        lines = [
            curve(name, [doses[variant] for variant in found], [*found.values()], data.looks[next(iter(found))])
            for name, found in curves.items()
        ]
        if any(len(line.x) > 1 for line in lines):
            score = f"{_score_name(hypothesis.measures[0])}, {describe_condition(condition)}"
            panels.append(Panel(hypothesis.name, str(hypothesis.dose), score, tuple(lines)))
    return chart("dose_response", panels, max(1, len(panels)))


def _doses_of(data: ReportData) -> Iterator[tuple[Hypothesis, ConditionKey, dict[str, str]]]:
    """Yield each hypothesis whose dose was run at two values at least: where it is read, and variant -> dose."""
    for hypothesis in _hypotheses_of(data.results):
        condition, key = _condition_of(hypothesis, data.results, data.choices), hypothesis.dose
        if key is None or isinstance(condition, str) or hypothesis.measures[0] in RANKINGS:
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


def _without(variant: str, key: str) -> str:
    """Return the name of a variant without the dose in it.

    Example:
        >>> _without("beta, random, fraction=0.25", "adversarial.fraction")
        'beta, random'
    """
    dose = f"{key.rpartition('.')[2]}="
    return ", ".join(part for part in variant.split(", ") if not part.startswith(dose)) or variant


def _number(dose: str) -> float:
    """Return a dose as a number, NaN if it is a word."""
    try:
        return float(dose)
    except ValueError:
        return math.nan
