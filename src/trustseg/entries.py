"""Entries of the dictionaries of attacks, losses, measures and so on: a function with its label and facts.

The options of an entry are the keyword-only parameters of its function, with their annotations and defaults. A
configuration has them as ``{name: quantile_mean, quantile: 0.9}`` or as one text, ``quantile_mean(quantile=0.9)``.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, partial, reduce
from inspect import signature
from operator import or_
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Generic, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter

from trustseg.errors import ConfigError, unknown_name

__all__ = [
    "CONTRACT",
    "Entry",
    "Option",
    "allowed_values",
    "call",
    "name_in",
    "number",
    "options_in_words",
    "read",
    "shown",
    "slug",
    "written",
]

Result = TypeVar("Result")
Facts = TypeVar("Facts")

CONTRACT: Final = frozenset({"eps", "objective", "generator", "keep_best", "balance"})
"""Parameters that every attack or loss has and its caller fills in; they are no options."""

_LONGEST: Final = 40  # characters of a fraction
_KINDS: Final = {"boolean": "true | false", "string": "text", "object": "section of keys"}
_BOUNDS: Final = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


class Option(NamedTuple):
    """A keyword-only parameter that a configuration may set: the type of its values and the usual one."""

    annotation: Any
    default: Any

    @property
    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of its values."""
        return TypeAdapter(self.annotation).json_schema()


@dataclass(frozen=True, eq=False)
class Entry(Generic[Result, Facts]):
    """A function that knows its label and its facts; called, and looked at by ``inspect``, like the function itself.

    Attributes:
        function: what is called.
        label: its name in tables and figures.
        facts: what others need to know of it, by package: ``AttackFacts``, ``LossFacts``, ...
        given: keyword-only parameters that the caller fills in.

    Example:
        >>> def blur(image, *, width: int = 3): return image / width
        >>> entry = Entry(blur, "Blur", None)
        >>> entry(6), entry(6, width=2), entry.options["width"].default
        (2.0, 3.0, 3)
    """

    function: Callable[..., Result]
    label: str
    facts: Facts
    given: frozenset[str] = CONTRACT

    def __post_init__(self) -> None:
        vars(self).update(__wrapped__=self.function, __doc__=self.function.__doc__)

    @property
    def __name__(self) -> str:
        """Return the name of the function."""
        return self.function.__name__

    def __call__(self, *args: Any, **options: Any) -> Result:  # noqa: ANN401 - those of the function
        """Return what the function returns."""
        return self.function(*args, **options)

    @cached_property
    def options(self) -> Mapping[str, Option]:
        """Return the options by name, in the order of the signature."""
        found = {
            name: Option(_writable(each.annotation), each.default)
            for name, each in signature(self.function, eval_str=True).parameters.items()
            if each.kind is each.KEYWORD_ONLY and name not in self.given
        }
        return {name: option for name, option in found.items() if option.annotation}

    def takes(self, parameter: str) -> bool:
        """Return whether the function has a parameter of that name."""
        return parameter in signature(self.function).parameters

    def checked(self, values: Mapping[str, Any], *, name: str, where: str = "") -> dict[str, Any]:
        """Return option -> value of the type that the function takes, from what YAML gives, or from texts.

        Args:
            values: option -> value.
            name: of the entry, for errors.
            where: what the error of a value begins with.

        Raises:
            UnknownNameError: if the function has no such option.
            ConfigError: if a value does not fit.

        Example:
            >>> def blur(image, *, width: float = 3.0): return image / width
            >>> Entry(blur, "Blur", None).checked({"width": "1/2"}, name="blur")
            {'width': 0.5}
        """
        for option in values:
            if option not in self.options:
                raise unknown_name(f"option of {name}", option, self.options)
        return {key: _value(self.options[key], value, f"{where}{name}({key}={{}})") for key, value in values.items()}


def _writable(annotation: Any) -> Any:  # noqa: ANN401 - any type
    """Return the part of a type that a configuration can hold, None if there is none."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        kept = [kind for kind in map(_writable, inner) if kind is not None]
        return reduce(or_, kept) if set(kept) - {NoneType} else None
    if origin in (Annotated, Sequence, tuple, list):
        return annotation if _writable(inner[0]) is not None else None
    return annotation if origin is Literal or annotation in (bool, int, float, str, NoneType) else None


def _kinds(annotation: Any) -> list[Any]:  # noqa: ANN401 - any type
    """Return the types that a type is made of."""
    return [annotation, *(kind for inner in get_args(annotation) for kind in _kinds(inner))]


def _value(option: Option, value: Any, where: str) -> Any:  # noqa: ANN401 - any type
    """Return a value in the type of an option; ``where`` is what an error begins with, ``{}`` for the value."""
    kinds = _kinds(option.annotation)
    value = None if value == "null" and NoneType in kinds else number(value)
    try:
        if isinstance(value, bool) and bool not in kinds:
            raise ValueError("a switch")
        return TypeAdapter(option.annotation, config=ConfigDict(allow_inf_nan=False)).validate_python(value)
    except ValueError as error:  # pydantic's is one
        got = shown(value, {}) if value is None or isinstance(value, bool) else value
        words = f"expected {allowed_values(option.schema)}, default {shown(option.default, option.schema)}"
        raise ConfigError(f"{where.format(got)}: {words}") from error


def allowed_values(schema: Mapping[str, Any], names: Sequence[str] = ()) -> str:
    """Return the values that a JSON schema allows, in words; ``names`` are those of the texts in it."""
    if "anyOf" in schema and not names:
        return " or ".join(allowed_values(option) for option in schema["anyOf"])
    kind = schema.get("type", "section of keys")
    if kind == "array":
        return f"list, each: {allowed_values(schema['items'], names)}"
    if choices := names or schema.get("enum"):
        return " | ".join(map(str, choices))
    words = "number or fraction" if schema.get("format") == "fraction" else _KINDS.get(kind, kind)
    bounds = [f"{sign} {schema[bound]:g}" for bound, sign in _BOUNDS.items() if bound in schema]
    return " ".join(filter(None, (words, ", ".join(bounds))))


def shown(value: Any, schema: Mapping[str, Any]) -> str:  # noqa: ANN401 - any default
    """Return a default as one would write it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, float):
        level = value * 255 if schema.get("format") == "fraction" else 0.0
        return f"{round(level)}/255" if level and abs(level - round(level)) < 1e-9 else f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(shown(item, schema.get("items", {})) for item in value) or "[]"
    if isinstance(value, dict) and "eps" in value:  # an attack
        return f"{value['name']} at {shown(value['eps'], {'items': {'format': 'fraction'}})}"
    return str(value)


