"""From a YAML file and ``key=value`` overrides to a checked configuration; what does not fit is said in words."""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from trustseg.config.messages import sentence
from trustseg.config.schema import RunConfig, StudyConfig
from trustseg.errors import ConfigError, MissingFileError

__all__ = ["load_run", "load_study", "with_values"]

_Config = TypeVar("_Config", bound=RunConfig)


def load_run(path: Path | str | None, overrides: Sequence[str] = ()) -> RunConfig:
    """Return the run that a YAML file and ``key=value`` overrides describe.

    Args:
        path: YAML file; ``None`` for all defaults.
        overrides: e.g. ``["model.head=beta", "adversarial.eps=4/255"]``; values are YAML.

    Raises:
        MissingFileError: if the file is not there.
        ConfigError: if a key is unknown or a value does not fit.
    """
    content = _with_overrides(_read_yaml(path), overrides)
    return _validated(RunConfig, content, where=str(path or "the configuration"))


def load_study(path: Path | str, overrides: Sequence[str] = ()) -> StudyConfig:
    """Return the study that a YAML file and ``key=value`` overrides describe, every run of its grid checked.

    Args:
        path: YAML file; its name is the study's name where it gives none.
        overrides: as in ``load_run``.

    Raises:
        MissingFileError: if the file is not there.
        ConfigError: if a key is unknown or a value does not fit.
    """
    content = _with_overrides(_read_yaml(path), overrides)
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


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in one section, of which YAML would drop the first in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        for position, (key, _) in enumerate(node.value):
            if key.value in keys[:position]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key.value}' is repeated", key.start_mark
                )
        return super().construct_mapping(node, deep)


def _parsed(text: str) -> Any:  # noqa: ANN401 - whatever the YAML holds
    return yaml.load(text, Loader=_Loader)  # a SafeLoader


def _read_yaml(path: Path | str | None) -> dict[str, Any]:
    """Return the sections of a file without the empty ones."""
    if path is None:
        return {}
    file = Path(path)
    if not file.is_file():
        raise MissingFileError(f"no configuration file '{file}'; a YAML file was expected; check the path")
    try:
        content = _parsed(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"'{file}' is not YAML ({_reason(error)}); mend that line") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(
            f"'{file}' holds a {type(content).__name__}; sections such as 'data:' were expected; see experiments/"
        )
    return {key: value for key, value in content.items() if value is not None}


def _reason(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return str(error).splitlines()[0]
    return f"line {mark.line + 1}: {getattr(error, 'problem', '')}"


def _with_overrides(content: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise ConfigError(f"got '{override}'; key=value was expected; write for example training.epochs=30")
        try:
            value = _parsed(text)
        except yaml.YAMLError as error:
            raise ConfigError(
                f"the value in '{override}' is not YAML ({_reason(error)}); quote it, as in 'data.path=\"a: b\"'"
            ) from error
        _set(content, key.strip(), value)
    return content


def _set(content: dict[str, Any], key: str, value: object) -> None:
    """Set a dotted key; the keys of ``grid`` hold dots themselves, and are set in each of several grids."""
    grids = content.get("grid")
    if key.startswith("grid.") and isinstance(grids, list) and all(isinstance(grid, dict) for grid in grids):
        for grid in grids:
            grid[key.removeprefix("grid.")] = value
        return
    parts = key.split(".", maxsplit=1) if key.startswith("grid.") else key.split(".")
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
        findings = "; ".join(sentence(kind, detail) for detail in details if detail["loc"] not in inside)
        raise ConfigError(f"{where}: {findings}") from error
