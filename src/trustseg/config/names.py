"""The names that a configuration may hold, read from the dictionaries. Calling anything here loads torch.

A check raises ``UnknownNameError`` for a name or option that does not exist, ``ConfigError`` for one that does not fit.
"""

from collections.abc import Iterable, Iterator, Mapping
from inspect import signature
from typing import TYPE_CHECKING, Any, Final

from trustseg.config.section import OPTIONS, is_marked
from trustseg.entries import Entry, name_in, options_in_words, read, slug
from trustseg.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from trustseg.config.adversarial import AdversarialConfig
    from trustseg.config.evaluation import AttackConfig

__all__ = [
    "ART",
    "FREE",
    "all_options",
    "allowed_names",
    "check_alignment",
    "check_attack",
    "check_attack_options",
    "check_counted",
    "check_names",
    "check_objective_of_bernoulli",
    "check_ranks",
    "check_signs",
    "entries_with_options",
    "label_of",
    "pools_to_a_pixel",
    "training_attack",
]

Entries = Mapping[str, Entry[Any, Any]]

ART: Final = "art:"  # before the name of an attack of the Adversarial Robustness Toolbox

FREE: Final = "free"
"""Name of free adversarial training among the training attacks; it is no attack on its own."""

_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "adversarial.selection": ("none", "threshold"),
    "adversarial.loss": ("mixed",),
    "adversarial.pixel_weight": ("none", "margin"),
    "adversarial.attack": (FREE,),
    "adversarial.objective": ("divergence",),
    "evaluation.shifts": ("all", "extended"),
}
"""What a key may hold besides names of entries."""


def _entries() -> Mapping[str, Entries]:
    from trustseg.attacks import OBJECTIVES, evaluation_attacks, training_attacks
    from trustseg.beliefs import Bernoulli, Beta
    from trustseg.losses import ALIGNMENTS, losses_of
    from trustseg.metrics import metrics_of
    from trustseg.models.architectures import ARCHITECTURES
    from trustseg.selection import SELECTIONS
    from trustseg.shifts import GEOMETRIC_SHIFTS, SHIFTS
    from trustseg.uncertainty import AGGREGATIONS, MEASURES

    data_terms = losses_of("data")
    of_bernoulli = {name: each for name, each in MEASURES.items() if Bernoulli in each.facts.given_by}
    of_beta = {name: each for name, each in MEASURES.items() if Beta in each.facts.given_by}
    scores = {name: each for name, each in AGGREGATIONS.items() if each.facts.ranks}
    return {
        "model.architecture": ARCHITECTURES,
        "loss.bernoulli": {name: term for name, term in data_terms.items() if not term.facts.needs_beta},
        "loss.beta": data_terms,
        "loss.region": losses_of("region"),
        "adversarial.selection": SELECTIONS,
        "adversarial.loss": ALIGNMENTS,
        "adversarial.pixel_weight": {name: each for name, each in MEASURES.items() if not each.facts.negative},
        "adversarial.attack": training_attacks(),
        "adversarial.objective": OBJECTIVES,
        "adversarial.measure.bernoulli": of_bernoulli,
        "adversarial.measure.beta": of_beta,
        "adversarial.aggregation": scores,
        "evaluation.attacks.name": evaluation_attacks(),
        "evaluation.attacks.objective": OBJECTIVES,
        "evaluation.shifts": {**SHIFTS, **GEOMETRIC_SHIFTS},
        "evaluation.deferral.measure.bernoulli": of_bernoulli,
        "evaluation.deferral.measure.beta": of_beta,
        "evaluation.deferral.aggregation": scores,
        "evaluation.metrics": metrics_of("image"),
        "evaluation.measures": MEASURES,
        "evaluation.aggregations": AGGREGATIONS,
    }


def allowed_names() -> Mapping[str, tuple[str, ...]]:
    """Return configuration key -> the names it may hold, for every key that names an entry of a dictionary."""
    return {key: (*_WORDS.get(key, ()), *entries) for key, entries in _entries().items()}


