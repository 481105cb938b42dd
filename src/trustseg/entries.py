"""Entries of the dictionaries of attacks, losses, measures and so on: a function with its label and facts.

The options of an entry are the keyword-only parameters of its function, with their annotations and defaults. A
configuration has them as ``{name: quantile_mean, quantile: 0.9}`` or as one text, ``quantile_mean(quantile=0.9)``.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, partial, reduce
from inspect import signature
from operator import or_
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Generic, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError

from trustseg.errors import ConfigError, first_problem, unknown_name

__all__ = ["CONTRACT", "Entry", "Option", "call", "name_in", "number", "read", "slug", "written"]

Result = TypeVar("Result")
Facts = TypeVar("Facts")

CONTRACT: Final = frozenset({"eps", "objective", "generator", "keep_best", "balance"})
"""Parameters that every attack or loss has and its caller fills in; they are no options."""

_LONGEST: Final = 40  # characters of a fraction


class Option(NamedTuple):
    """A keyword-only parameter that a configuration may set: the type of its values and the usual one."""

    annotation: Any
    default: Any


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

    def checked(self, values: Mapping[str, Any], *, name: str) -> dict[str, Any]:
        """Return option -> value of the type that the function takes, from what YAML gives, or from texts.

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
        return {option: _value(self.options[option].annotation, values[option], name, option) for option in values}


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


def _value(annotation: Any, value: Any, name: str, option: str) -> Any:  # noqa: ANN401 - any type
    """Return a value in the type of an option."""
    kinds = _kinds(annotation)
    value = None if value == "null" and NoneType in kinds else number(value)
    try:
        if isinstance(value, bool) and bool not in kinds:
            raise ConfigError(f"{name}: {option} is a number, got {str(value).lower()}")
        return TypeAdapter(annotation, config=ConfigDict(allow_inf_nan=False)).validate_python(value)
    except ValidationError as error:
        raise ConfigError(f"{name}: {option}={value}: {first_problem(error)[1]}") from error


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
    entries: Mapping[str, Entry[Result, Facts]], text: str, *, kind: str
) -> tuple[Entry[Result, Facts], dict[str, Any]]:
    """Return the entry that a text names, and the options in it; ``kind`` is what the dictionary holds, for errors.

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
    return entries[name], entries[name].checked({key.strip(): value.strip() for key, _, value in given}, name=name)


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
