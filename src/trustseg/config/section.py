"""The base of every section of a configuration: frozen, and refusing unknown keys."""

from typing import Annotated, Final, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from trustseg.entries import name_in, number, written
from trustseg.errors import ConfigError, first_problem
from trustseg.former_names import current_aggregation

__all__ = [
    "OPTIONS",
    "PATH",
    "AggregationName",
    "Budget",
    "FolderOrFile",
    "NameWithOptions",
    "Section",
    "is_marked",
    "number",
    "sections_of",
]

OPTIONS: Final = "options"  # marks a text that may be given as a map of name and options
PATH: Final = "path"  # marks a text that is a path: reports show its last name alone

FolderOrFile = Annotated[str, Field(min_length=1), PATH]


def is_marked(annotation: object, mark: str) -> bool:
    """Return whether a type, or a part of it, is marked by ``OPTIONS`` or ``PATH``."""
    if isinstance(annotation, FieldInfo):
        return mark in annotation.metadata
    return annotation == mark or any(is_marked(inner, mark) for inner in get_args(annotation))


def _current(value: object) -> object:
    text = written(value)
    return current_aggregation(name_in(text)) + text[len(name_in(text)) :] if isinstance(text, str) else text


NameWithOptions = Annotated[str, BeforeValidator(written), OPTIONS]
"""The name of an entry, or ``{name: ..., option: ...}``, which is kept as the text ``name(option=...)``."""

AggregationName = Annotated[str, BeforeValidator(_current), OPTIONS]
"""A name in ``trustseg.uncertainty.AGGREGATIONS``, or what an earlier version called it, with or without options."""

Budget = Annotated[float, Field(ge=0, json_schema_extra={"format": "fraction"}), BeforeValidator(number)]
"""An attack budget in pixel units of [0, 1]; may be written as a fraction, such as 4/255."""


class Section(BaseModel):
    """Base of all sections: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_number_is_a_switch(cls, value: object, info: ValidationInfo) -> object:
        """Refuse true and false where a number belongs; YAML also reads yes, no, on and off as these."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError(f"got {str(value).lower()}, which is a switch; give a number, or quote a word")
        return value


_Section = TypeVar("_Section", bound=Section)


def sections_of(
    content: object, key: str, kind: type[_Section], *, word: str, where: str, example: str
) -> list[_Section]:
    """Return the entries of a file that holds a list of sections under one key.

    Args:
        content: of the file.
        key: above the list.
        kind: of section.
        word: for an entry.
        where: the file, in words.
        example: of such a file, for the error.

    Raises:
        ConfigError: if there is no such list; or of the first entry that does not fit: its name or number, and its key.
    """
    entries = content.get(key) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise ConfigError(f"{where} has no list '{key}:'; see {example}")
    sections = []
    for place, entry in enumerate(entries, start=1):
        try:
            sections.append(kind.model_validate(entry))
        except ValidationError as error:
            name = entry.get("name", place) if isinstance(entry, dict) else place
            field, problem = first_problem(error)
            hint = f"; known: {', '.join(kind.model_fields)}" if field and field not in kind.model_fields else ""
            raise ConfigError(f"{where}, {word} {name}: {f'{field}: ' if field else ''}{problem}{hint}") from error
    return sections