def number(value: object) -> object:
    """Turn a fraction such as "4/255" or "0.5/255" into a float; leave everything else as it is."""
    if isinstance(value, str) and "/" in value and len(value) <= _LONGEST:
        try:
            above, below = value.split("/")
            return float(_exact(above) / _exact(below))
        except (ValueError, ArithmeticError):
            return value
    return value


def _exact(text: str) -> Fraction:
    """Return the number in a text; one with an exponent by way of a float, as 1e999999999 would take for ever."""
    return Fraction(float(text) if "e" in text.lower() else text)


def written(value: object) -> object:
    """Return ``{name: ..., option: ...}`` as one text; leave everything else as it is.

    Example:
        >>> written({"name": "quantile_mean", "quantile": 0.9}), written("mean")
        ('quantile_mean(quantile=0.9)', 'mean')
    """
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        return value
    options = {key: str(inner).lower() if isinstance(inner, bool) else inner for key, inner in value.items()}
    name = options.pop("name")
    listed = ", ".join(f"{key}={'null' if inner is None else inner}" for key, inner in options.items())
    return f"{name}({listed})" if listed else name


def name_in(text: str) -> str:
    """Return the name in a text that may hold options.

    Example:
        >>> name_in("pgd(step_size=2/255)"), name_in("pgd")
        ('pgd', 'pgd')
    """
    return text.partition("(")[0]


def read(
    entries: Mapping[str, Entry[Result, Facts]], text: str, *, kind: str, where: str = ""
) -> tuple[Entry[Result, Facts], dict[str, Any]]:
    """Return the entry that a text names, and the options in it.

    Args:
        entries: name -> entry.
        text: a name, or ``name(option=value, ...)``.
        kind: what the dictionary holds, for errors.
        where: what the error of a value begins with.

    Raises:
        UnknownNameError: if there is no such entry or option.
        ConfigError: if a value does not fit.
    """
    name, bracket, rest = text.partition("(")
    if name not in entries:
        raise unknown_name(kind, name, entries)
    if bracket and not rest.endswith(")"):
        raise ConfigError(f"{kind} '{text}' has no closing bracket; write {{name: {name}, option: value}}")
    given = [part.partition("=") for part in rest.removesuffix(")").split(",") if part.strip()]
    options = {key.strip(): value.strip() for key, _, value in given}
    return entries[name], entries[name].checked(options, name=name, where=where)


def call(entries: Mapping[str, Entry[Result, Facts]], text: str, *, kind: str) -> Callable[..., Result]:
    """Return the function that a text names, its options filled in; arguments and errors as ``read``."""
    entry, options = read(entries, text, kind=kind)
    return partial(entry, **options) if options else entry


def slug(text: str) -> str:
    """Return a name with its options as it stands in the names of columns and files.

    Example:
        >>> slug("quantile_mean(quantile=0.9)")
        'quantile_mean_quantile0p9'
    """
    return re.sub(r"[^a-z0-9_]", "p", re.sub(r"[(,]\s*", "_", text.lower()).replace("=", "").rstrip(")"))


def options_in_words(text: str, options: Iterable[str]) -> str:
    """Return the options that ``slug`` wrote at the end of a name in words.

    Example:
        >>> options_in_words("_beta0p5", ["beta"]), options_in_words("_eps4p255_share1ep05", ["eps", "share"])
        (' (beta = 0.5)', ' (eps = 4/255, share = 1e-05)')
    """
    names = "|".join(sorted(options, key=len, reverse=True)) or "$"
    listed = []
    for name, value in re.findall(rf"_({names})(.+?)(?=_(?:{names})|$)", text):
        fraction = re.sub(r"(?<=\d)p255$", "/255", value) if value != "0p255" else value
        plain = re.sub(r"(?<=\d)p(?=\d)", ".", re.sub(r"^p(?=\d)|(?<=\de)p(?=\d)", "-", fraction))
        listed.append(f"{name.replace('_', ' ')} = {plain}")
    return f" ({', '.join(listed)})" if listed else text.replace("_", " ")
