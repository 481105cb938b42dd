"""The hypotheses held against a study: each with its estimate, interval, verdict and one plain sentence."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from trustseg.reporting.choices import Choices, describe_condition
from trustseg.reporting.harm import is_deployed
from trustseg.reporting.image_scores import ConditionKey
from trustseg.reporting.paired_scores import Side, paired_difference
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.results import Results, settings_of
from trustseg.reporting.tables import Column, Table, Value, interval_text, number_text
from trustseg.statistics import ALPHA, FEW_PATIENTS, Comparison, holm
from trustseg.study.hypotheses import FILE, Hypothesis, load_hypotheses, other_settings, settings_match

__all__ = ["SCORE_NAMES", "Outcome", "configs_of", "hold_hypotheses", "hypotheses_of", "hypothesis_table", "place_of"]

Verdict = Literal["supported", "contradicted", "inconclusive", "not testable here"]

SCORE_NAMES: Final = {
    "dice": "Dice",
    "iou": "IoU",
    "nause": "nAUSE",
    "aurc": "AURC",
    "undetected_harm": "share of undetected harm",
}
SAME_BUDGET: Final = 1e-9  # budgets closer than this are one; load_results rounds them to 7 digits
ONE_SEED: Final = "No seed variance: not testable across trainings, this is about these trained models."


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a study says of one hypothesis, in one score and one pair of variants.

    Attributes:
        hypothesis: the claim.
        compared: the two sides in words; empty where it cannot be tested.
        score: key of the score.
        comparison: the difference; None where it cannot be tested.
        p: p-value after Holm's correction over all tests of the study that decide something; NaN where it cannot be
            tested.
        verdict: what may be said.
        sentence: the same in words.
    """

    hypothesis: Hypothesis
    compared: str
    score: str
    comparison: Comparison | None
    p: float
    verdict: Verdict
    sentence: str


@dataclass(frozen=True, slots=True)
class _Test:
    hypothesis: Hypothesis
    sides: tuple[Side, Side]
    place: ConditionKey
    score: str


def hold_hypotheses(evidence: ReportData, *, draws: int = 2000) -> list[Outcome]:
    """Return what a study says of each hypothesis: those in its folder, else the shipped ones.

    Args:
        evidence: the study.
        draws: bootstrap draws, > 0.

    Raises:
        ConfigError: if the hypotheses in the study's folder cannot be read.
    """
    results = evidence.results
    found: list[_Test | Outcome] = []
    for hypothesis in hypotheses_of(results):
        found += _tests(hypothesis, results, evidence.choices)
    tests = [test for test in found if isinstance(test, _Test)]
    compared = [paired_difference(results, *test.sides, test.place, test.score, draws=draws) for test in tests]
    rows = list(zip(tests, compared, strict=True))
    raw = [c.p_of(t.hypothesis.direction, t.hypothesis.margin) for t, c in rows if _decides(c)]
    corrected = iter(holm(raw))
    judged = iter([_judged(t, c, next(corrected) if _decides(c) else math.nan) for t, c in rows])
    return [next(judged) if isinstance(item, _Test) else item for item in found]


def hypotheses_of(results: Results) -> list[Hypothesis]:
    """Return the hypotheses in a study's folder, else the shipped ones."""
    own = results.folder / FILE
    return load_hypotheses(own if own.is_file() else None)


def hypothesis_table(outcomes: Sequence[Outcome]) -> Table:
    """Return a row for each outcome."""
    columns = (
        Column("name", "Hypothesis"),
        Column("compared", "Compared"),
        Column("score", "Score"),
        Column("difference", "Difference", signed=True),
        Column("p", "p (Holm)"),
        Column("effect", "Effect size", digits=2, signed=True),
        Column("detectable", "Detectable"),
        Column("seeds", "Seeds"),
        Column("verdict", "Verdict"),
    )
    return Table("hypotheses", "What this study says of the hypotheses", columns, tuple(map(_row, outcomes)))


def _tests(hypothesis: Hypothesis, results: Results, choices: Choices) -> Iterator[_Test | Outcome]:
    """Yield the tests of a hypothesis, or the one reason why it cannot be tested."""
    configs = configs_of(results)
    for side in (hypothesis.first, hypothesis.second):
        if not any(settings_match(config, side) for config in configs.values()):
            wanted = ", ".join(f"{key}={value}" for key, value in side.items())
            yield _untestable(hypothesis, f"no finished run has {wanted}")
            return
    place = place_of(hypothesis, results, choices)
    if isinstance(place, str):
        yield _untestable(hypothesis, place)
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
        sides = (
            _side(one, hypothesis.first_uncertainty, choices),
            _side(other, hypothesis.second_uncertainty, choices),
        )
        if sides[0] is None or sides[1] is None:
            yield _untestable(hypothesis, f"the records of {one} or {other} lack the uncertainty it names")
            continue
        bare = [side for side in (one, other) if not any(map(is_deployed, results.cells_of(side)))]
        for score in hypothesis.measures:
            if score == "undetected_harm" and bare:
                yield _untestable(hypothesis, f"no run of {bare[0]} has a deferral policy fitted on validation images")
                continue
            yield _Test(hypothesis, (sides[0], sides[1]), place, score)


