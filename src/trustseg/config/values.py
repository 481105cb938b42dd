"""One key and its value by themselves, apart from the run they would belong to."""

from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from trustseg.config.messages import sentence
from trustseg.config.names import allowed_names, check_names
from trustseg.config.schema import RunConfig
from trustseg.errors import ConfigError

__all__ = ["require_value"]


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
    place = tuple(key.split("."))
    field = _field(place)
    if field is None:
        unknown: ErrorDetails = {"type": "extra_forbidden", "loc": place, "msg": "", "input": value}
        raise ConfigError(f"{where}: {sentence(RunConfig, unknown)}")
    kind: Any = Annotated[field.annotation, field]
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        detail = error.errors()[0]
        detail["loc"] = (*place, *detail["loc"])
        raise ConfigError(f"{where}: {sentence(RunConfig, detail)}") from error
    if key in allowed_names() and isinstance(value, str):
        check_names(key, value)


def _field(place: tuple[str, ...]) -> FieldInfo | None:
    """Return the field of a run that a key names, None if there is no such key."""
    section: type[BaseModel] = RunConfig
    for part in place[:-1]:
        inner: Any = section.model_fields[part].annotation if part in section.model_fields else None
        if not isinstance(inner, type) or not issubclass(inner, BaseModel):
            return None
        section = inner
    return section.model_fields.get(place[-1])
