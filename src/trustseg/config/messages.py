"""Validation errors of a configuration as sentences: value, allowed values, remedy."""

import difflib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from trustseg.config.keys import describe_keys, known_keys
from trustseg.text import printable

__all__ = ["sentence"]

_LONGEST_VALUE: Final = 80
_SEE_KEYS: Final = "'trustseg train --keys' lists them all"


_USUAL: Final = {  # names that other projects have for our keys
    "backbone": "model.encoder",
    "dataset": "data.path",
    "data_dir": "data.path",
    "device": "training.accelerator",
    "folder": "data.path",
    "gpus": "training.devices",
    "image_size": "data.size",
    "img_size": "data.size",
    "model.name": "model.architecture",
    "num_epochs": "training.epochs",
    "pretrained": "model.weights",
    "resolution": "data.size",
    "root": "data.path",
}


def sentence(kind: type[BaseModel], detail: ErrorDetails) -> str:
    """Return one of pydantic's findings as a sentence that names the key, its allowed values and a remedy.

    Args:
        kind: the section that was validated.
        detail: the finding; numbers in its ``loc`` count the items of a list.
    """
    place = detail["loc"][:1] + detail["loc"][2:] if detail["loc"][:1] == ("grid",) else detail["loc"]  # which grid: no
    key = ".".join(str(part) for part in place)
    path = ".".join(part for part in detail["loc"] if isinstance(part, str))
    if detail["type"] == "extra_forbidden":
        return _unknown_key(kind, key, path)
    if detail["type"] == "missing":
        return f"{key} is missing; expected {_expected(key, path)}"
    if detail["type"] == "value_error" and not isinstance(detail["input"], bool):
        message = detail["msg"].removeprefix("Value error, ")
        return f"{key}: {message}" if key else message
    if detail["type"] == "string_unicode":
        return f"{key} is not valid UTF-8 ({_written(detail['input'])}); rename that file or folder"
    found = f"{key}={_written(detail['input'])}: expected {_expected(key, path)}"
    return "; ".join(filter(None, (found, _remedy(key, path, detail["input"]))))


def _unknown_key(kind: type[BaseModel], key: str, path: str) -> str:
    """Return the words for an unknown key: the same name in another section is the likeliest mistake, then a typo."""
    near = _near(path[:_LONGEST_VALUE], known_keys(kind))
    key = f"'{_cut(key)}'"
    if near:
        return f"unknown key {key}; did you mean {' or '.join(repr(candidate) for candidate in near)}? {_SEE_KEYS}"
    return f"unknown key {key}; known sections: {', '.join(kind.model_fields)}; {_SEE_KEYS}"


def _near(path: str, known: Sequence[str]) -> list[str]:
    """Return the keys that an unknown one may stand for.

    In this order: the same name in another section, another project's name for it, some of its words, a typo.
    """
    section, _, name = path.rpartition(".")
    names = {key: key.rpartition(".")[2] for key in known}
    same = [key for key in known if names[key] == name]
    if (usual := _USUAL.get(name, _USUAL.get(path, ""))) in known:
        same = [usual]
    inside = [key for key in known if key.startswith(f"{section}.")] or list(known)
    typo = difflib.get_close_matches(name, [names[key] for key in inside], n=1, cutoff=0.75)
    return (
        same
        or [key for key in inside if _shares_words(name.lower(), names[key])]
        or [key for key in inside if names[key] in typo]
        or [key for key in inside if len(name) > 2 and (names[key].startswith(name) or name.startswith(names[key]))]
        or difflib.get_close_matches(path, known, n=1, cutoff=0.7)
    )


def _shares_words(short: str, name: str) -> bool:
    """Return whether a name is the initials of another, or has the same words, more or less.

    Example:
        >>> _shares_words("lr", "learning_rate"), _shares_words("max_epochs", "epochs"), _shares_words("lr", "logger")
        (True, True, False)
    """
    parts, words = short.replace("-", "_").split("_"), name.split("_")
    initials = len(words) > 1 and short == "".join(word[0] for word in words)
    return initials or set(parts) <= set(words) or set(words) <= set(parts) or "".join(parts) == "".join(words)


@cache
def _described() -> Mapping[str, tuple[str, str]]:
    """Return key -> (default, allowed values), as ``trustseg train --keys`` prints them."""
    return {key: (default, allowed) for key, default, allowed, _ in describe_keys()}


def _expected(key: str, path: str) -> str:
    """Return what a key may hold, as ``trustseg train --keys`` prints it, or an item of its list."""
    if path.startswith("grid."):
        return "list of values"
    allowed = _described().get(path, ("", ""))[1]
    if inner := [each.removeprefix(f"{path}.") for each in _described() if each.startswith(f"{path}.")]:
        kind = "list of sections" if allowed and not _is_item(key) else "section"
        return f"{kind} with the keys {', '.join(inner)}"
    if path == "name":
        return "letters, digits, '_', '.' and '-', the first a letter or digit"
    return (allowed.removeprefix("list of ") if _is_item(key) else allowed) or "another kind of value"


def _remedy(key: str, path: str, got: object) -> str:
    """Return what to change, as a setting that could be typed where there is one."""
    default, allowed = _described().get(path, ("required", ""))
    is_single = isinstance(got, str | int | float) and not isinstance(got, bool)
    if path == "evaluation.attacks":
        return "write for example evaluation.attacks=[{name: pgd, eps: [4/255]}]"
    if path.startswith("grid.") or (allowed.startswith("list of") and is_single and not _is_item(key)):
        place = f"{path}=" if key == path else f"{path.rpartition('.')[2]}: "  # inside a list no key can be typed
        return f"write {place}[{_written(got)}]" if is_single else "give at least one value"
    if near := difflib.get_close_matches(str(got), allowed.removeprefix("list of ").split(" | "), n=1):
        return f"did you mean {near[0]}?"
    if allowed.startswith("text") and isinstance(got, bool | int | float):
        return "quote the text, as YAML reads it as something else"
    if path.endswith("eps"):
        is_grey = isinstance(got, int | float) and 1 < got <= 255
        return f"write {key}={got:g}/255 for {got:g} grey levels" if is_grey else "write for example 4/255"
    return "" if default in ("required", "null") else f"the default is {default}"


def _is_item(key: str) -> bool:
    return key.rpartition(".")[2].isdecimal()


def _written(value: object) -> str:
    """Return a value as YAML would have it, cut where it is long."""
    text = str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)
    text = f"'{text}'" if not text or text != text.strip() else text
    return _cut(text)


def _cut(text: str) -> str:
    return printable(text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}...")