def configs_of(results: Results) -> dict[str, Mapping[str, Any]]:
    """Return the settings of each variant of single models; its mixtures have the same and would be tested for it."""
    found: dict[str, Mapping[str, Any]] = {}
    for variant in results.variants:
        if results.is_mixture(variant):
            continue
        found[variant] = settings_of(results.cells_of(variant)[0])
    return found


def place_of(hypothesis: Hypothesis, results: Results, choices: Choices) -> ConditionKey | str:
    """Return the condition that a hypothesis speaks of, or why there is none."""
    if hypothesis.condition == "clean":
        return ("clean", 0.0)
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
    measured = ", ".join(describe_condition(name, eps) for eps in rungs)
    return f"no run was measured under {describe_condition(name, hypothesis.eps)}, only under {measured}"


def _side(variant: str, uncertainty: str | None, choices: Choices) -> Side | None:
    measure = uncertainty or choices.measures.get(variant)
    column = choices.all_columns.get(variant, {}).get(measure or "")
    return Side(variant, measure, column) if measure and column else None


def _untestable(hypothesis: Hypothesis, reason: str) -> Outcome:
    sentence = f"{hypothesis.claim} Not testable here: {reason}."
    return Outcome(hypothesis, "", hypothesis.measures[0], None, math.nan, "not testable here", sentence)


def _decides(comparison: Comparison) -> bool:
    """Return whether a comparison rests on enough to decide anything, and so is one of the tests corrected for."""
    interval = comparison.interval
    return not math.isnan(interval.low) and not interval.few_patients and not _is_nothing(comparison)


def _is_nothing(comparison: Comparison) -> bool:
    """Return whether both sides are the same in every image and draw: the same training, or nothing to measure."""
    return comparison.interval.low == comparison.interval.high == comparison.interval.value == 0


def _judged(test: _Test, comparison: Comparison, p: float) -> Outcome:
    hypothesis, (first, second) = test.hypothesis, test.sides
    finding: Verdict = comparison.conclusion(hypothesis.direction, margin=hypothesis.margin, p=p)
    if not _decides(comparison):
        finding = "not testable here"
    compared = f"{first.variant} minus {second.variant}"
    if first.variant == second.variant:  # by two measures
        compared = f"{first.variant}: {' minus '.join(side.measure.replace('_', ' ') for side in test.sides)}"
    score = f"{SCORE_NAMES[test.score]}, {describe_condition(*test.place)}"
    parts = [f"{hypothesis.claim} {score}, {compared}: {interval_text(comparison.interval, signed=True)}: {finding}"]
    parts[0] += f" ({_why(finding, comparison, hypothesis, p)})."
    if comparison.trainings == 1:
        parts.append(ONE_SEED)
    return replace(
        _untestable(hypothesis, ""),
        compared=compared,
        score=score,
        comparison=comparison,
        p=p,
        verdict=finding,
        sentence=" ".join(parts),
    )


def _why(finding: Verdict, comparison: Comparison, hypothesis: Hypothesis, p: float) -> str:
    """Return what a verdict rests on."""
    margin = f"{hypothesis.margin:g}"
    if finding == "not testable here":
        if _is_nothing(comparison):
            return "both sides are the same in every image"
        return f"fewer than {FEW_PATIENTS} patients" if comparison.interval.few_patients else "no interval"
    if finding == "inconclusive":
        return f"a difference of {number_text(comparison.detectable)} would have been found 4 times in 5"
    if hypothesis.direction in ("not_lower", "not_higher", "equal"):
        return f"the margin is {margin}"
    if p < ALPHA:
        return f"p < {ALPHA} after correction"
    return f"any difference is shown to be below the margin of {margin}"


def _row(outcome: Outcome) -> dict[str, Value]:
    held = outcome.comparison
    return {
        "name": outcome.hypothesis.name,
        "compared": outcome.compared or outcome.hypothesis.claim,
        "score": outcome.score,
        "difference": held.interval if held else None,
        "p": None if math.isnan(outcome.p) else outcome.p,
        "effect": None if held is None or math.isnan(held.effect) else held.effect,
        "detectable": held.detectable if held else None,
        "seeds": held.trainings if held else None,
        "verdict": outcome.verdict,
    }
