"""Settings and commands as they may be shown to others: only the last name of each path."""

import hashlib
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import yaml
from pydantic import BaseModel

from trustseg.config.keys import annotation_of, flattened
from trustseg.config.section import OPTIONS, PATH, is_marked
from trustseg.config.study import StudyConfig
from trustseg.config.values import value_of
from trustseg.errors import ConfigError

__all__ = ["command_without_folders", "last_name", "settings_digest", "settings_without_folders", "without_paths_of"]


def settings_without_folders(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run or a study with every path cut to its last name.

    Which keys hold paths, the schema says. A text under a key that it does not have is taken for a path, but for the
    options of a loss, an attack and the like, which hold none: ``step_size: 1/255`` is a number.

    Example:
        >>> settings_without_folders({"data": {"path": "/home/anna/films/", "size": 64}})
        {'data': {'path': 'films', 'size': 64}}
    """
    return {name: _shown(value, str(name)) for name, value in settings.items()}


def settings_digest(settings: Mapping[str, Any]) -> str:
    """Return a hash of the settings of a run, in which folders may be shortened and the target may be called anew."""
    plain = flattened(settings_without_folders(settings))
    flat = {key: value for key, value in plain.items() if key not in ("data.path", "data.target")}
    return hashlib.sha256(json.dumps(flat, sort_keys=True, default=str).encode()).hexdigest()


def command_without_folders(words: Sequence[str]) -> str:
    """Return a command line with every path cut to its last name.

    Example:
        >>> command_without_folders(["trustseg", "train", "data.path=/home/anna/films", "-o/tmp/x", "model.prior=2"])
        'trustseg train data.path=films -ox model.prior=2'
    """
    return shlex.join(map(_word, words))


def last_name(path: str) -> str:
    r"""Return the last name of a path of any system; the home folder, whose name is the user's, is ``~``.

    Example:
        >>> last_name("/data/anna/films/"), last_name("C:\\anna\\films"), last_name("films")
        ('films', 'films', 'films')
    """
    if os.path.abspath(os.path.expanduser(path)) == os.path.expanduser("~"):
        return "~"
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]


def without_paths_of(settings: Mapping[str, Any], text: str) -> str:
    """Return a text, such as an error of a run, without the folders above the paths that its settings name.

    Example:
        >>> without_paths_of({"data": {"path": "/home/anna/films"}}, "no image in '/home/anna/films/train'")
        "no image in 'films/train'"
    """
    folders = {os.getcwd(), os.path.expanduser("~")}
    for path in _paths(settings, ""):
        whole = os.path.abspath(path)
        folders |= {path.rstrip("/").rpartition("/")[0], os.path.dirname(whole)}
    for folder in sorted(folders - {"", "/", "."}, key=len, reverse=True):
        text = text.replace(f"{folder}/", "")
    return text


def _paths(value: object, key: str) -> list[str]:
    if isinstance(value, Mapping):
        return [path for name, inner in value.items() for path in _paths(inner, f"{key}.{name}" if key else str(name))]
    if isinstance(value, list | tuple):
        return [path for item in value for path in _paths(item, key)]
    return [value] if isinstance(value, str) and is_marked(annotation_of(StudyConfig, key), PATH) else []


def _shown(value: Any, key: str, *, is_option: bool = False) -> Any:  # noqa: ANN401 - whatever the YAML holds
    annotation = annotation_of(StudyConfig, key)
    if isinstance(value, Mapping):
        is_option = is_option or _takes_options(annotation)
        return {name: _shown(inner, f"{key}.{name}", is_option=is_option) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(item, key, is_option=is_option) for item in value]
    is_path = not is_option if annotation is None else is_marked(annotation, PATH)
    return last_name(value) if isinstance(value, str) and is_path else value


def _takes_options(annotation: object) -> bool:
    """Return whether what a key holds, or each item of it, may have options: keys that the schema does not name."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation.model_config.get("extra") == "allow"
    return is_marked(annotation, OPTIONS) or any(map(_takes_options, get_args(annotation)))


def _word(word: str) -> str:
    key, equals, text = word.partition("=")
    annotation = annotation_of(StudyConfig, key) if equals else None
    if annotation is not None:
        try:
            value = value_of(annotation, text, where=key)
        except ConfigError:
            return f"{key}=..."
        shown = _shown(value, key)
        if shown == value:
            return word
        written = shown if isinstance(shown, str) else yaml.safe_dump(shown, default_flow_style=True, width=10**6)
        return f"{key}={written.strip()}"
    if equals and "/" not in key:
        return f"{key}={last_name(text)}"
    is_attached = word.startswith("-") and not word.startswith("--") and len(word) > 2
    return f"{word[:2]}{last_name(word[2:])}" if is_attached else last_name(word)
