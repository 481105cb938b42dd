"""Labels of conditions, attacks, shifts, measures and budgets in tables and figures."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from trustseg.entries import Entry, options_in_words, slug
from trustseg.records import metric_of_column
from trustseg.yaml_files import parse_yaml

if TYPE_CHECKING:
    from torch import Tensor

    from trustseg.attacks import AttackFacts
    from trustseg.metrics import MetricFacts

__all__ = [
    "CLEAN",
    "ConditionKey",
    "attack_entries",
    "attack_key",
    "budget",
    "describe_attack",
    "describe_condition",
    "describe_eps",
    "describe_head",
    "describe_metric",
    "describe_variant",
    "is_l2",
    "metric_of",
    "parts_of",
    "shown_as",
    "template_texts",
    "with_entry_labels",
    "words",
]

ConditionKey = tuple[str, float]
"""Name and budget of a condition; the budget is 0 where nothing attacks."""

CLEAN: Final[ConditionKey] = ("clean", 0.0)

_Norm = Literal["linf", "l2"]  # as ``trustseg.attacks.projections``, which loads torch
_HEADS: Final = {"bernoulli": "classical", "beta": "evidential"}
_OWN: Final[ContextVar[Mapping[str, str]]] = ContextVar("names of a reader's own", default=MappingProxyType({}))


def attack_entries() -> "Mapping[str, Entry[Tensor, AttackFacts]]":
    """Return every attack of training and evaluation by name; the first call loads torch."""
    from trustseg.attacks import evaluation_attacks, training_attacks

    return {**training_attacks(), **evaluation_attacks()}


def describe_metric(metric: str) -> str:
    """Return the label of a metric or of its column in records, what it ranks, its options, and its unit if any.

    Example:
        >>> tuple(map(describe_metric, ("metric_hausdorff_95", "surface_dice(tolerance=3)", "aurc")))
        ('HD95, px', 'surface Dice (tolerance = 3)', 'image AURC')
    """
    name, entry = slug(metric_of_column(metric)), metric_of(metric)
    if entry is None:
        return words(name)
    options = options_in_words(name.removeprefix(entry[0]), entry[1].options)
    ranked, is_ranking, _ = entry[1].facts.kind.partition("_ranking")
    unit = "" if entry[1].facts.unit == "share" else f", {entry[1].facts.unit}"
    return f"{f'{ranked} ' if is_ranking else ''}{entry[1].label}{options}{unit}"


def metric_of(name: str) -> "tuple[str, Entry[Any, MetricFacts]] | None":
    """Return the metric that a name, or a column of records, begins with, and its entry; None if there is none."""
    from trustseg.metrics import METRICS  # loads torch

    name = metric_of_column(name)
    key = max((key for key in METRICS if re.match(rf"{key}([_(]|$)", name)), key=len, default=None)
    return None if key is None else (key, METRICS[key])


def describe_head(head: str) -> str:
    """Return how a head is called in reports: classical for Bernoulli, evidential for Beta."""
    return _HEADS.get(head, head)


def describe_variant(variant: str, *, head: str, selection: str) -> str:
    """Return the name of a variant with its head, its selection and the entries that its settings name in words.

    Example:
        >>> describe_variant("bernoulli, none", head="bernoulli", selection="none")
        'classical, no adversarial training'
        >>> describe_variant("beta, random, fraction=0.25", head="beta", selection="random")
        'evidential, random selection, fraction=0.25'
        >>> describe_variant("beta, region=tversky(alpha=0.2, beta=0.8)", head="beta", selection="random")
        'evidential, region=Tversky (alpha = 0.2, beta = 0.8)'
    """
    from trustseg.config.names import label_of

    chosen = label_of("selection", selection)
    words = {selection: "no adversarial training" if selection == "none" else f"{chosen} selection"}
    words[head] = describe_head(head)
    named = (part.partition("=") for part in parts_of(variant))
    return ", ".join(f"{key}={label_of(key, value)}" if is_set else words.get(key, key) for key, is_set, value in named)


def parts_of(variant: str) -> list[str]:
    """Return the parts of a variant's name, between commas that are not in brackets."""
    return re.split(r", (?![^(]*\))", variant)


def is_l2(attack: str) -> bool:
    """Return whether the budgets of an attack are L2 norms; otherwise they are the largest change of a pixel.

    The options in the name say so, else the default of the attack.
    """
    entries, key = attack_entries(), attack_key(attack)
    option = entries[key].options.get("norm") if key in entries else None
    norms = get_args(_Norm)
    given = [part for part in attack.removeprefix(key).split("_") if part in norms]
    return (given or [option.default if option else norms[0]])[0] == "l2"


