"""Request bodies, checked: nothing else reaches the review."""

import base64
import binascii
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from trustseg.errors import DataError
from trustseg.review.actions import Verdict
from trustseg.review.state import Decision

__all__ = ["Credentials", "DecisionBody", "RatingBody", "SwitchBody", "WithdrawalBody"]

_Key = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
_Seconds = Annotated[float, Field(ge=0, le=86400, allow_inf_nan=False)]
_Text = Annotated[str, StringConstraints(max_length=2000, strip_whitespace=True)]
_Secret = Annotated[str, StringConstraints(max_length=256)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Credentials(_Body):
    """A log-in: a token, or a name and a password."""

    token: _Secret = ""
    name: _Secret = ""
    password: _Secret = ""


class WithdrawalBody(_Body):
    """Nothing but the key, which every write has."""

    key: _Key


class RatingBody(WithdrawalBody):
    """A rating of the image alone: 1 (surely no foreground) to 5 (surely some)."""

    rating: Annotated[int, Field(ge=1, le=5)]
    seconds: _Seconds


class DecisionBody(WithdrawalBody):
    """A decision on a mask; ``mask`` is a PNG in base64."""

    decision: Decision
    confidence: Annotated[int, Field(ge=1, le=5)] | None = None
    comment: _Text = ""
    seconds: _Seconds
    layers: Annotated[list[Literal["mask", "contour", "uncertainty", "attacked"]], Field(max_length=4)] = []
    mask: str | None = None

    def verdict(self) -> Verdict:
        """Return it with the mask as bytes; a DataError if that is no base64."""
        try:
            mask = None if self.mask is None else base64.b64decode(self.mask, validate=True)
        except (binascii.Error, ValueError) as error:
            raise DataError("the mask is not written in base64") from error
        return Verdict(self.decision, self.confidence, self.comment, self.seconds, self.layers, mask)


class SwitchBody(WithdrawalBody):
    """The stop switch: on or off, and why."""

    stop: bool
    reason: _Text = ""
