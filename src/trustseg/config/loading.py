"""Loading of a configuration from a YAML file and ``key=value`` overrides."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from trustseg.config.data import DataConfig
from trustseg.config.keys import annotation_of, known_keys
from trustseg.config.messages import sentence
from trustseg.config.run import RunConfig
from trustseg.config.study import StudyConfig
from trustseg.config.values import value_of
from trustseg.errors import ConfigError
from trustseg.text import first_of
from trustseg.yaml_files import read_yaml

__all__ = ["data_of_run", "is_key", "load_run", "load_study", "with_values"]

_DEEPEST: Final = 6  # sections in sections; ours have 3
_LONGEST: Final = 80  # characters of a setting in a message
_MOST: Final = 8  # findings in a message

_Config = TypeVar("_Config", bound=RunConfig)


def load_run(path: Path | str | None, overrides: Sequence[str] = ()) -> RunConfig:
    """Return the run that a YAML file and ``key=value`` overrides describe.

    Args:
        path: YAML file; ``None`` for all defaults.
        overrides: e.g. ``["model.head=beta", "adversarial.eps=4/255"]``. Numbers, switches, lists and maps are YAML; a
            text is taken as it stands: ``data.path=a #b`` is the folder ``a #b``. Only ``null`` means none, for a key
            that may have none.

    Raises:
        MissingFileError: if the file is not there.
        ConfigError: if a key is unknown or a value does not fit.
    """
    content = _with_overrides(RunConfig, _read(path), overrides)
    return _validated(RunConfig, content, where=str(path or "the configuration"))


def data_of_run(model: Path) -> DataConfig | None:
    """Return the section ``data`` of the run whose folder a model's folder lies in, None if there is none."""
    own = (model if model.name else model.absolute()).parent / "config.yaml"
    return load_run(own).data if own.is_file() else None


def is_key(text: str) -> bool:
    """Return whether a text is a dotted key of a run or a study."""
    return text in known_keys(StudyConfig)


def load_study(path: Path | str, overrides: Sequence[str] = ()) -> StudyConfig:
    """Return the study that a YAML file and ``key=value`` overrides describe, every run of its grid checked.

    Args:
        path: YAML file; its name is the study's name where it gives none.
        overrides: as in ``load_run``.

    Raises:
        MissingFileError: if the file is not there.
        ConfigError: if a key is unknown or a value does not fit.
    """
    content = _with_overrides(StudyConfig, _read(path), overrides)
    content.setdefault("name", Path(path).stem)
    study = _validated(StudyConfig, content, where=str(path))
    for values in study.combinations():
        with_values(study, values)
    return study


def with_values(config: RunConfig, values: Mapping[str, object]) -> RunConfig:
    """Return the plain run of ``config`` with some keys set.

    Args:
        config: a run or a study.
        values: dotted key -> value, e.g. ``{"model.head": "beta"}``.

    Raises:
        ConfigError: if a key is unknown or a value does not fit.
    """
    content = config.model_dump(mode="json", include=set(RunConfig.model_fields))
    for key, value in values.items():
        _set(content, key, value)
    return _validated(RunConfig, content, where="the grid")


def _read(path: Path | str | None) -> dict[str, Any]:
    content = None if path is None else read_yaml(Path(path))
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(
            f"'{path}' holds a {type(content).__name__}, expected sections such as 'data:'; see experiments/"
        )
    return {key: value for key, value in content.items() if value is not None}


def _with_overrides(kind: type[RunConfig], content: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise ConfigError(f"'{override}' is not key=value; write for example training.epochs=30")
        key = key.strip()
        _set(content, key, value_of(annotation_of(kind, key), text, where=override[:_LONGEST]))
    return content


def _set(content: dict[str, Any], key: str, value: object) -> None:
    """Set a dotted key; the keys of ``grid`` hold dots themselves, and are set in each of several grids."""
    grids = content.get("grid")
    if key.startswith("grid.") and isinstance(grids, list) and all(isinstance(grid, dict) for grid in grids):
        for grid in grids:
            grid[key.removeprefix("grid.")] = value
        return
    parts = key.split(".", maxsplit=1) if key.startswith("grid.") else key.split(".", maxsplit=_DEEPEST)
    inner = content
    for depth, part in enumerate(parts[:-1], start=1):
        inner = inner.setdefault(part, {})
        if not isinstance(inner, dict):
            above = ".".join(parts[:depth])
            raise ConfigError(f"'{above}' is a single value, so '{key}' does not exist; set {above}=... instead")
    inner[parts[-1]] = value


def _validated(kind: type[_Config], content: dict[str, Any], *, where: str) -> _Config:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        details = error.errors()
        # Without its bad items a list may also be too short; that complaint is about the same value.
        inside = {detail["loc"][:end] for detail in details for end in range(1, len(detail["loc"]))}
        told = [detail for detail in details if detail["loc"] not in inside]
        findings = first_of([sentence(kind, detail) for detail in told], _MOST, joint="; ")
        raise ConfigError(f"{where}: {findings}") from error
