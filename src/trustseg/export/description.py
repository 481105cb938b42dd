"""The description that an exported file holds, as JSON."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from trustseg import __version__
from trustseg.data.intensity import IntensityScale
from trustseg.data.resizing import Fit
from trustseg.deferral import Policy
from trustseg.deferral.policy_files import content_of
from trustseg.errors import ModelError

__all__ = ["KEY", "Description", "Input", "Precision", "describe", "read_description"]

KEY: Final = "trustseg"
"""Name of the metadata of an ONNX file that holds the description; in a .pt2 file it is ``trustseg.json``."""

_FORMAT: Final = 1  # raised when the description, the input or the outputs change

Precision = Literal["fp32", "fp16", "int8"]

Input = Literal["uint8", "float32"]
"""Type of the images: grey levels 0 to 255, or values in [0, 1] that are rounded to these."""


class Description(BaseModel):
    """What an exported file says of itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = _FORMAT  # of this description, of the input and of the outputs
    version: str = __version__
    model: str  # ``hash_of_model``
    spec: dict[str, Any]  # by field of ``SegmenterSpec``
    calibration: dict[str, Any] | None = None  # method and parameters
    measure: str
    aggregation: str
    policy: dict[str, Any] | None = None  # without the hashes of its patients
    fit: Fit
    white: int | None = None  # value of deep images that is 255
    input: Input = "uint8"
    precision: Precision = "fp32"  # of the network's weights
    target: str | None = None  # what the masks mark
    seen: dict[str, Any] | None = None  # content of ``splits.json`` (salted hashes)

    @property
    def size(self) -> int:
        """Side of the model's square in pixels."""
        return int(self.spec["size"])

    @property
    def channels(self) -> Literal[1, 3]:
        """Channels of the model's images: 1 (grey) or 3 (RGB); the file takes either."""
        return 3 if self.spec["channels"] == 3 else 1

    @property
    def scale(self) -> IntensityScale:
        """The intensity scale of the images of the training."""
        return IntensityScale(self.white)

    def text(self) -> str:
        """Return the description as JSON."""
        return json.dumps(self.model_dump(mode="python"))


def describe(policy: Policy | None, **about: Any) -> Description:  # noqa: ANN401 - fields of Description
    """Return the description of a file that keeps a policy, if there is one."""
    return Description(policy=None if policy is None else content_of(replace(policy, patient_hashes=())), **about)


def read_description(text: str, *, where: str) -> Description:
    """Return the description in the JSON of a file; ``where`` is its name."""
    try:
        content = json.loads(text)
        version = content.get("format") if isinstance(content, Mapping) else None
        if version != _FORMAT:
            raise ModelError(f"'{where}' was exported in format {version}, expected {_FORMAT}; export the model again")
        return Description.model_validate(content)
    except ModelError:
        raise
    except ValueError as error:  # of pydantic too
        raise ModelError(f"'{where}' holds a damaged description of trustseg; export the model again") from error