def entries_with_options() -> Iterator[tuple[str, Entry[Any, Any]]]:
    """Yield the name of every entry that a configuration gives options to, in words, and the entry."""
    from trustseg.attacks import evaluation_attacks
    from trustseg.losses import LOSSES
    from trustseg.metrics import metrics_of
    from trustseg.uncertainty import AGGREGATIONS

    kinds: Mapping[str, Entries] = {
        "attack": evaluation_attacks(),
        "aggregation": AGGREGATIONS,
        "loss": LOSSES,
        "metric": metrics_of("image"),
    }
    for kind, entries in kinds.items():
        yield from ((f"{kind} {name}", entry) for name, entry in entries.items() if entry.options)


def label_of(key: str, text: str) -> str:
    """Return the label of the entry that a text names under a key, or the last part of one; another text as it is.

    Example:
        >>> label_of("region", "lovasz"), label_of("attack", "pgd(steps=3)"), label_of("fraction", "0.25")
        ('Lovasz', 'PGD (steps = 3)', '0.25')
    """
    name = name_in(text)
    for own, entries in _entries().items():
        if f".{own}".endswith(f".{key}") and name in entries:
            return entries[name].label + options_in_words(slug(text).removeprefix(name), entries[name].options)
    return text


def check_names(key: str, *got: str) -> None:
    """Check the names that a key holds, and their options if the schema has names with options there."""
    from trustseg.config.keys import annotation_of
    from trustseg.config.run import RunConfig

    entries, words = _entries()[key], _WORDS.get(key, ())
    takes_options = is_marked(annotation_of(RunConfig, key), OPTIONS)
    for text in got:
        if key.endswith("aggregation"):
            check_ranks(key, text)
        if text in words or (key == "evaluation.shifts" and _is_nrtk(text)):
            continue
        if name_in(text) not in entries or (text not in entries and not takes_options):
            raise unknown_name(f"value of {key}", text, [*words, *entries])
        read(entries, text, kind=f"value of {key}", where=f"{key}: ")


def _is_nrtk(shift: str) -> bool:
    """Return whether a shift is an operator of nrtk; raise if it is none that can be run."""
    from trustseg.shifts import NRTK, nrtk_shift

    return shift.startswith(NRTK) and nrtk_shift(shift) is not None


def check_attack(attack: "AttackConfig") -> None:
    """Check the name and the options of an attack of the evaluation."""
    check_attack_options(attack.name, attack.options)
    if attack.objective:
        check_names("evaluation.attacks.objective", attack.objective)
    if attack.toolbox:
        return
    if attack.parameters:
        raise ConfigError(f"parameters are for attacks named art:NAME, the attack is {attack.name}")
    _entries()["evaluation.attacks.name"][attack.name].checked(
        attack.own_options, name=attack.name, where="evaluation.attacks: "
    )


def check_attack_options(name: str, options: Iterable[str]) -> None:
    """Check that there is such an attack of the evaluation, and that it has these options.

    Raises:
        MissingPackageError: if it is one of the Adversarial Robustness Toolbox, which is not installed.
    """
    if name.startswith(ART):
        from trustseg.art import ART_ATTACKS

        if (inner := name.removeprefix(ART)) not in ART_ATTACKS:
            raise unknown_name("attack of the Adversarial Robustness Toolbox", inner, ART_ATTACKS)
        taken: tuple[str, ...] = ("steps", "norm", "objective")
    else:
        check_names("evaluation.attacks.name", name)
        entry = _entries()["evaluation.attacks.name"][name]
        taken = (*entry.options, *(["objective"] if entry.takes("objective") else []))
    for option in options:
        if option not in taken:
            raise unknown_name(f"option of the attack {name}", option, (*taken, "eps"))


def all_options(attack: "AttackConfig") -> dict[str, Any]:
    """Return the options of an attack of the evaluation, its defaults where none are given."""
    entry = _entries()["evaluation.attacks.name"].get(attack.name)
    usual = {name: option.default for name, option in entry.options.items()} if entry else {}
    if entry and entry.takes("objective"):
        usual["objective"] = signature(entry.function).parameters["objective"].default
    return usual | attack.options


def training_attack(text: str) -> tuple[Entry[Any, Any], dict[str, Any]] | None:
    """Return the entry and options of a training attack; None of free training, which has no attack of its own."""
    from trustseg.attacks import training_attacks

    return None if text == FREE else read(training_attacks(), text, kind="value of adversarial.attack")


