"""The contents of a report: the cells of a study, finished or not, or the evaluations of a single run."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import polars as pl

from trustseg.config.privacy import settings_digest
from trustseg.errors import DataError, MissingFileError
from trustseg.records import CALIBRATION, HISTOGRAMS, RECORDS, read_records
from trustseg.reporting.labels import describe_variant
from trustseg.run_files import Description, Done, Failed, Provenance, StudyPlan, read_checked
from trustseg.tables import read_csv
from trustseg.yaml_files import parse_yaml

__all__ = ["FinishedCell", "MissingCell", "load_cells", "load_evaluations", "load_settings", "read_file", "section"]

T = TypeVar("T")

# What ``evaluate`` appends to the name of a run whose model it calibrated or combined, see ``suffix_of``.
_SUFFIX: Final = re.compile(r"-(mc\d+(-dropout[\d.]+)?|ensemble\d+(-calibrated)?|calibrated)$")
_CALIBRATED: Final = ", calibrated"


class FinishedCell(Description):
    """One finished run of a study: one variant, one fold, one seed; with the settings that it was run with."""

    folder: Path
    provenance: Provenance = Provenance()
    done: Done = Done()
    settings: Mapping[str, Any] = {}

    @property
    def has_pixels(self) -> bool:
        """Whether its tables of pixels are there; published results are records alone."""
        return (self.folder / HISTOGRAMS.name).is_file()

    @property
    def members(self) -> tuple[str, ...]:
        """The runs that a mixture is made of, whose seed is the first one's; none for a run with its own training."""
        return () if self.mixture is None else tuple(self.mixture.members)


@dataclass(frozen=True, slots=True)
class MissingCell:
    """A cell that is not in the report, and why."""

    id: str
    variant: str
    reason: str


def load_cells(folder: Path) -> list[FinishedCell | MissingCell]:
    """Return the cells in the plan of a study, in its order; all cells where there is no plan."""
    plan, cells = folder / "plan.json", folder / "cells"
    names = read_checked(plan, StudyPlan).cells if plan.is_file() else None
    if names is None:
        names = sorted(path.parent.name for path in cells.glob("*/cell.json"))
    absent = [name for name in names if not (cells / name / "cell.json").is_file()]
    states = [_load_cell(cells / name) for name in names if name not in absent]
    return [*states, *(MissingCell(name, name, "its folder is gone") for name in absent)]


def load_evaluations(folder: Path) -> list[FinishedCell]:
    """Return an evaluation in ``folder``, or those of the test images where ``folder`` is a run, each as a cell.

    Raises:
        MissingFileError: if there are none.
    """
    places = [folder] if (folder / "evaluation.json").is_file() else sorted(folder.glob("evaluation-test*"))
    found = [place for place in places if not _missing_tables(place)]
    if not found:
        is_run = (folder / "model" / "model.json").is_file()
        advice = f"run 'trustseg evaluate {folder}'" if is_run else "give the folder of a study, a run or an evaluation"
        raise MissingFileError(f"'{folder}' holds no study and no evaluation; {advice}")
    cells = [_load_evaluation(place) for place in found]
    if all(cell.variant.endswith(_CALIBRATED) for cell in cells):  # then it tells none from another
        return [cell.model_copy(update={"variant": cell.variant.removesuffix(_CALIBRATED)}) for cell in cells]
    return cells


def _load_evaluation(folder: Path) -> FinishedCell:
    path, described = folder / RECORDS.name, _common_fields(folder)
    for place in (folder, folder.parent):
        _require_unchanged(place)
    records, config = read_records(path), described["settings"]
    if not {"cell", "variant", "head"} <= set(records.columns) or not len(records):
        raise DataError(f"'{path}' does not say which model it is of (cell, variant, head); evaluate again")
    name, variant, head = records.select("cell", "variant", "head").row(0)
    fold, selection = section(config, "data").get("fold"), str(section(config, "adversarial").get("selection", "none"))
    if variant == name and config:  # the name of the run's folder says nothing of what was trained
        suffix = _SUFFIX.search(name)
        variant = f"{head}, {selection}" + (suffix[0].replace("-", ", ") if suffix else "")
    return FinishedCell(
        id=name,
        variant=describe_variant(variant, head=head, selection=selection),
        head=head,
        selection=selection,
        fold=-1 if fold is None else fold,
        seed=section(config, "training").get("seed", 0),
        done=_training_of(folder.parent / "metrics.csv"),
        **described,
    )


