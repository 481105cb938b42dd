"""The folder that ``trustseg predict`` writes, described once for its readers: table, maps, and what made them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trustseg.errors import DataError, MissingFileError, first_problem
from trustseg.files import read_json, write_json
from trustseg.tables import read_csv
from trustseg.text import unicode_text

__all__ = [
    "ABOUT",
    "TABLE",
    "PredictedImage",
    "PredictionAbout",
    "PredictionFolder",
    "mask_file",
    "path_from",
    "read_prediction_folder",
    "uncertainty_file",
    "write_about",
]

TABLE: Final = "predictions.csv"
ABOUT: Final = "prediction.json"

_NUMBERS: Final = ("uncertainty", "predicted_fraction", "largest_probability", "width", "height")
_COLUMNS: Final = ("image", *_NUMBERS)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PredictedImage(_Part):
    """Where a predicted image lies, and what its file held.

    Attributes:
        image: its name in the table.
        file: its path from the folder of predictions, see ``path_from``; older files hold absolute paths.
        sha256: of the file.
    """

    image: str
    file: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @property
    def named(self) -> Path:
        """What its maps are named after: its file, or its name in the table where several files share theirs."""
        file = Path(self.file)
        return file if unicode_text(file.name) == self.image else Path(self.image)


class PredictionAbout(_Part):
    """``prediction.json``: what made the predictions, and from which files.

    Attributes:
        version: of this file.
        model: hash of the model and its calibration, as in ``evaluation.json``.
        measure: pixel measure of uncertainty.
        aggregation: map to image score.
        white: value of deep images that became 255; None if no image needed one.
        policy: content of the policy that chose the images to review; None without one.
        control: threshold of the masks, as ``trustseg defer masks`` wrote it; None for p > 0.5.
        area: interval of the areas, as ``trustseg defer area`` wrote it; None without one.
        images: one entry for each row of the table, in any order.
    """

    version: Literal[1] = 1
    model: str
    measure: str
    aggregation: str
    white: Annotated[int, Field(ge=1)] | None
    policy: Mapping[str, object] | None
    control: Mapping[str, object] | None
    area: Mapping[str, object] | None = None
    images: list[PredictedImage]


class PredictionFolder(NamedTuple):
    """A folder of predictions: what made them, and the rows of the table with their numbers as numbers."""

    about: PredictionAbout
    table: pl.DataFrame


def mask_file(folder: Path, image: Path) -> Path:
    """Return the mask (PNG, 0 or 255) that was predicted for an image of this name."""
    return folder / "masks" / f"{image.stem}.png"


def uncertainty_file(folder: Path, image: Path) -> Path:
    """Return the uncertainty map (PNG, 8 bit) of an image of this name."""
    return folder / "uncertainty" / f"{image.stem}.png"


def path_from(folder: Path, image: Path) -> str:
    """Return the path of an image from a folder of predictions, which names no folder that both lie in.

    Only the name of the image is returned where they share no more than the root, or the folder of all homes: the path
    would name a user, or where things are on this machine.
    """
    start, place = os.path.realpath(folder), os.path.realpath(image.parent)
    try:
        shared = os.path.commonpath([start, place])
    except ValueError:  # different drives
        return image.name
    if shared in (os.path.dirname(shared), os.path.dirname(os.path.expanduser("~"))):
        return image.name
    return Path(os.path.relpath(place, start), image.name).as_posix()


def write_about(about: PredictionAbout, folder: Path) -> None:
    """Write ``prediction.json``, whole or not at all."""
    write_json(folder / ABOUT, about.model_dump())


def read_prediction_folder(folder: Path) -> PredictionFolder:
    """Return what a folder of predictions says, checked.

    Raises:
        MissingFileError: if the folder, its table or ``prediction.json`` is not there.
        DataError: if one of them is damaged, or they are not about the same images.
    """
    for file in (folder / TABLE, folder / ABOUT):
        if not file.is_file():
            raise MissingFileError(f"no '{file}'; give a folder that 'trustseg predict' has written")
    try:
        about = PredictionAbout.model_validate(read_json(folder / ABOUT))
    except ValidationError as error:
        key, problem = first_problem(error)
        raise DataError(f"'{folder / ABOUT}' is damaged ({key}: {problem}); predict again") from error
    table = _read_table(folder / TABLE)
    named = [image.image for image in about.images]
    if sorted(named) != sorted(table["image"].to_list()) or len(set(named)) < len(named):
        raise DataError(f"'{folder / TABLE}' and '{folder / ABOUT}' name different images; predict again")
    return PredictionFolder(about, table)


def _read_table(path: Path) -> pl.DataFrame:
    try:
        table = read_csv(path, as_text=True)
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        raise DataError(f"'{path}' is not a table of predictions ({error}); predict again") from error
    missing = [name for name in _COLUMNS if name not in table.columns]
    if missing:
        raise DataError(f"'{path}' lacks the columns {', '.join(missing)}; predict again")
    if not len(table) or table["image"].null_count():
        raise DataError(f"'{path}' holds no image, or one without a name; predict again")
    numbers = table.with_columns(pl.col(name).cast(pl.Float64, strict=False) for name in _NUMBERS)
    for name in _NUMBERS:
        if numbers[name].null_count():
            row = int(numbers[name].is_null().arg_max() or 0)
            raise DataError(f"'{path}' row {row + 1}: {name} is {table[name][row]!r}, expected a number; predict again")
    if "review" in table.columns and not table["review"].is_in(["yes", "no"]).all():
        raise DataError(f"'{path}': review holds other words than yes and no; predict again")
    return numbers.with_columns(pl.col("width", "height").cast(pl.Int64))
