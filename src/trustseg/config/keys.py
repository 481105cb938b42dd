"""The keys of a configuration, for ``trustseg train --keys`` and for hints at unknown ones."""

import re
import sys
from collections.abc import Iterator, Mapping
from inspect import getdoc, getmodule
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, TypeAdapter

from trustseg.config.names import allowed_names, entries_with_options
from trustseg.config.run import RunConfig
from trustseg.config.study import StudyConfig
from trustseg.entries import allowed_values, shown

__all__ = ["annotation_of", "describe_keys", "describe_options", "expected", "flattened", "known_keys"]


def known_keys(kind: type[BaseModel], prefix: str = "") -> list[str]:
    """Return every dotted key of a section, sections included; those of a list's items stand below the list's key."""
    keys: list[str] = []
    for name, field in kind.model_fields.items():
        keys.append(prefix + name)
        if (section := _section(field.annotation)) is not None:
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


def _section(annotation: object) -> type[BaseModel] | None:
    inner = get_args(annotation)[0] if get_origin(annotation) is tuple else annotation
    return inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None


def expected(kind: type[BaseModel], key: str, *, item: bool = False) -> str:
    """Return in words what a dotted key, or each item of its list, may hold, and its default; else nothing.

    Example:
        >>> expected(RunConfig, "data.folds"), expected(RunConfig, "evaluation.attacks.eps", item=True)
        ('integer >= 2, default 5', 'number or fraction >= 0')
    """
    if (annotation := annotation_of(kind, key)) is None:
        return ""
    schema = TypeAdapter(annotation).json_schema()
    schema = schema.get("items", schema) if item else schema
    default = f", default {shown(schema['default'], schema)}" if "default" in schema else ""
    return f"{allowed_values(schema, allowed_names().get(key, ()))}{default}"


def describe_keys() -> Iterator[tuple[str, str, str, str]]:
    """Yield (key, default, allowed values, meaning) of every key of a run and of a study, in order."""
    schema = StudyConfig.model_json_schema()
    yield from _described(schema, "", schema["$defs"])


def _described(
    section: Mapping[str, Any], prefix: str, sections: Mapping[str, Any]
) -> Iterator[tuple[str, str, str, str]]:
    for name, field in section["properties"].items():
        key = prefix + name
        if "$ref" not in field:
            default = shown(field["default"], field) if "default" in field else "required"
            yield key, default, allowed_values(field, allowed_names().get(key, ())), field["description"]
        if inner := field.get("$ref") or field.get("items", {}).get("$ref"):
            yield from _described(sections[inner.rpartition("/")[2]], f"{key}.", sections)


def describe_options() -> Iterator[tuple[str, str, str, str]]:
    """Yield (entry and option, default, allowed values, meaning) of the options of attacks, aggregations and losses."""
    for name, entry in entries_with_options():
        for key, option in entry.options.items():
            default = shown(option.default, option.schema)
            yield f"{name}: {key}", default, allowed_values(option.schema), _meaning(entry.function, key)


def _meaning(function: object, option: str) -> str:
    """Return what the docstring of a function, of its module or of its package says of an option."""
    module = getmodule(function)
    for told in (function, module, module and sys.modules.get(module.__package__ or "")):
        found = re.search(rf"^ +{option}: (.+?)(?=\n *\w+:[ \n]|\n\n|\Z)", getdoc(told) or "", re.S | re.M)
        if found:
            return re.sub(r"\s+", " ", found[1])
    return ""
