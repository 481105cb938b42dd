"""What every section of a configuration shares: it is frozen, and refuses what it does not know."""

from fractions import Fraction
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from trustseg.former_names import current_aggregation

__all__ = ["PATH", "AggregationName", "Budget", "FolderOrFile", "Section", "number"]

_LONGEST: Final = 40  # characters of a fraction


def number(value: object) -> object:
    """Turn a fraction such as "4/255" or "0.5/255" into a float; leave everything else to pydantic."""
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


PATH: Final = "path"  # says of a text in the schema that it is one: reports show its last name alone

FolderOrFile = Annotated[str, Field(min_length=1), PATH]


def _current(value: object) -> object:
    return current_aggregation(value) if isinstance(value, str) else value


AggregationName = Annotated[str, BeforeValidator(_current)]
"""A name in ``trustseg.uncertainty.AGGREGATIONS``, or what an earlier version called it."""

Budget = Annotated[float, BeforeValidator(number), Field(ge=0)]


class Section(BaseModel):
    """Base of all sections: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_number_is_a_switch(cls, value: object, info: ValidationInfo) -> object:
        """Refuse true and false where a number belongs; YAML also reads yes, no, on and off as these."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError(f"got {str(value).lower()}, another kind of value was expected; quote it if it is a word")
        return value
