"""The plan of an audit: which shifts and attacks fit into the time budget, and on how many images."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from trustseg.attacks import evaluation_attacks
from trustseg.audit.requirements import ANY_ATTACK, ANY_SHIFT, Requirement, level_of
from trustseg.config import AttackConfig
from trustseg.errors import ConfigError
from trustseg.evaluation.masking_checks import PASSES
from trustseg.shifts import shift_names

__all__ = ["AUDIT_ATTACKS", "AUDIT_SHIFTS", "EVERY_SHIFT", "PassTimes", "Plan", "make_plan", "seconds_of"]

AUDIT_SHIFTS: Final = shift_names("all")
"""The shifts of every audit; of the others, those that requirements ask for."""
EVERY_SHIFT: Final = shift_names("extended")
AUDIT_ATTACKS: Final[dict[str, dict[str, Any]]] = {
    "pgd": {},
    "fgsm": {},
    "ensemble": {},
    "overconfidence": {},
    "deferral_aware": {},
    "underconfidence": {},
    "square": {"steps": 500},
}
"""The attacks of an audit with their options, in the order in which they are given time."""

_LADDER: Final = tuple(level / 255 for level in (1, 2, 4, 8))
_ONE: Final = (4 / 255,)
_BUDGETS: Final = {"pgd": _LADDER, "fgsm": _LADDER}
_FEWEST: Final = 16  # images: with fewer, a condition is not worth its time
_UNITS: Final = {"s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0}
_CHECKED: Final = 8  # images for the search of the smallest budgets, and for the masking checks
_SEARCHED: Final = 10 * 20 * 3  # gradient steps per image: six budgets and four halvings, 20 steps, 3 objectives


@dataclass(frozen=True, slots=True)
class PassTimes:
    """Seconds that a pass takes for one image, measured."""

    forward: float  # a prediction
    backward: float = 0.0  # a gradient with respect to the image, beyond its prediction
    record: float = 0.0  # writing down what is found of an image under one condition, a prediction included


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured on changed images."""

    images: int  # on how many
    shifts: tuple[str, ...] = ()  # names of the shifts
    severities: tuple[int, ...] = ()  # of each of them
    attacks: tuple[tuple[str, tuple[float, ...]], ...] = ()  # attack -> its budgets
    minimal: int = 0  # images whose smallest budget is searched
    masking_checks: int = 0  # images for the checks of gradient masking
    seconds: float = 0.0  # what it takes, as expected
    left_out: tuple[str, ...] = ()  # what does not fit into the budget, a sentence each
    exceeds: bool = False  # whether what requirements ask for takes more than the budget leaves

    @property
    def warning(self) -> str:
        """Return how long what requirements ask for takes, where the budget leaves less; else nothing."""
        if not self.exceeds:
            return ""
        return f"what requirements ask for takes about {_in_words(self.seconds)}, more than the budget leaves"

    @property
    def attack_configs(self) -> tuple[AttackConfig, ...]:
        """Return the settings of the attacks."""
        return tuple(AttackConfig(name=name, eps=eps, **AUDIT_ATTACKS[name]) for name, eps in self.attacks)


def seconds_of(budget: str | float | None) -> float | None:
    """Return a time in seconds, None where there is no limit; a ConfigError if it is no time above 0.

    Example:
        >>> seconds_of("10min"), seconds_of("1.5h"), seconds_of(30)
        (600.0, 5400.0, 30.0)
    """
    if budget is None or budget == "none":
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", str(budget).strip().lower())
    unit = (found[2] or "s") if found else ""
    if found is None or unit not in _UNITS or float(found[1]) <= 0:
        raise ConfigError(f"budget '{budget}' is no time; write for example 90s, 10min, 2h, or none")
    return float(found[1]) * _UNITS[unit]


@dataclass(frozen=True, slots=True)
class _Item:
    """Something to spend time on: seconds for each image, and what it adds to a plan."""

    words: str
    seconds: float
    adds: Plan
    fixed: bool = False  # for a number of images of its own
    required: bool = False