@contextmanager
def shown_as(names: Mapping[str, str]) -> Iterator[None]:
    """Show conditions and attacks by other names inside the ``with`` block: their usual name -> the one shown."""
    token = _OWN.set(names)
    try:
        yield
    finally:
        _OWN.reset(token)


def _own(name: str) -> str:
    return _OWN.get().get(name, name)


def describe_condition(condition: ConditionKey) -> str:
    """Return a condition in words.

    Example:
        >>> [describe_condition(condition) for condition in (CLEAN, ("pgd_l2", 0.5), ("text_markers_3", 0.0))]
        ['clean', 'PGD l2 0.5', 'text markers, severity 3']
    """
    name, eps = condition
    if condition == CLEAN:
        return _own(name)
    if eps > 0:
        usual = f"{_usual_attack(name)} {describe_eps(condition)}"
        return _OWN.get().get(usual) or f"{describe_attack(name)} {describe_eps(condition)}"
    shift, _, severity = name.rpartition("_")
    return _own(f"{words(shift)}, severity {severity}")


def describe_attack(name: str) -> str:
    """Return an attack's label, its steps, and the options that are not the usual ones.

    Example:
        >>> describe_attack("r_fgsm"), describe_attack("pgd100_margin"), describe_attack("deferral_aware4")
        ('R+FGSM', 'PGD-100 margin', 'deferral-aware-4')
    """
    return _own(_usual_attack(name))


def attack_key(name: str) -> str:
    """Return the attack's name without its steps and options, as ``attack_entries`` has it if it knows the attack."""
    matches = [key for key in attack_entries() if re.match(rf"{key}(\d|_|$)", name)]
    return max(matches, key=len, default=re.split(r"[\d_]", name)[0])


def _usual_attack(name: str) -> str:
    entries, key = attack_entries(), attack_key(name)
    steps, options = re.findall(r"^(\d*)_?(.*)$", name[len(key) :])[0]
    label = entries[key].label if key in entries else key.upper()
    return f"{label}{f'-{steps}' if steps else ''} {words(options)}".strip()


def describe_eps(condition: ConditionKey) -> str:
    """Return a budget in words: grey levels of 255, or the L2 norm in units of [0, 1]."""
    name, eps = condition
    return f"{eps:g}" if is_l2(name) else f"{budget(condition):g}/255"


def budget(condition: ConditionKey) -> float:
    """Return a budget as axes show it: in grey levels, or the L2 norm."""
    name, eps = condition
    return eps if is_l2(name) else round(eps * 255, 3)


def words(name: str) -> str:
    """Return the name of a measure, an aggregation with its options, a score column or a shift in words.

    Example:
        >>> words("u_entropy_soft_dice_confidence"), words("gaussian_noise"), words("u_variance_patch_max_patch8")
        ('entropy soft Dice confidence', 'Gaussian noise', 'variance patch max (patch = 8)')
    """
    from trustseg.uncertainty import AGGREGATIONS  # loads torch

    name, options = name.removeprefix("u_"), ""
    for key, entry in AGGREGATIONS.items():
        match = re.search(rf"(?:^|_){key}(_(?:{'|'.join(entry.options)}).+)$", name) if entry.options else None
        if match:
            name, options = name.removesuffix(match[1]), options_in_words(match[1], entry.options)
    return with_entry_labels(name.replace("_", " ")) + options


def with_entry_labels(text: str) -> str:
    """Return a text in which the names of our entries read as their labels, and all else as it was."""
    for plain, label in _entry_labels().items():
        text = re.sub(rf"\b{plain}\b", label, text)
    return text


@cache
def _entry_labels() -> Mapping[str, str]:
    """Return the words of the names of entries -> their labels, where these differ; the first call loads torch."""
    from trustseg.attacks import OBJECTIVES
    from trustseg.shifts import GEOMETRIC_SHIFTS, SHIFTS
    from trustseg.uncertainty import AGGREGATIONS, MEASURES

    entries: dict[str, Entry[Any, Any]] = {**OBJECTIVES, **SHIFTS, **GEOMETRIC_SHIFTS, **MEASURES, **AGGREGATIONS}
    plain = {name.replace("_", " "): entry.label for name, entry in entries.items()}
    return {name: plain[name] for name in sorted(plain, key=len, reverse=True) if plain[name] != name}


@cache
def template_texts(name: str) -> Mapping[str, Any]:
    """Return what a YAML file of the templates holds: ``figures``, ``tables`` or ``ai_act``."""
    file = resources.files("trustseg.reporting") / "templates" / f"{name}.yaml"
    text: Mapping[str, Any] = parse_yaml(file.read_text(encoding="utf-8"), where=f"'{file}'")
    return text
