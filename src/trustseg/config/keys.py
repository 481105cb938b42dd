"""The keys of a configuration, for ``trustseg train --keys`` and for hints at unknown ones."""

import re
import sys
from collections.abc import Iterator, Mapping
from inspect import getdoc, getmodule
from types import NoneType
from typing import Annotated, Any, Final, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from trustseg.config.evaluation import AttackConfig
from trustseg.config.names import allowed_names, entries_with_options
from trustseg.config.schema import RunConfig, StudyConfig

__all__ = ["annotation_of", "describe_keys", "describe_options", "flattened", "known_keys"]

_KINDS: Final = {bool: "true | false", int: "integer", float: "number", str: "text"}


def known_keys(kind: type[BaseModel], prefix: str = "") -> list[str]:
    """Return every dotted key of a section, sections included; those of a list's items stand below the list's key."""
    keys: list[str] = []
    for name, field in kind.model_fields.items():
        keys.append(prefix + name)
        section = _section(field.annotation)
        if section is not None:
            keys += known_keys(section, f"{prefix}{name}.")
    return keys


def flattened(settings: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """Return nested sections as dotted keys.

    Example:
        >>> flattened({"data": {"size": 64}})
        {'data.size': 64}
    """
    flat: dict[str, object] = {}
    for key, value in settings.items():
        flat |= flattened(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def annotation_of(kind: type[BaseModel], key: str) -> Any:  # noqa: ANN401 - any type
    """Return the type of what a dotted key holds, None if there is no such key.

    An entry of a map has a key: ``evaluation.populations.icu``. So has a key of the grid, ``grid.data.path``, whose
    values are a tuple of those that the key holds.
    """
    name, _, rest = key.partition(".")
    field = kind.model_fields.get(name)
    if field is None:
        return None
    annotation: Any = Annotated[field.annotation, field]
    if not rest:
        return annotation
    if kind is StudyConfig and name == "grid":
        inner = annotation_of(RunConfig, rest)
        inner = object if inner is None else inner
        return tuple[inner, ...]  # type: ignore[valid-type]  # made while running
    if (section := _section(field.annotation)) is not None:
        return annotation_of(section, rest)
    options = [option for option in (field.annotation, *get_args(field.annotation)) if get_origin(option) is dict]
    return get_args(options[0])[1] if options else None


def describe_keys() -> Iterator[tuple[str, str, str, str]]:
    """Yield (key, default, allowed values, meaning) of every key of a run and of a study, in order."""
    yield from _described(StudyConfig, "")


def describe_options() -> Iterator[tuple[str, str, str, str]]:
    """Yield (entry and option, default, allowed values, meaning) of the options of attacks, aggregations and losses."""
    for name, entry in entries_with_options():
        for option, (annotation, default) in entry.options.items():
            field = FieldInfo.from_annotation(annotation)
            yield f"{name}: {option}", _shown(default, field), _allowed(option, field), _meaning(entry.function, option)


def _meaning(function: object, option: str) -> str:
    """Return what the docstring of a function, of its module or of its package says of an option."""
    module = getmodule(function)
    for told in (function, module, module and sys.modules.get(module.__package__ or "")):
        found = re.search(rf"^ +{option}: (.+?)(?=\n +\w+: |\n\n|\Z)", getdoc(told) or "", re.S | re.M)
        if found:
            return re.sub(r"\s+", " ", found[1])
    return ""


def _described(kind: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    for name, field in kind.model_fields.items():
        key = prefix + name
        section = _section(field.annotation)
        if section is None or get_origin(field.annotation) is tuple:
            default = "required" if field.is_required() else _shown(field.get_default(call_default_factory=True), field)
            yield key, default, _allowed(key, field), field.description or ""
        if section is not None:
            yield from _described(section, f"{key}.")


def _section(annotation: object) -> type[BaseModel] | None:
    """Return the section that a field is, or holds a list of."""
    inner = get_args(annotation)[0] if get_origin(annotation) is tuple else annotation
    return inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None


def _allowed(key: str, field: FieldInfo) -> str:
    """Return the values a key may hold, in words."""
    annotation: Any = field.annotation
    if get_origin(annotation) is tuple:
        if key in allowed_names():
            return "list of " + " | ".join(allowed_names()[key])
        return "list of attacks" if _section(annotation) else _listed(get_args(annotation)[0])
    if key in allowed_names():
        return " | ".join(allowed_names()[key])
    if get_origin(annotation) is Literal:
        return " | ".join(map(str, get_args(annotation)))
    if get_origin(annotation) is dict:
        return "section of keys"
    options = get_args(annotation) or (annotation,)
    kind = next((word for option, word in _KINDS.items() if option in options), "text")
    if any(get_origin(option) is dict for option in options):
        kind = "mapping"
    if _is_budget(field):
        kind = "number or fraction"
    return f"{kind}{_bounds(field)}{' or null' if NoneType in options else ''}"


def _listed(item: object) -> str:
    """Return in words the values of a list whose items are grids, or numbers within bounds."""
    if get_origin(item) is dict:
        return "list of grids" if get_origin(get_args(item)[1]) else "list of settings"
    kind, *details = get_args(item)
    bounds = "".join(_bounds(detail) for detail in details if isinstance(detail, FieldInfo))
    return f"list of integers{bounds}" if kind is int else f"list of numbers{bounds}, or fractions"


def _bounds(field: FieldInfo) -> str:
    """Return the range of a number, such as " > 0, <= 1"."""
    found: dict[str, Any] = {}
    for part in field.metadata:
        match part:
            case Ge(ge=bound):
                found[">="] = bound
            case Gt(gt=bound):
                found[">"] = bound
            case Le(le=bound):
                found["<="] = bound
            case Lt(lt=bound):
                found["<"] = bound
    bounds = [f"{sign} {found[sign]:g}" for sign in (">=", ">", "<=", "<") if sign in found]
    return f" {', '.join(bounds)}" if bounds else ""


def _is_budget(field: FieldInfo) -> bool:
    return any(isinstance(part, BeforeValidator) for part in field.metadata)


def _shown(value: object, field: FieldInfo) -> str:
    """Return a default as one would write it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and _is_budget(field):
        return _fraction(value)
    if isinstance(value, float):
        return f"{value:g}"
    if value in ((), {}):
        return "[]" if value == () else "{}"
    if isinstance(value, tuple):
        return "; ".join(map(_attack, value)) if _section(field.annotation) else ", ".join(map(str, value))
    return str(value)


def _attack(attack: AttackConfig) -> str:
    return f"{attack.label} at {', '.join(map(_fraction, attack.eps))}"


def _fraction(eps: float) -> str:
    level = eps * 255
    return f"{round(level)}/255" if level and abs(level - round(level)) < 1e-9 else f"{eps:g}"
