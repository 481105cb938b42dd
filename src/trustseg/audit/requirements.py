"""Requirements of a model: bounds on its metrics, in a YAML file."""

from importlib import resources
from pathlib import Path
from typing import Final, Self

from pydantic import Field, model_validator

from trustseg.config.section import Section, sections_of
from trustseg.entries import number
from trustseg.errors import ConfigError
from trustseg.reporting.labels import CLEAN
from trustseg.yaml_files import parse_yaml, read_yaml

__all__ = ["ANY_ATTACK", "ANY_SHIFT", "Requirement", "default_requirements", "level_of", "read_requirements"]

ANY_SHIFT: Final = "any_shift"
ANY_ATTACK: Final = "any_attack"


class Requirement(Section):
    """One bound on one metric."""

    metric: str = Field(description="a name in trustseg.audit.QUANTITIES")
    condition: str = Field("clean", description="clean, SHIFT@SEVERITY, ATTACK@BUDGET, any_shift@3 or any_attack@2/255")
    subgroup: str | None = Field(None, description="COLUMN=VALUE, a column of the manifest or lesion_size; null: all")
    at_least: float | None = Field(None, description="lower bound")
    at_most: float | None = Field(None, description="upper bound")
    confidence: float = Field(0.95, gt=0, lt=1, description="of the interval that decides")

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"{self.metric} needs one bound: at_least or at_most")
        level_of(self.condition)
        if self.subgroup is not None and not all(self.subgroup.partition("=")):
            raise ValueError(f"subgroup '{self.subgroup}' is not COLUMN=VALUE, such as lesion_size=small")
        return self

    @property
    def bound(self) -> float:
        """Return the number that the metric is compared with."""
        return float(self.at_least if self.at_least is not None else self.at_most or 0.0)


def level_of(condition: str) -> tuple[str, float]:
    """Return the name and the level of a condition: severity of a shift, budget of an attack, 0 where clean.

    Raises:
        ValueError: if it is not written so.

    Example:
        >>> level_of("clean"), level_of("jpeg@3"), level_of("pgd@51/255")
        (('clean', 0.0), ('jpeg', 3.0), ('pgd', 0.2))
    """
    name, at, level = condition.partition("@")
    if condition == "clean":
        return CLEAN
    found = number(level)
    try:
        value = float(found if isinstance(found, float) else level)
    except ValueError:
        value = -1.0
    if not (name and at and value > 0):
        raise ValueError(f"condition '{condition}' is not clean or NAME@LEVEL, such as jpeg@3 or pgd@4/255")
    return name, value


def read_requirements(path: Path) -> list[Requirement]:
    """Return the requirements in a YAML file, a list under the key ``requirements``.

    Raises:
        MissingFileError: if there is no such file.
        ConfigError: if it holds something else; names the file, the entry and the key.
    """
    return _requirements(read_yaml(path), f"'{path}'")


def default_requirements() -> list[Requirement]:
    """Return the requirements that are shipped; those that an audit cannot test are left out, and named."""
    file = resources.files("trustseg.audit") / "requirements.yaml"
    return _requirements(parse_yaml(file.read_text(encoding="utf-8"), where="requirements.yaml"), "requirements.yaml")


def _requirements(content: object, where: str) -> list[Requirement]:
    found = sections_of(content, "requirements", Requirement, word="requirement", where=where, example="docs/audit.md")
    if not found or (isinstance(content, dict) and len(content) > 1):
        raise ConfigError(f"{where} does not hold a list 'requirements:' and nothing else; see docs/audit.md")
    return found
