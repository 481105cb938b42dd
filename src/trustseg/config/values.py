"""Checking a single key and its value, apart from a run."""

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from trustseg.config.keys import annotation_of
from trustseg.config.messages import sentence, unknown_key
from trustseg.config.names import allowed_names, check_names
from trustseg.config.run import RunConfig
from trustseg.config.section import OPTIONS, is_marked
from trustseg.errors import ConfigError
from trustseg.yaml_files import parse_yaml

__all__ = ["require_value", "value_of"]


def require_value(key: str, value: object, *, where: str) -> None:
    """Check that a run has a key and that it may hold a value; what it goes together with is not looked at.

    Args:
        key: dotted, e.g. ``"model.head"``.
        value: as YAML gives it.
        where: what the error begins with.

    Raises:
        ConfigError: if it does not, or may not.

    Example:
        >>> require_value("model.head", "beta", where="here")
        >>> require_value("adversarial.eps", "4/255", where="here")
    """
    annotation = annotation_of(RunConfig, key)
    if annotation is None:
        raise ConfigError(f"{where}: {unknown_key(RunConfig, key, key)}")
    try:
        TypeAdapter(annotation).validate_python(value)
    except ValidationError as error:
        detail = error.errors()[0]
        detail["loc"] = (*key.split("."), *detail["loc"])
        raise ConfigError(f"{where}: {sentence(RunConfig, detail)}") from error
    if key in allowed_names() and isinstance(value, str):
        check_names(key, value)


def value_of(annotation: object, text: str, *, where: str) -> object:
    """Return the value that a text on the command line stands for: a text as it is, everything else read as YAML.

    Args:
        annotation: the type of the value.
        text: what was typed.
        where: what an error begins with.

    Raises:
        ConfigError: if it is not YAML.

    Example:
        >>> value_of(str | None, "a #b", where=""), value_of(str | None, "null", where=""), value_of(int, "3", where="")
        ('a #b', None, 3)
        >>> value_of(tuple[str, ...], "[on, 1e3]", where=""), value_of(tuple[float, ...], "[1, 4/255]", where="")
        (['on', '1e3'], [1, '4/255'])
    """
    if text.startswith("{") and is_marked(annotation, OPTIONS):
        return parse_yaml(text, where=where, as_text=True)
    if _is_text(annotation) or annotation is None:
        return _none_if_null(annotation, text)
    items = get_args(_plain(annotation))
    if not items or not _is_text(items[-1] if items[-1] is not Ellipsis else items[0]):
        return parse_yaml(text, where=where)
    value = parse_yaml(text, where=where, as_text=True)
    return [_none_if_null(items[0], item) for item in value] if isinstance(value, list) else value


def _plain(annotation: Any) -> Any:  # noqa: ANN401 - any type
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    options = [option for option in get_args(annotation) if option is not NoneType]
    return _plain(options[0]) if get_origin(annotation) in (Union, UnionType) and len(options) == 1 else annotation


def _is_text(annotation: object) -> bool:
    plain = _plain(annotation)
    is_choice = get_origin(plain) is Literal and all(isinstance(choice, str) for choice in get_args(plain))
    return plain is str or is_choice


def _none_if_null(annotation: object, text: object) -> object:
    """Return None for "null" where a text may be missing."""
    inner = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    return None if text == "null" and NoneType in get_args(inner) else text