def _require_unchanged(folder: Path) -> None:
    """Raise a DataError if the settings of a run or an evaluation are not those that it was started with."""
    provenance, settings = folder / "provenance.json", folder / "config.yaml"
    if not (provenance.is_file() and settings.is_file()):
        return
    digest = read_checked(provenance, Provenance).settings_sha256  # older runs have none
    if digest and digest != settings_digest(load_settings(settings)):
        raise DataError(f"'{settings}' was changed after the run was started; restore it from the run")


def _training_of(log: Path) -> Done:
    """Return the epochs and seconds that a training log tells of, nothing where there is none."""
    table = read_file(log, read_csv) if log.is_file() else pl.DataFrame()
    if not {"epoch", "seconds"} <= set(table.columns) or not table["seconds"].dtype.is_numeric():
        return Done()
    epochs = table.group_by("epoch").agg(pl.col("seconds").drop_nulls().last())
    return Done(epochs=len(epochs), seconds_training=float(epochs["seconds"].sum()))


def _missing_tables(folder: Path) -> list[str]:
    """Return the tables that a report needs and a folder lacks; the tables of pixels come together or not at all."""
    of_pixels = [HISTOGRAMS.name, CALIBRATION.name]
    absent = [name for name in (RECORDS.name, *of_pixels) if not (folder / name).is_file()]
    return [] if absent == of_pixels else absent


def _load_cell(folder: Path) -> FinishedCell | MissingCell:
    description = read_checked(folder / "cell.json", Description)
    variant = describe_variant(description.variant, head=description.head, selection=description.selection)
    if not (folder / "done.json").is_file():
        failed = folder / "failed.json"
        reason = f"failed: {read_checked(failed, Failed).error}" if failed.is_file() else "not finished"
        return MissingCell(description.id, variant, reason)
    if absent := _missing_tables(folder):
        return MissingCell(description.id, variant, f"marked as done, but without {', '.join(absent)}")
    fields = description.model_dump(include=set(Description.model_fields)) | {"variant": variant}
    return FinishedCell(**fields, done=read_checked(folder / "done.json", Done), **_common_fields(folder))


def _common_fields(folder: Path) -> dict[str, Any]:
    settings, provenance = folder / "config.yaml", folder / "provenance.json"
    return {
        "folder": folder,
        "provenance": read_checked(provenance, Provenance) if provenance.is_file() else Provenance(),
        "settings": load_settings(settings) if settings.is_file() else {},
    }


def section(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a section of settings, empty where there is none."""
    content = settings.get(name)
    return content if isinstance(content, dict) else {}


def load_settings(path: Path) -> Mapping[str, Any]:
    """Return the settings that a study wrote into a YAML file."""
    content = read_file(path, lambda path: parse_yaml(path.read_text(encoding="utf-8"), where=f"'{path}'"))
    if not isinstance(content, dict) or not content:
        found = f"holds a {type(content).__name__} instead of settings" if content else "holds no settings"
        raise DataError(f"'{path}' {found}; restore it from the run")
    return content


def read_file(path: Path, reader: Callable[[Path], T]) -> T:
    """Return what ``reader`` makes of the file; a DataError names a file that cannot be read."""
    try:
        return reader(path)
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"cannot read {path}: {reason}; restore it or, if it belongs to a cell, delete the folder of that cell and "
            "run the study again"
        ) from error
