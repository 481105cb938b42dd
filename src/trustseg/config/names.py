"""The names that a configuration may hold, read from the dictionaries. Calling anything here loads torch."""

from collections.abc import Callable, Iterable, Mapping
from functools import cache

from trustseg.errors import BeliefError, ConfigError, unknown_name

__all__ = [
    "allowed_names",
    "attack_options",
    "check_attack_options",
    "check_counted",
    "check_names",
    "check_objective_of_bernoulli",
    "check_ranks",
]


@cache
def allowed_names() -> Mapping[str, tuple[str, ...]]:
    """Return configuration key -> the names it may hold, for every key that names an entry of a dictionary."""
    from trustseg.attacks import ATTACKS, OBJECTIVES, UNCERTAINTY_ATTACKS
    from trustseg.beliefs import Bernoulli, Beta
    from trustseg.losses import DATA_TERMS
    from trustseg.models.architectures import ARCHITECTURES
    from trustseg.selection import SELECTIONS
    from trustseg.shifts import GEOMETRIC_SHIFTS, SHIFTS
    from trustseg.uncertainty import AGGREGATIONS, MEASURES
    from trustseg.uncertainty.aggregation import PATTERNS

    scores = tuple(name for name in AGGREGATIONS if name not in PATTERNS)
    return {
        "model.architecture": tuple(ARCHITECTURES),
        "loss.bernoulli": tuple(name for name, term in DATA_TERMS.items() if _takes_bernoulli(term)),
        "loss.beta": tuple(DATA_TERMS),
        "adversarial.selection": ("none", *SELECTIONS, "threshold"),
        "adversarial.attack": (*ATTACKS, "n_fgsm", "free"),
        "adversarial.objective": (*OBJECTIVES, "divergence"),
        "adversarial.measure.bernoulli": Bernoulli.measures,
        "adversarial.measure.beta": Beta.measures,
        "adversarial.aggregation": scores,
        "evaluation.attacks.name": (*ATTACKS, "ensemble", *UNCERTAINTY_ATTACKS),
        "evaluation.attacks.objective": tuple(OBJECTIVES),
        "evaluation.shifts": ("all", *SHIFTS, *GEOMETRIC_SHIFTS),
        "evaluation.deferral.measure.bernoulli": Bernoulli.measures,
        "evaluation.deferral.measure.beta": Beta.measures,
        "evaluation.deferral.aggregation": scores,
        "evaluation.measures": tuple(MEASURES),
        "evaluation.aggregations": tuple(AGGREGATIONS),
    }


def attack_options(name: str) -> tuple[str, ...]:
    """Return the options that an attack of the evaluation takes from a configuration; it may be ``art:NAME``."""
    from inspect import signature

    from trustseg.attacks import ATTACKS, UNCERTAINTY_ATTACKS, ensemble

    if name.startswith("art:"):
        return ("steps", "norm", "objective")
    attacks: Mapping[str, Callable[..., object]] = {**ATTACKS, "ensemble": ensemble, **UNCERTAINTY_ATTACKS}
    taken = signature(attacks[name]).parameters
    return tuple(option for option in ("steps", "restarts", "norm", "objective", "preset") if option in taken)


def check_attack_options(name: str, given: Iterable[str], *, parameters: bool) -> None:
    """Check that an attack of the evaluation takes the options that are given.

    Args:
        name: of the attack, a known one.
        given: options that are set.
        parameters: whether parameters of the Adversarial Robustness Toolbox are set.

    Raises:
        ConfigError: if the attack does not take one of them.
    """
    accepted = attack_options(name)
    for option in given:
        if option not in accepted:
            raise ConfigError(
                f"{option} is no option of the attack {name}, which takes {', '.join(accepted) or 'none'}; leave it out"
            )
    if parameters and not name.startswith("art:"):
        raise ConfigError(f"parameters are for attacks named art:NAME, the attack is {name}; leave them out")


def check_names(key: str, *got: str) -> None:
    """Check the names that a key holds.

    Raises:
        ConfigError: if one of them says nothing of how sure a model is, where images are put in order by it.
        UnknownNameError: if the key may not hold one of them.
    """
    known = allowed_names()[key]
    for name in got:
        if key.endswith("aggregation"):
            check_ranks(key, name)
        if name not in known:
            raise unknown_name(f"value of {key}", name, known)


def check_ranks(key: str, aggregation: str) -> None:
    """Check that an aggregation puts images in the order of how sure a model is.

    Raises:
        ConfigError: if it says nothing of that.
    """
    from trustseg.uncertainty.aggregation import PATTERNS

    if aggregation in PATTERNS:
        raise ConfigError(
            f"{key} must be a score that is higher where a model is less sure, got {aggregation}, which sees the "
            "pattern of a map and not its level; choose another such as soft_dice_confidence"
        )


def check_counted(key: str, aggregations: Iterable[str], measures: Iterable[str]) -> None:
    """Check that ``count_above``, if among the aggregations of a key, can count a pixel of each measure.

    Raises:
        ConfigError: if one of the measures never exceeds its threshold, so that all images would score 0.
    """
    from trustseg.uncertainty import UPPER_BOUNDS
    from trustseg.uncertainty.aggregation import COUNTED_ABOVE

    if "count_above" not in aggregations:
        return
    for measure in measures:
        if UPPER_BOUNDS[measure] <= COUNTED_ABOVE:
            able = ", ".join(name for name, bound in UPPER_BOUNDS.items() if bound > COUNTED_ABOVE)
            raise ConfigError(
                f"{key} counts pixels above {COUNTED_ABOVE:g} with count_above, but {measure} is at most "
                f"{UPPER_BOUNDS[measure]:.3g} and every image would score 0; "
                f"choose another aggregation, or only measures among {able}"
            )


def check_objective_of_bernoulli(key: str, objective: str) -> None:
    """Check that a model with a bernoulli head can be attacked through this objective.

    Raises:
        ConfigError: if it needs the evidence of a beta head.
    """
    from trustseg.attacks import OBJECTIVES

    if not _takes_bernoulli(OBJECTIVES[objective], 0.0):
        raise ConfigError(
            f"{key}={objective} needs a beta head, model.head is bernoulli; "
            f"choose another objective such as cross_entropy, or set model.head=beta"
        )


def _takes_bernoulli(function: Callable[..., object], *options: float) -> bool:
    """Return whether a loss or an objective can be computed of a Bernoulli belief, by trying it on one pixel."""
    import torch

    from trustseg.beliefs import Bernoulli

    pixel = torch.zeros(1, 1, 1, 1)
    try:
        function(Bernoulli(pixel), pixel, *options)
    except BeliefError:
        return False
    return True
