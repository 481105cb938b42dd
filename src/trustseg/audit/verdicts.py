"""Verdicts: each requirement is met, not met or not shown, and the interval decides."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from trustseg.audit.evidence import Evidence
from trustseg.audit.plan import AUDIT_ATTACKS, EVERY_SHIFT
from trustseg.audit.quantities import QUANTITIES, MeasuredImages
from trustseg.audit.requirements import ANY_ATTACK, ANY_SHIFT, Requirement, level_of
from trustseg.errors import ConfigError, unknown_name
from trustseg.reporting.cell_tables import at
from trustseg.reporting.image_scores import UNDEFINED
from trustseg.reporting.labels import CLEAN, ConditionKey, describe_condition, words
from trustseg.reporting.subgroups import subgroups_of
from trustseg.statistics import Interval

__all__ = ["NEEDS", "Outcome", "Verdict", "describe", "judge", "missing_needs", "require_known"]

Outcome = Literal["met", "not met", "not shown"]

NEEDS: Final[Mapping[str, str]] = {
    "masks": "reference masks",
    "no_masks": "data without reference masks",
    "controls": "images without foreground",
    "probability": "probabilities instead of masks",
    "policy": "at least two patients, so that a deferral policy is fitted on half of them",
    "model": "a model that can be run instead of predictions alone",
    "gradients": "a model with gradients",
}
"""What an audit may lack -> what it is in words."""

_ORDER: Final[tuple[Outcome, ...]] = ("not met", "not shown", "met")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the measurements say of a requirement."""

    requirement: Requirement
    outcome: Outcome  # met or not met where the whole interval lies on one side of the bound; else not shown
    interval: Interval  # of the metric; under several conditions that of the decisive one
    condition: str  # the decisive condition in words
    reason: str = ""  # why nothing was shown, or a caution; empty if there is none

    @property
    def text(self) -> str:
        """Return the requirement in words."""
        return describe(self.requirement)


def describe(requirement: Requirement) -> str:
    """Return a requirement in words, its metric by its label.

    Example:
        >>> describe(Requirement(metric="dice_drop", condition="any_shift@3", at_most=0.1))
        'fall of Dice at most 0.1, any shift of severity 3'
    """
    name, level = level_of(requirement.condition)
    budget = requirement.condition.partition("@")[2]
    where = {
        "clean": "",
        ANY_SHIFT: f", any shift of severity {level:g}",
        ANY_ATTACK: f", any attack of {budget}",
    }.get(name, f", {words(name)} {budget}")
    who = "" if requirement.subgroup is None else f", {requirement.subgroup.replace('=', ' ').replace('_', ' ')}"
    sense = "at least" if requirement.at_least is not None else "at most"
    return f"{QUANTITIES[requirement.metric].label} {sense} {requirement.bound:g}{where}{who}"


def require_known(requirement: Requirement) -> None:
    """Raise unless metric and condition of a requirement exist and fit each other."""
    if requirement.metric not in QUANTITIES:
        raise unknown_name("metric", requirement.metric, QUANTITIES)
    name, level = level_of(requirement.condition)
    asked = f"requirement '{requirement.metric}, {requirement.condition}'"
    facts, is_shift = QUANTITIES[requirement.metric].facts, name in (*EVERY_SHIFT, ANY_SHIFT)
    if requirement.condition != "clean" and not is_shift and name not in (*AUDIT_ATTACKS, ANY_ATTACK):
        raise unknown_name("condition", name, [*EVERY_SHIFT, *AUDIT_ATTACKS, ANY_SHIFT, ANY_ATTACK, "clean"])
    if is_shift and level not in (1, 2, 3, 4, 5):
        raise ConfigError(f"{asked}: a shift has severity 1 to 5, not {level:g}")
    if name in (*AUDIT_ATTACKS, ANY_ATTACK) and level > 1:
        raise ConfigError(f"{asked}: a budget lies in [0, 1]; write 4/255 for 4 grey levels")
    is_clean = requirement.condition == "clean"
    if facts.conditions != "any" and is_clean != (facts.conditions == "clean"):
        other = "clean images" if facts.conditions == "clean" else "a shift or an attack, such as jpeg@3"
        raise ConfigError(f"{asked}: {requirement.metric} is measured under {other}")
    least, most = facts.bounds
    if not least <= requirement.bound <= most:
        raise ConfigError(
            f"{asked}: {requirement.metric} lies between {least:g} and {most:g}, not {requirement.bound:g}"
        )
    if requirement.subgroup is not None and not facts.by_subgroup:
        raise ConfigError(f"{asked}: {requirement.metric} is not measured by subgroup")