def check_alignment(adversarial: "AdversarialConfig", *, evidential: bool) -> None:
    """Check that a batch and a head have what the loss and the pixel weights of adversarial training compare."""
    from trustseg.beliefs import Bernoulli
    from trustseg.losses import ALIGNMENTS
    from trustseg.uncertainty import MEASURES

    loss, weight = adversarial.loss, adversarial.pixel_weight
    if (entry := ALIGNMENTS.get(loss)) is not None:
        if adversarial.mode == "replace":
            raise ConfigError(
                f"adversarial.loss={loss} compares adversarial images with their originals, which "
                "adversarial.mode=replace removes from the batch; set adversarial.mode=append"
            )
        if entry.facts.sees_strength and adversarial.alignment.strength_weight == 0:
            raise ConfigError(
                f"adversarial.loss={loss} with adversarial.alignment.strength_weight=0 equals ev_at; set "
                "adversarial.loss=ev_at or a weight above 0"
            )
        if entry.facts.needs_beta and not evidential:
            raise ConfigError(
                f"adversarial.loss={loss} aligns evidence and needs a beta head, model.head is bernoulli; "
                "set adversarial.loss=trades or model.head=beta"
            )
    if weight in MEASURES and not evidential and Bernoulli not in MEASURES[weight].facts.given_by:
        raise ConfigError(
            f"adversarial.pixel_weight={weight} is measured on evidence and needs a beta head, model.head is "
            "bernoulli; set adversarial.pixel_weight=entropy or model.head=beta"
        )


def check_signs(selection: str, measures: Iterable[str]) -> None:
    """Check that a selection takes the scores of these measures, which may be negative."""
    from trustseg.selection import SELECTIONS
    from trustseg.uncertainty import MEASURES

    negative = [name for name in measures if name in MEASURES and MEASURES[name].facts.negative]
    if negative and selection in SELECTIONS and not SELECTIONS[selection].facts.negative:
        raise ConfigError(
            f"adversarial.selection={selection} needs non-negative scores, and {negative[0]} is negative; set "
            "another measure such as mutual_information"
        )


def pools_to_a_pixel(architecture: str) -> bool:
    """Return whether a network averages each image to one pixel."""
    from trustseg.models.architectures import ARCHITECTURES

    return ARCHITECTURES[architecture].facts.pools_to_a_pixel


def check_ranks(key: str, aggregation: str) -> None:
    """Check that an aggregation puts images in the order of how sure a model is."""
    from trustseg.uncertainty import AGGREGATIONS

    entry = AGGREGATIONS.get(name_in(aggregation))
    if entry is not None and not entry.facts.ranks:
        raise ConfigError(
            f"{key} must increase with uncertainty, got {aggregation}, which describes the pattern of a map and not "
            "its level; choose another such as soft_dice_confidence"
        )


def check_counted(key: str, aggregations: Iterable[str], measures: Iterable[str]) -> None:
    """Check that an aggregation that counts pixels above a threshold can count one of each measure."""
    from trustseg.uncertainty import AGGREGATIONS, MEASURES

    for aggregation in aggregations:
        entry, options = read(AGGREGATIONS, aggregation, kind=f"value of {key}")
        if not entry.facts.counts:
            continue
        threshold = options.get("threshold", entry.options["threshold"].default)
        able = [name for name, each in MEASURES.items() if each.facts.upper_bound > threshold]
        for measure in measures:
            if measure not in able:
                raise ConfigError(
                    f"{key} counts pixels above {threshold:g} with {aggregation}, but {measure} is at most "
                    f"{MEASURES[measure].facts.upper_bound:.3g} and every image would score 0; "
                    f"choose another aggregation, or only measures among {', '.join(able)}"
                )


def check_objective_of_bernoulli(key: str, objective: str) -> None:
    """Check that a model without evidence, such as one with a bernoulli head, can be attacked through an objective."""
    from trustseg.attacks import OBJECTIVES

    if OBJECTIVES[objective].facts.needs_beta:
        raise ConfigError(
            f"{key}={objective} needs a beta head, model.head is bernoulli; choose another objective such as "
            "cross_entropy, or set model.head=beta"
        )
