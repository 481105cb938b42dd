"""Hypotheses as data: what is claimed of which settings, in which score, by how much; read from YAML."""

from collections.abc import Mapping
from fractions import Fraction
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from trustseg.config.section import Budget, Section
from trustseg.errors import ConfigError, MissingFileError
from trustseg.study.statistics.comparisons import Claim

__all__ = ["FILE", "Hypothesis", "load_hypotheses", "setting", "settings_match"]

FILE: Final = "hypotheses.yaml"
"""Name of the file in a study's folder that takes the place of the shipped one."""

Score = Literal["dice", "iou", "nause", "aurc", "undetected_harm"]


class Hypothesis(Section):
    """One claim about the difference first - second of a score."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="short name")
    claim: str = Field(min_length=1, description="the claim in words")
    first: dict[str, Any] = Field(min_length=1, description="settings of the first side, dotted key -> value")
    second: dict[str, Any] = Field(min_length=1, description="settings of the second side, the same keys")
    measures: tuple[Score, ...] = Field(min_length=1, description="scores compared, each a test of its own")
    condition: str = Field("attacked", description="clean, attacked (the report's headline), or a condition's name")
    eps: Budget | None = Field(None, description="budget of the condition; null: the nearest to the headline's")
    direction: Claim = Field(description="what is claimed of first - second")
    margin: float = Field(0.0, ge=0, description="largest difference that does not matter, in units of the score")
    first_uncertainty: str | None = Field(None, description="measure that ranks the first side; null: the report's")
    second_uncertainty: str | None = Field(None, description="measure that ranks the second side; null: the report's")
    dose: str | None = Field(None, description="key whose values make a dose-response curve of the first score")

    @model_validator(mode="after")
    def _sides_fit(self) -> Self:
        if set(self.first) != set(self.second):
            odd = ", ".join(sorted(set(self.first) ^ set(self.second)))
            raise ValueError(f"first and second name different keys ({odd}); give each key on both sides")
        same = self.first == self.second and self.first_uncertainty == self.second_uncertainty
        if same:
            raise ValueError("first and second are the same; let them differ in a value or in the uncertainty")
        if self.direction in ("not_lower", "not_higher", "equal") and self.margin == 0:
            raise ValueError(
                f"direction={self.direction} needs a margin above 0; say which difference would not matter"
            )
        return self


def load_hypotheses(path: Path | None = None) -> list[Hypothesis]:
    """Return the hypotheses of a YAML file with a list ``hypotheses``; those that are shipped by default.

    Args:
        path: the file.

    Raises:
        MissingFileError: if the file is not there.
        ConfigError: if it does not hold hypotheses, or two have the same name.

    Example:
        >>> [hypothesis.name for hypothesis in load_hypotheses()]
        ['H1', 'H2', 'H3', 'H4', 'H5', 'H6']
    """
    shipped = resources.files("trustseg") / "experiments" / FILE
    if path is not None and not path.is_file():
        raise MissingFileError(f"no file '{path}', a YAML file with 'hypotheses:' was expected; check the path")
    where = f"'{path or FILE}'"
    try:
        content = yaml.safe_load((path or shipped).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where} is not YAML ({str(error).splitlines()[0]}); mend it") from error
    listed = content.get("hypotheses") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        raise ConfigError(f"{where} holds no list 'hypotheses:', one was expected; see the shipped {FILE}")
    found = [_hypothesis(item, number, where) for number, item in enumerate(listed, start=1)]
    names = [hypothesis.name for hypothesis in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"{where} holds {', '.join(twice)} twice, each name was expected once; rename one")
    return found


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
    if isinstance(wanted, str) and isinstance(found, float) and "/" in wanted:
        try:
            wanted = float(Fraction(wanted.replace(" ", "")))
        except (ValueError, ArithmeticError):
            return False
    if isinstance(found, int | float) and isinstance(wanted, int | float):
        return abs(found - wanted) < 1e-9
    return str(found).lower() == str(wanted).lower()


def _hypothesis(item: object, number: int, where: str) -> Hypothesis:
    try:
        return Hypothesis.model_validate(item)
    except ValidationError as error:
        name = item.get("name", number) if isinstance(item, dict) else number
        found = error.errors()[0]
        key = ".".join(str(part) for part in found["loc"])
        message = found["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{where}, hypothesis {name}{f', {key}' if key else ''}: {message}; mend that key") from error
