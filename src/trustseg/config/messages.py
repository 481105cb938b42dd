"""What does not fit a configuration, in words: what was got, what was expected, what to change."""

import difflib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from trustseg.config.keys import describe_keys, known_keys
from trustseg.errors import unknown_name
from trustseg.text import printable

__all__ = ["sentence"]

_LONGEST_VALUE: Final = 80
_SEE_KEYS: Final = "'trustseg train --keys' lists them all"
_AN_ATTACK: Final = "[{name: pgd, eps: [4/255]}]"


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
    got = _written(detail["input"])
    return f"{key}={got}: expected {_expected(key, path)}; {_remedy(key, path, detail['input'])}"


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
    """Return in words what a key may hold, or an item of its list where ``key`` ends in a number."""
    if path.startswith("grid."):
        return "a list of values"
    if path == "name":
        return "a name of letters, digits, '_', '.' and '-' that begins with a letter or digit"
    allowed = _described().get(path, ("", ""))[1]
    is_item = key.rpartition(".")[2].isdecimal()
    if inner := [below.removeprefix(f"{path}.") for below in _keys_below(path)]:
        what = "a list of sections" if allowed and not is_item else "a section"
        return f"{what} with the keys {', '.join(inner)}"
    if is_item:
        allowed = allowed.removeprefix("list of ").replace(", or fractions", " or fraction")
        allowed = re.sub(r"^(number|integer)s", r"\1", allowed)
    if allowed.startswith("list of"):
        return f"a {allowed.replace(' | ', ', ')}"
    if len(choices := allowed.split(" | ")) > 1:
        return f"{', '.join(choices[:-1])} or {choices[-1]}"
    if allowed.startswith("text") or not allowed:
        return allowed or "another kind of value"
    return f"{'an' if allowed.startswith('integer') else 'a'} {allowed}"


def _remedy(key: str, path: str, got: object) -> str:
    """Return what to change, as a setting that could be typed where there is one."""
    default, allowed = _described().get(path, ("required", ""))
    if allowed.startswith("text") and isinstance(got, bool | int | float):
        return "quote the text, as YAML reads it as something else"
    is_single = isinstance(got, str | int | float) and not isinstance(got, bool)
    if path == "evaluation.attacks":
        names = _described()[f"{path}.name"][1].split(" | ")
        if isinstance(got, str) and got not in names:
            return f"{unknown_name('attack', _cut(got), names)}; write for example {path}={_AN_ATTACK}"
        return f"write for example {path}={_AN_ATTACK}"
    if path.startswith("grid.") or (allowed.startswith("list of") and not key.rpartition(".")[2].isdecimal()):
        example = _written(got) if is_single else "4/255" if path.endswith("eps") else default
        if example == "required":
            return "give at least one value"
        place = f"{path}=" if key == path else f"{path.rpartition('.')[2]}: "  # inside a list no key can be typed
        return f"write {place}[{example}]"
    choices = allowed.removeprefix("list of ").split(" | ")
    if len(choices) > 1:
        near = difflib.get_close_matches(str(got), choices, n=1)
        return f"did you mean {near[0]}?" if near else f"set {path} to one of these"
    if path.endswith("eps") and isinstance(got, int | float) and 1 < got <= 255:
        return f"write {key}={got:g}/255 for {got:g} grey levels"
    if below := _keys_below(path):
        return f"set the keys of that section, such as {below[0]}=..."
    if path.endswith("eps"):
        return "write for example 4/255"
    return (
        f"set for example {key}={default}" if default not in ("required", "null") else f"change it or leave {key} out"
    )


def _keys_below(path: str) -> list[str]:
    return [key for key in _described() if key.startswith(f"{path}.")]


def _written(value: object) -> str:
    """Return a value as YAML would have it, cut where it is long."""
    text = str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)
    text = f"'{text}'" if not text or text != text.strip() else text
    return _cut(text)


def _cut(text: str) -> str:
    return printable(text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}...")
