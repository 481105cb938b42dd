"""A fitted calibration: applied to beliefs, stored with the model that it was fitted for."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final, Generic, Protocol, Self, TypeVar

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass
from safetensors.torch import save
from torch import Tensor, nn

from trustseg.beliefs import Belief, Bernoulli, Beta
from trustseg.calibration.maps import MAPS, parameters_of
from trustseg.errors import ModelError, first_problem
from trustseg.files import read_json, write_json

__all__ = ["CALIBRATION_FILE", "LARGEST_FACTOR", "LARGEST_OFFSET", "Calibratable", "Calibrated", "Calibration"]

CALIBRATION_FILE: Final = "calibration.json"
FORMAT: Final = 1  # version of the file; raised when its layout changes
LARGEST_FACTOR: Final = 1e3  # a fit keeps each factor between 1 / LARGEST_FACTOR and this,
LARGEST_OFFSET: Final = 1e2  # and an offset between -LARGEST_OFFSET and this


@dataclass(frozen=True, slots=True, config=ConfigDict(strict=True, extra="forbid"))
class Calibration:
    """A calibration map with its fitted parameters, and what they were fitted on.

    Attributes:
        method: a name in ``MAPS``.
        parameters: name -> value of each parameter of the map.
        split: name of the images it was fitted on, ``"validation"`` or ``"calibration"``.
        images: how many.
        patients: how many different patients.
        patients_hash: short hash of their names, to tell whether two fits saw the same patients.
        nll_before: mean negative log-likelihood of a pixel in nats, uncalibrated.
        nll_after: the same, calibrated; on these images never larger.
    """

    method: str
    parameters: Mapping[str, Annotated[float, Field(allow_inf_nan=False)]]
    split: str
    images: int
    patients: int
    patients_hash: str
    nll_before: float
    nll_after: float

    @property
    def at_limit(self) -> tuple[str, ...]:
        """Return the parameters that ended at the limit of a fit: the labels ask for no evidence, or for certainty."""
        sizes = {
            name: abs(value) / LARGEST_OFFSET if name == "offset" else abs(math.log(value)) / math.log(LARGEST_FACTOR)
            for name, value in self.parameters.items()
        }
        return tuple(name for name, size in sizes.items() if size > 0.999)

    def apply(self, belief: Belief) -> Bernoulli | Beta:
        """Return the calibrated belief."""
        return MAPS[self.method](belief, *self.parameters.values())

    def save(self, folder: Path | str) -> Path:
        """Write ``calibration.json``, with the hash of the weights, into the folder of the model and return it."""
        path = Path(folder)
        about = {"format": FORMAT, "model_sha256": read_json(path / "model.json").get("sha256"), **asdict(self)}
        write_json(path / CALIBRATION_FILE, about | {"at_limit": self.at_limit})
        return path

    @staticmethod
    def load(folder: Path | str) -> "Calibration":
        """Return the calibration in a model's folder.

        Raises:
            MissingFileError: if the folder holds no ``calibration.json`` or ``model.json``.
            ModelError: if the file is damaged, of another version, or was fitted for other weights.
        """
        path = Path(folder) / CALIBRATION_FILE
        content: dict[str, Any] = read_json(path)
        if content.pop("format", None) != FORMAT:
            raise ModelError(f"'{path}' is not a calibration of format {FORMAT}; fit it again with this version")
        if content.pop("model_sha256", None) != read_json(Path(folder) / "model.json").get("sha256"):
            raise ModelError(f"'{path}' was fitted for other weights than those next to it; fit it again")
        content.pop("at_limit", None)  # for readers of the file; it follows from the parameters
        try:
            return Calibration(**content)
        except ValidationError as error:
            problem = ": ".join(filter(None, first_problem(error)))
            raise ModelError(f"'{path}' is not a calibration ({problem}); fit it again") from error

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.method not in MAPS:
            raise ValueError(f"unknown method {self.method!r}")
        if tuple(self.parameters) != parameters_of(self.method):
            raise ValueError(f"its parameters are {', '.join(self.parameters) or 'none'}")
        for name, value in self.parameters.items():
            if name != "offset" and value <= 0:
                raise ValueError(f"{name} is {value}, expected a number above 0")
        return self


SpecT_co = TypeVar("SpecT_co", covariant=True)


class Calibratable(Protocol[SpecT_co]):
    """A module from images (B, C, H, W) in [0, 1] to beliefs."""

    @property
    def spec(self) -> SpecT_co:
        """What it is built from."""

    @property
    def passes(self) -> int:
        """Forward passes per belief."""

    def __call__(self, images: Tensor) -> Belief:
        """Return the belief about each pixel."""


class Calibrated(nn.Module, Generic[SpecT_co]):
    """A model whose beliefs are calibrated.

    Args:
        model: a module from images to a Bernoulli or Beta belief, such as a ``Segmenter``; ``spec`` and ``passes`` are
            its.
        calibration: fitted on this model's beliefs.

    Example:
        >>> import torch
        >>> from trustseg.beliefs import Bernoulli
        >>> class Undecided(nn.Module):
        ...     spec, passes = "undecided", 1
        ...     def forward(self, images):
        ...         return Bernoulli(torch.ones_like(images))
        >>> halved = Calibration("temperature_scaling", {"temperature": 2.0}, "validation", 3, 3, "", 0.7, 0.6)
        >>> Calibrated(Undecided(), halved).belief(torch.rand(1, 1, 1, 1)).log_odds.item()
        0.5
    """

    def __init__(self, model: Calibratable[SpecT_co], calibration: Calibration) -> None:
        super().__init__()
        self.model = model
        self.calibration = calibration

    @property
    def passes(self) -> int:
        """Forward passes per belief."""
        return self.model.passes

    @property
    def spec(self) -> SpecT_co:
        """What the model is built from."""
        return self.model.spec

    def forward(self, images: Tensor) -> Bernoulli | Beta:
        """Return the calibrated belief about each pixel of ``images`` (B, C, H, W) in [0, 1]."""
        return self.calibration.apply(self.model(images))

    def belief(self, images: Tensor) -> Bernoulli | Beta:
        """Return the calibrated belief; see ``forward``."""
        belief: Bernoulli | Beta = self(images)
        return belief

    def weights(self) -> bytes:
        """Return the model's weights, with the calibration, as the content of a safetensors file."""
        tensors = {name: value.detach().cpu().contiguous().clone() for name, value in self.state_dict().items()}
        return save(tensors, metadata={"calibration": json.dumps(asdict(self.calibration))})
