"""The JSON files of a study folder: what a study and its report read in them, checked where they are read."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from trustseg.errors import DataError, first_problem
from trustseg.files import read_json

__all__ = [
    "MASKING_CHECKS",
    "Description",
    "Done",
    "Evaluation",
    "Failed",
    "MaskingCheck",
    "MaskingChecks",
    "MixtureDescription",
    "Progress",
    "Provenance",
    "StudyPlan",
    "checks_file",
    "read_checked",
]

MASKING_CHECKS: Final = "masking_checks.json"

_Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=0)]
_Share = Annotated[float, Field(ge=0, le=1)]


class _Content(BaseModel):
    """Part of a file, which may hold more than is named here."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)


_ContentT = TypeVar("_ContentT", bound=_Content)


class StudyPlan(_Content):
    """``plan.json``: the names of the cells."""

    cells: list[str] | None = None


class MixtureDescription(_Content):
    """What a cell that trains nothing measures: the models of other cells, combined.

    Attributes:
        members: names of the cells whose models it takes.
        samples: thinned networks of MC dropout through the one member; 0: a deep ensemble of all members.
        dropout: rate of the layer placed for MC dropout where the member has none.
    """

    members: list[str]
    samples: _Count = 0
    dropout: _Share = 0.0

    @property
    def passes(self) -> int:
        """Forward passes of a network that one belief takes."""
        return self.samples or len(self.members)


class Description(_Content):
    """``cell.json``: what a cell is."""

    id: str
    variant: str
    head: str
    selection: str = Field(validation_alias=AliasChoices("selection", "regime"))  # its former name
    fold: int
    seed: int
    values: Mapping[str, object] = {}
    mixture: MixtureDescription | None = None


class Done(_Content):
    """``done.json``: what a cell took, and the epochs, from 0, in which its training overfitted to the attack."""

    seconds_training: _Amount = math.nan
    seconds_evaluation: _Amount = math.nan
    epochs: _Count | None = None
    catastrophic_overfitting: list[int] = []


class Failed(_Content):
    """``failed.json``: what broke a cell."""

    error: str


class Progress(_Content):
    """``progress.json``: how far a cell is, and what it has taken so far."""

    stage: str
    done: _Count
    total: _Count
    seconds: Mapping[str, _Amount] = {}


class Evaluation(_Content):
    """``evaluation.json``: what a prediction costs, and the version of the table of severities."""

    passes: _Count = 0
    seconds_per_image: _Amount = math.nan
    timed_on: str | None = None
    timed_threads: _Count | None = None
    timed_batch_size: _Count | None = None
    shift_table: int | None = None


class _Images(_Content):
    digest: str | None = None
    notes: list[str] | None = None


class Provenance(_Content):
    """``provenance.json``: which images and which code."""

    data: _Images = _Images()
    commit: str | None = None
    dirty: bool | None = None
    command: str = ""
    settings_sha256: str = ""


class MaskingCheck(_Content):
    """One check of gradient masking; without a figure nothing was measured."""

    name: str
    status: Literal["ok", "suspicious", "not_run"]
    figure: float | None
    threshold: Annotated[float, Field(gt=0)]
    meaning: str


class MaskingChecks(_Content):
    """``masking_checks.json``: the checks of gradient masking."""

    checks: list[MaskingCheck]


def checks_file(folder: Path) -> Path:
    """Return the file of a run's checks of gradient masking, which was called ``suspicions.json``."""
    path, former = folder / MASKING_CHECKS, folder / "suspicions.json"
    return former if former.is_file() and not path.is_file() else path


def read_checked(path: Path, kind: type[_ContentT]) -> _ContentT:
    """Return the content of a JSON file after checking it.

    Args:
        path: the file.
        kind: what it has to be, one of the above.

    Raises:
        MissingFileError: if there is no such file.
        DataError: if the file is damaged or holds something else.
    """
    try:
        return kind.model_validate(read_json(path))
    except ValidationError as error:
        key, problem = first_problem(error)
        raise DataError(f"'{path}' is damaged ({key}: {problem}); restore it from the run") from error
