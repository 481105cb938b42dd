"""Hypotheses as data: what is claimed of which settings, in which score, by how much; read from YAML."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

from pydantic import Field, field_validator, model_validator

from trustseg.config import RunConfig
from trustseg.config.keys import flattened, known_keys
from trustseg.config.section import Budget, NameWithOptions, Section, number, sections_of
from trustseg.config.values import require_value
from trustseg.entries import read
from trustseg.errors import ConfigError, unknown_name
from trustseg.statistics.comparisons import Claim
from trustseg.study.grid import INDIFFERENT, REPETITIONS
from trustseg.yaml_files import read_yaml

__all__ = [
    "FILE",
    "Hypothesis",
    "load_hypotheses",
    "other_settings",
    "require_hypotheses",
    "setting",
    "settings_match",
    "untestable",
]

FILE: Final = "hypotheses.yaml"
"""Name of the file in a study's folder."""


class Hypothesis(Section):
    """One claim about the difference first - second of a score."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="short name")
    claim: str = Field(min_length=1, description="the claim in words")
    first: dict[str, Any] = Field(min_length=1, description="settings of the first side, dotted key -> value")
    second: dict[str, Any] = Field(min_length=1, description="settings of the second side, the same keys")
    measures: tuple[NameWithOptions, ...] = Field(
        min_length=1, description="metrics compared, each a test of its own, such as dice, nause or undetected_harm"
    )
    condition: str = Field("attacked", description="clean, attacked (the report's headline), or a condition's name")
    eps: Budget | None = Field(None, description="budget of the condition; null: the nearest to the headline's")
    direction: Claim = Field(description="what is claimed of first - second")
    margin: float = Field(0.0, ge=0, description="largest difference that does not matter, in units of the score")
    first_uncertainty: str | None = Field(None, description="measure that ranks the first side; null: the report's")
    second_uncertainty: str | None = Field(None, description="measure that ranks the second side; null: the report's")
    dose: str | None = Field(None, description="key whose values make a dose-response curve of the first score")

    @field_validator("measures")
    @classmethod
    def _scores_exist(cls, measures: tuple[str, ...]) -> tuple[str, ...]:
        from trustseg.metrics import metrics_of  # loads torch

        known = metrics_of("image", "pixel_ranking", "image_ranking", "calibration", "decision")
        for measure in measures:
            read(known, measure, kind="score")
        return measures

    @model_validator(mode="after")
    def _sides_fit(self) -> Self:
        if set(self.first) != set(self.second):
            odd = ", ".join(sorted(set(self.first) ^ set(self.second)))
            raise ValueError(f"first and second name different keys ({odd}); give each key on both sides")
        same = self.first == self.second and self.first_uncertainty == self.second_uncertainty
        if same:
            raise ValueError("first and second are the same; let them differ in a value or in the uncertainty")
        if self.direction in ("not_lower", "not_higher", "equal") and self.margin == 0:
            raise ValueError(f"direction={self.direction} needs a margin above 0: the smallest relevant difference")
        return self


def load_hypotheses(path: Path) -> list[Hypothesis]:
    """Return the hypotheses of a YAML file with a list ``hypotheses``.

    Raises:
        MissingFileError: if the file is not there.
        ConfigError: if it does not hold hypotheses, or two have the same name.
    """
    where, example = f"'{path}'", "experiments/hypotheses.yaml"
    found = sections_of(read_yaml(path), "hypotheses", Hypothesis, word="hypothesis", where=where, example=example)
    names = [hypothesis.name for hypothesis in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"{where} holds {', '.join(twice)} twice; rename one")
    return found


def require_hypotheses(hypotheses: Iterable[Hypothesis], *, where: Path) -> None:
    """Check that hypotheses of a file speak of keys and values that a run can have, before anything is trained.

    Raises:
        ConfigError: if a key or a value does not exist.
    """
    from trustseg.uncertainty import MEASURES

    for hypothesis in hypotheses:
        place = f"'{where}', hypothesis {hypothesis.name}"
        for key, value in [*hypothesis.first.items(), *hypothesis.second.items()]:
            require_value(key, value, where=place)
        if hypothesis.dose is not None and hypothesis.dose not in known_keys(RunConfig):
            raise ConfigError(f"{place}: unknown key dose={hypothesis.dose}; 'trustseg train --keys' lists them all")
        for measure in (hypothesis.first_uncertainty, hypothesis.second_uncertainty):
            if measure is not None and measure not in MEASURES:
                raise unknown_name(f"uncertainty in {place}", measure, MEASURES)


def untestable(hypotheses: Iterable[Hypothesis], runs: Sequence[RunConfig]) -> dict[str, str]:
    """Return the names of the hypotheses that a study of these runs cannot test, and why: name -> reason.

    A side that no run has, two sides that never agree in all other settings, or a condition that is not measured.
    """
    from trustseg.evaluation import conditions_of  # reports read this file and load no model

    configs = [run.model_dump(mode="json") for run in runs]
    places = {(condition.name, condition.eps) for run in runs[:1] for condition in conditions_of(run.evaluation)}
    attacks = {attack.label for run in runs[:1] for attack in run.evaluation.attacks}
    reasons = {}
    for hypothesis in hypotheses:
        names = attacks if hypothesis.condition == "attacked" else {hypothesis.condition}
        measured = [
            eps
            for name, eps in places
            # a name ends with the attack's steps where these are not the usual ones
            if {name, name.rstrip("0123456789")} & names
            and (name == "clean" or hypothesis.eps is None or abs(eps - hypothesis.eps) < 1e-9)
        ]
        if reason := _why_incomparable(hypothesis, configs):
            reasons[hypothesis.name] = reason
        elif not measured:
            what = "an attack" if hypothesis.condition == "attacked" else hypothesis.condition
            budget = "" if hypothesis.eps is None else f" at {hypothesis.eps * 255:g}/255"
            reasons[hypothesis.name] = f"{what}{budget} is not among the conditions measured"
    return reasons


def _why_incomparable(hypothesis: Hypothesis, configs: Sequence[Mapping[str, Any]]) -> str:
    """Return why no two runs are the two sides of a hypothesis, nothing where some are."""
    rests: list[list[dict[str, object]]] = []
    for side in (hypothesis.first, hypothesis.second):
        rests.append([other_settings(config, hypothesis) for config in configs if settings_match(config, side)])
        if not rests[-1]:
            return f"no run has {', '.join(f'{key}={value}' for key, value in side.items())}"
    return "" if any(rest in rests[1] for rest in rests[0]) else "its two sides differ in other settings, too"


def other_settings(config: Mapping[str, Any], hypothesis: Hypothesis) -> dict[str, object]:
    """Return all settings apart from those that a hypothesis compares, that repeat, and that do not matter.

    Defaults are left out: a run of an older version lacks the keys that came later, and had their defaults.
    """
    ignored = {*hypothesis.first, *REPETITIONS, *INDIFFERENT}
    usual = flattened(RunConfig.model_construct().model_dump(mode="json"))
    return {
        key: value for key, value in flattened(config).items() if key not in ignored and value != usual.get(key, ...)
    }


def setting(config: Mapping[str, Any], key: str) -> object:
    """Return the value of a dotted key of a configuration, None where there is none.

    Example:
        >>> setting({"model": {"head": "beta"}}, "model.head")
        'beta'
    """
    inner: object = config
    for part in key.split("."):
        inner = inner.get(part) if isinstance(inner, Mapping) else None
    return inner


def settings_match(config: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return whether a configuration has all the settings wanted, numbers compared as numbers."""
    return all(_same(setting(config, key), value) for key, value in wanted.items())


def _same(found: object, wanted: object) -> bool:
    if isinstance(found, float):
        wanted = number(wanted)
    if isinstance(found, int | float) and isinstance(wanted, int | float):
        return abs(found - wanted) < 1e-9
    return str(found).lower() == str(wanted).lower()
