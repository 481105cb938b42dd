"""The comparators of a study: which mixtures are made of its models."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field

from trustseg.config.evaluation import AttackConfig
from trustseg.config.names import check_objective_of_bernoulli
from trustseg.config.section import Section
from trustseg.errors import ConfigError

__all__ = ["MixtureConfig", "check_attacks_on_mixtures", "check_seeds"]


class MixtureConfig(Section):
    """Mixtures that are measured in addition to the single models of a study, without training."""

    ensemble: bool = Field(False, description="evaluate the deep ensemble of all seeds of each variant (study only)")
    mc_dropout: int = Field(
        0, ge=0, description="MC dropout samples of the first seed of each variant; 0: none (study only)"
    )
    dropout: float = Field(
        0.2, gt=0, lt=1, description="dropout rate for MC dropout of a model trained without dropout (study only)"
    )


def check_seeds(combinations: Iterable[Mapping[str, Any]]) -> None:
    """Check that a deep ensemble finds at least two seeds of each variant and fold.

    Args:
        combinations: grid keys and values of every run.

    Raises:
        ConfigError: if it finds one.
    """
    seeds: dict[tuple[tuple[str, str], ...], set[str]] = {}
    for values in combinations:
        others = tuple(sorted((key, str(value)) for key, value in values.items() if key != "training.seed"))
        seeds.setdefault(others, set()).add(str(values.get("training.seed")))
    for others, found in seeds.items():
        if len(found) < 2:
            variant = ", ".join(f"{key}={value}" for key, value in others)
            raise ConfigError(
                f"mixtures.ensemble=true needs at least two seeds of each variant, got one{' of ' * bool(variant)}"
                f"{variant}; set grid.training.seed=[0, 1, 2] or mixtures.ensemble=false"
            )


def check_attacks_on_mixtures(attacks: Iterable[AttackConfig]) -> None:
    """Check that every attack of the evaluation can be run on a mixture.

    Raises:
        ConfigError: if an objective needs the evidence of a single Beta.
    """
    for attack in attacks:
        try:
            if attack.objective is not None:
                check_objective_of_bernoulli("evaluation.attacks objective", attack.objective)
        except ConfigError as error:
            raise ConfigError(
                f"the attack {attack.label} needs the evidence of a single model, which mixtures do not have; choose "
                "the objective cross_entropy or margin, or disable mixtures"
            ) from error
