"""What every section of a configuration shares: it is frozen, and refuses what it does not know."""

from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from trustseg.entries import name_in, number, written
from trustseg.former_names import current_aggregation

__all__ = ["OPTIONS", "PATH", "AggregationName", "Budget", "FolderOrFile", "NameWithOptions", "Section", "number"]

OPTIONS: Final = "options"  # says of a text in the schema that it may be given as a map of name and options
PATH: Final = "path"  # says of a text in the schema that it is one: reports show its last name alone

FolderOrFile = Annotated[str, Field(min_length=1), PATH]


def _current(value: object) -> object:
    """Return an aggregation by its present name, as one text."""
    text = written(value)
    return current_aggregation(name_in(text)) + text[len(name_in(text)) :] if isinstance(text, str) else text


NameWithOptions = Annotated[str, BeforeValidator(written), OPTIONS]
"""The name of an entry, or ``{name: ..., option: ...}``, which is kept as the text ``name(option=...)``."""

AggregationName = Annotated[str, BeforeValidator(_current), OPTIONS]
"""A name in ``trustseg.uncertainty.AGGREGATIONS``, or what an earlier version called it, with or without options."""

Budget = Annotated[float, BeforeValidator(number), Field(ge=0)]


class Section(BaseModel):
    """Base of all sections: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_number_is_a_switch(cls, value: object, info: ValidationInfo) -> object:
        """Refuse true and false where a number belongs; YAML also reads yes, no, on and off as these."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError(f"got {str(value).lower()}, which is a switch; quote it if it is a word")
        return value
