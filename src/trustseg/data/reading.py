"""How image files become arrays: the user's settings, and the decisions stored with a model."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, get_args

from trustseg.data.decode import Channels
from trustseg.data.intensity import WHITES, IntensityScale
from trustseg.data.mask_codes import MaskValues, parse_values
from trustseg.data.pack import Pack, coding_values
from trustseg.data.resizing import Fit
from trustseg.errors import ConfigError, DataError
from trustseg.files import read_json, write_json

__all__ = ["EPOCH", "ModelReading", "PackOptions", "reading_beside", "require_all", "write_reading"]

EPOCH: Final = "epoch.json"
"""File beside a model that says which epoch it is of; a training that writes it writes everything else, too."""

_FILE: Final = "data.json"


@dataclass(frozen=True, slots=True)
class PackOptions:
    """What a user sets of how images and masks become arrays; the keyword arguments of ``open_dataset``.

    Attributes:
        size: side of the square in pixels, >= 1.
        channels: 1 (grey) or 3 (RGB).
        fit: ``squash`` or ``pad`` images that are not square.
        mask_values: what the values of the masks mean (``trustseg.data.mask_coding``); None decides from the files.
    """

    size: int
    channels: Channels = 1
    fit: Fit = "squash"
    mask_values: MaskValues | None = None

    def __post_init__(self) -> None:
        if self.size < 1 or self.channels not in get_args(Channels) or self.fit not in get_args(Fit):
            raise ConfigError(
                f"size {self.size}, channels {self.channels}, fit '{self.fit}': expected a size of at least 1, 1 or 3 "
                f"channels, and {' or '.join(get_args(Fit))}"
            )
        if self.mask_values is not None:
            parse_values(self.mask_values)


@dataclass(frozen=True, slots=True)
class ModelReading:
    """How the images that a model was trained on were read, so that other images are read alike: fields of ``Pack``."""

    size: int
    channels: Channels
    fit: Fit
    white: int | None

    @property
    def scale(self) -> IntensityScale:
        """The intensity scale for other images."""
        return IntensityScale(self.white)


def write_reading(model: Path, pack: Pack) -> None:
    """Write ``data.json`` into a model's folder: how the images of its training were read, and what was noted."""
    about = {field.name: getattr(pack, field.name) for field in fields(ModelReading)}
    write_json(model / _FILE, {**about, "coding": coding_values(pack.coding), "notes": list(pack.notes)})


def reading_beside(model: Path) -> ModelReading | None:
    """Return how the images of a model's training were read; None if nothing was written down (older models)."""
    file = model / _FILE
    if not file.exists():
        require_all(model, _FILE)
        return None
    match read_json(file):
        case {
            "size": int(size),
            "channels": 1 | 3 as channels,
            "fit": "squash" | "pad" as fit,
            "white": None | int() as white,
        } if size > 0 and (white is None or white in WHITES):
            return ModelReading(size, channels, fit, white)
    raise DataError(f"'{file}' does not say how the images of the training were read; restore it from the run")


def require_all(model: Path, lost: str) -> None:
    """Raise a DataError if the training of a model wrote down what is lost: nobody decides that again in silence."""
    if (model / EPOCH).exists():
        raise DataError(f"no {lost} in '{model}', though its training wrote one; restore it from the run")
