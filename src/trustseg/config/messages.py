"""What pydantic finds wrong with a configuration, as sentences with a remedy."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from trustseg.config.keys import annotation_of, expected, known_keys
from trustseg.config.section import OPTIONS, is_marked
from trustseg.text import printable

__all__ = ["sentence", "unknown_key"]

_LONGEST_VALUE: Final = 80

_USUAL: Final[Mapping[str, str]] = {  # names that other projects have for our keys
    "backbone": "model.encoder",
    "data_dir": "data.path",
    "dataset": "data.path",
    "device": "training.accelerator",
    "epsilon": "adversarial.eps",
    "folder": "data.path",
    "gpus": "training.devices",
    "image_size": "data.size",
    "img_size": "data.size",
    "lr": "training.learning_rate",
    "model.name": "model.architecture",
    "num_epochs": "training.epochs",
    "pretrained": "model.weights",
    "resolution": "data.size",
    "root": "data.path",
    "wd": "training.weight_decay",
}


def sentence(kind: type[BaseModel], detail: ErrorDetails) -> str:
    """Return one of pydantic's findings as a sentence that names the key, its value and a remedy.

    Args:
        kind: the section that was validated.
        detail: the finding; numbers in its ``loc`` count the items of a list.
    """
    place = detail["loc"][:1] + detail["loc"][2:] if detail["loc"][:1] == ("grid",) else detail["loc"]  # which grid: no
    key, value = ".".join(map(str, place)), _written(detail["input"])
    path = ".".join(part for part in place if isinstance(part, str))
    match detail["type"]:
        case "extra_forbidden":
            return unknown_key(kind, key, path)
        case "value_error":
            problem = detail["msg"].removeprefix("Value error, ")
            return f"{key}: {problem}" if key else problem
        case "missing":
            allowed = expected(kind, path)
            return f"{key} is missing{allowed and f'; expected {_with_example(allowed)}'}"
        case "string_unicode":
            return f"{key} is not valid UTF-8 ({value}); rename that file or folder"
        case "model_type" | "dict_type":
            problem = "expected a section of keys"
        case "string_type" if isinstance(detail["input"], Mapping) and is_marked(annotation_of(kind, path), OPTIONS):
            return f"{key}.name is missing; write {{name: NAME, option: value}}"
        case "string_type":
            problem = "expected text; quote what YAML reads as something else"
        case "tuple_type":
            example = "[{name: pgd, eps: [4/255]}]" if key == "evaluation.attacks" else f"[{value}]"
            problem = f"expected a list; write {example}"
        case error_type:
            allowed = expected(kind, path, item=isinstance(place[-1], int)) if place else ""
            message = detail["msg"][:1].lower() + detail["msg"][1:]
            problem = f"expected {_with_example(allowed)}" if allowed else message
            if allowed and error_type.endswith(("_short", "_long", "_mismatch")):  # a length or a pattern
                problem += f"; {message}"
            if error_type == "less_than_equal" and key.endswith("eps"):
                problem += "; write 4/255 for four grey levels"
            choices = re.findall(r"'([^']+)'", detail["ctx"]["expected"]) if error_type == "literal_error" else []
            if near := difflib.get_close_matches(str(detail["input"]), choices, n=1):
                problem += f"; did you mean {near[0]}?"
    return f"{key}={value}: {problem}"


def _with_example(allowed: str) -> str:
    """Return what a key may hold, with an example where the default shows none."""
    return f"{allowed}, such as 4/255" if "fraction" in allowed and "/255" not in allowed else allowed


def unknown_key(kind: type[BaseModel], key: str, path: str) -> str:
    """Return the words for an unknown key, and those that it may stand for.

    Args:
        kind: the section that lacks it.
        key: as it was given.
        path: the same without the numbers of items.
    """
    known, section = known_keys(kind), f"{path.rpartition('.')[0]}."
    near = _near(path[:_LONGEST_VALUE], known)
    beside = dict.fromkeys(other[len(section) :].partition(".")[0] for other in known if other.startswith(section))
    listed = f"; known: {', '.join(beside or kind.model_fields)};"
    words = f"; did you mean {' or '.join(map(repr, near))}?" if near else listed
    return f"unknown key '{_cut(key)}'{words} 'trustseg train --keys' lists them all"


def _near(path: str, known: Sequence[str]) -> list[str]:
    """Return another project's name for a key, the same name in other sections, or the nearest in its own."""
    section, _, name = path.rpartition(".")
    if (usual := _USUAL.get(path, _USUAL.get(name, ""))) in known:
        return [usual]
    inside = [key for key in known if key.startswith(f"{section}.")] or known
    names = [key.rpartition(".")[2] for key in inside]
    same = [key for key in known if key.rpartition(".")[2] == name]
    near = [last for last in names if len(name) > 2 and last.startswith(name)]
    near = near or difflib.get_close_matches(name, names, n=1)
    return same or [key for key, last in zip(inside, names, strict=True) if last in near]


def _written(value: object) -> str:
    """Return a value as YAML would have it, cut where it is long."""
    text = str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)
    return _cut(f"'{text}'" if not text or text != text.strip() else text)


def _cut(text: str) -> str:
    return printable(text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}...")