def make_plan(
    times: PassTimes,
    *,
    images: int,
    gradients: bool,
    masks: bool,
    policy: bool,
    requirements: Sequence[Requirement],
    budget: float | None,
) -> Plan:
    """Return what to measure on changed images.

    What requirements ask for comes first, whatever it takes; then, in the order of what it tells, everything that fits
    for at least 16 images. The rest of the time goes into more images.

    Nothing is attacked without reference masks, and attacks on the deferral ``policy`` need one. ``budget`` is in
    seconds; None for no limit.
    """
    attackable = [name for name in AUDIT_ATTACKS if masks and (gradients or name == "square")]
    attackable = [name for name in attackable if policy or not evaluation_attacks()[name].takes("score")]
    items = _items(times, attackable, requirements, gradients=gradients and masks)
    fewest = min(images, _FEWEST)
    if budget is None:
        chosen, count = items, images
    else:
        chosen, spent = [], 0.0
        for item in items:
            cost = item.seconds * (1 if item.fixed else fewest)
            if item.required or spent + cost <= budget:
                chosen.append(item)
                spent += cost
        seconds_per_image = sum(item.seconds for item in chosen if not item.fixed)
        seconds_left = budget - sum(item.seconds for item in chosen if item.fixed)
        count = min(images, max(fewest, int(seconds_left / seconds_per_image) if seconds_per_image > 0 else images))
    plan = Plan(images=count)
    for item in chosen:
        plan = _merge(plan, item.adds)
    left_out = [
        f"{item.words} (about {_in_words(item.seconds * (1 if item.fixed else fewest))})"
        for item in items
        if item not in chosen
    ]
    if count < images and (plan.shifts or plan.attacks):
        left_out.append(f"shifts and attacks on {images - count} of {images} images")
    seconds = sum(item.seconds * (1 if item.fixed else count) for item in chosen)
    exceeds = budget is not None and seconds > budget  # nothing is chosen then but what is required
    return replace(plan, seconds=seconds, left_out=tuple(left_out), exceeds=exceeds)


def _items(
    times: PassTimes, attackable: Sequence[str], requirements: Sequence[Requirement], *, gradients: bool
) -> list[_Item]:
    """Return everything that could be measured, what is required first, then what tells most."""
    wanted = [level_of(each.condition) for each in requirements if each.condition != "clean"]
    severities = sorted({int(level) for name, level in wanted if name in (*EVERY_SHIFT, ANY_SHIFT)})
    every = tuple(dict.fromkeys([*AUDIT_SHIFTS, *(name for name, _ in wanted if name in EVERY_SHIFT)]))
    shift = len(every) * max(times.forward, times.record)

    def shifts(levels: Sequence[int], *, required: bool = False) -> _Item:
        words = f"shifts of severity {' and '.join(map(str, levels))}"
        return _Item(words, shift * len(levels), Plan(0, every, tuple(levels)), required=required)

    def attack(name: str, budgets: Sequence[float], *, required: bool = False) -> _Item:
        words = f"{name} at {', '.join(f'{255 * eps:g}/255' for eps in budgets)}"
        return _Item(
            words,
            _attack_seconds(times, name) * len(budgets),
            Plan(0, attacks=((name, tuple(budgets)),)),
            required=required,
        )

    levels = {name: tuple(sorted({level for each, level in wanted if each == name})) for name, _ in wanted}
    if ANY_ATTACK in levels and attackable:
        first = attackable[0]
        levels[first] = tuple(sorted({*levels.get(first, ()), *levels[ANY_ATTACK]}))
    items = [shifts(severities, required=True)] if severities else []
    items += [attack(name, levels[name], required=True) for name in attackable if name in levels]
    if severities_left := [level for level in (1, 3, 5) if level not in severities]:
        items.append(shifts(severities_left))
    for name in attackable:
        if budgets_left := [
            eps for eps in _BUDGETS.get(name, _ONE) if not any(abs(eps - each) < 1e-6 for each in levels.get(name, ()))
        ]:
            items.append(attack(name, budgets_left))
    if severities_left := [level for level in (2, 4) if level not in severities]:
        items.append(shifts(severities_left))
    if gradients:
        both = times.forward + times.backward
        search = _Item("the smallest budgets", _CHECKED * _SEARCHED * both, Plan(0, minimal=_CHECKED), fixed=True)
        checks = _Item(
            "the checks of gradient masking", _CHECKED * PASSES * both, Plan(0, masking_checks=_CHECKED), fixed=True
        )
        items += [checks, search]
    return items


def _attack_seconds(times: PassTimes, name: str) -> float:
    entry = evaluation_attacks()[name]
    options = {key: option.default for key, option in entry.options.items()} | AUDIT_ATTACKS[name]
    forward, backward = entry.facts.passes(**options)
    return forward * times.forward + backward * times.backward + max(times.forward, times.record)


def _merge(plan: Plan, more: Plan) -> Plan:
    attacks = dict(plan.attacks)
    for name, budgets in more.attacks:
        attacks[name] = tuple(sorted({*attacks.get(name, ()), *budgets}))
    return replace(
        plan,
        shifts=more.shifts or plan.shifts,
        severities=tuple(sorted({*plan.severities, *more.severities})),
        attacks=tuple(attacks.items()),
        minimal=plan.minimal + more.minimal,
        masking_checks=plan.masking_checks + more.masking_checks,
    )


def _in_words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