def missing_needs(requirement: Requirement, *, available: frozenset[str]) -> str:
    """Return what an audit with ``available`` of ``NEEDS`` lacks to test a requirement, in words; else nothing."""
    name, _ = level_of(requirement.condition)
    needs = set(QUANTITIES[requirement.metric].facts.needs)
    needs |= set() if requirement.condition == "clean" else {"model"}
    if name in (*AUDIT_ATTACKS, ANY_ATTACK):
        needs |= {"masks", *(() if name == "square" else ("gradients",))}
    lacking = needs - available
    if "gradients" in lacking:
        lacking.discard("model")  # one with gradients can be run
    return " and ".join(text for need, text in NEEDS.items() if need in lacking)


def judge(requirement: Requirement, evidence: Evidence, *, draws: int = 2000) -> Verdict:
    """Return the verdict on a requirement that the audit can test; of several conditions the worst one decides."""
    name, level = level_of(requirement.condition)
    measured = evidence.conditions()
    kinds = {key: _kind_of(evidence, key) for key in measured}
    if name == ANY_ATTACK:
        keys = [key for key in measured if kinds[key] == "attack" and abs(key[1] - level) < 1e-6]
    elif name == ANY_SHIFT:
        keys = [key for key in measured if kinds[key] == "shift" and key[0].endswith(f"_{level:g}")]
    else:
        key = (f"{name}_{level:g}", 0.0) if name in EVERY_SHIFT else (name, level)
        keys = [each for each in (CLEAN, *measured) if _is_condition(each, key, name)]
    if not keys:
        reason = "the condition was not measured within the budget"
        return Verdict(requirement, "not shown", UNDEFINED, requirement.condition, reason)
    images = None if requirement.subgroup is None else _images_of_subgroup(requirement, evidence)
    verdicts = [_judge_condition(requirement, evidence, key, images, draws) for key in keys]
    worst = min(verdicts, key=lambda each: (_ORDER.index(each.outcome), _margin(each)))
    if name == ANY_ATTACK and len(keys) == 1 and worst.outcome == "met":
        only = "only this attack was measured: a stronger one may break the model, and its gradients may be masked"
        worst = replace(worst, reason="; ".join(filter(None, (worst.reason, only))))
    return worst


def _is_condition(each: ConditionKey, key: ConditionKey, name: str) -> bool:
    """Return whether a measured condition is the one asked for; the label of an attack may tell its options too."""
    if abs(each[1] - key[1]) >= 1e-6:
        return False
    return each[0] == key[0] or (name in AUDIT_ATTACKS and each[0].startswith(name) and each[0][len(name) :].isdigit())


def _kind_of(evidence: Evidence, key: ConditionKey) -> str:
    return str(evidence.results(key).records.filter(at(key))["kind"][0])


def _images_of_subgroup(requirement: Requirement, evidence: Evidence) -> frozenset[str]:
    column, _, value = str(requirement.subgroup).partition("=")
    asked = f"requirement '{describe(requirement)}'"
    groups = subgroups_of(evidence.clean.records)
    if column not in groups:
        known = ", ".join(groups) or "none"
        raise ConfigError(f"{asked}: there is no column '{column}'; known: {known}")
    values = set(groups[column].values())
    if value not in values:
        raise ConfigError(f"{asked}: '{column}' has no value '{value}'; it has {', '.join(sorted(values))}")
    return frozenset(image for image, group in groups[column].items() if group == value)


def _judge_condition(
    requirement: Requirement, evidence: Evidence, key: ConditionKey, images: frozenset[str] | None, draws: int
) -> Verdict:
    selected = MeasuredImages(evidence, key, images, draws, requirement.confidence)
    interval = QUANTITIES[requirement.metric](selected)
    where = describe_condition(key)
    if math.isnan(interval.value):
        return Verdict(requirement, "not shown", interval, where, "it is undefined on these images")
    if math.isnan(interval.low):
        why = "too many draws leave it undefined" if interval.patients > 1 else "all images are of one patient"
        return Verdict(requirement, "not shown", interval, where, f"there is no interval: {why}")
    bound = requirement.bound
    if requirement.at_least is not None:
        outcome: Outcome = "met" if interval.low >= bound else "not met" if interval.high < bound else "not shown"
    else:
        outcome = "met" if interval.high <= bound else "not met" if interval.low > bound else "not shown"
    reason = "the interval contains the bound: more patients are needed" if outcome == "not shown" else ""
    warning = interval.warning if interval.low < interval.high else ""  # what does not vary is not doubtful
    idle = evidence.idle_reason if key == CLEAN and "policy" in QUANTITIES[requirement.metric].facts.needs else ""
    return Verdict(requirement, outcome, interval, where, "; ".join(filter(None, (reason, idle, warning))))


def _margin(verdict: Verdict) -> float:
    """Return by how much a value keeps its bound; the least is the worst."""
    distance = verdict.interval.value - verdict.requirement.bound
    if math.isnan(distance):
        return math.inf
    return distance if verdict.requirement.at_least is not None else -distance
