"""What a study folder holds: its finished cells, their tables, and which cells are missing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import polars as pl

from trustseg.errors import DataError, MissingFileError
from trustseg.files import read_json
from trustseg.records import CALIBRATION, HISTOGRAMS, check_pixels, read_records, read_table
from trustseg.run_files import Description, Done, Provenance, StudyPlan, read_checked
from trustseg.tables import read_csv, read_parquet, scan_parquet
from trustseg.yaml_files import parse_yaml

__all__ = [
    "FinishedCell",
    "Results",
    "at",
    "is_generated",
    "load_calibration",
    "load_histogram",
    "load_results",
    "load_training",
    "settings_of",
]

T = TypeVar("T")

_TABLES: Final = ("records.parquet", "histograms.parquet", "calibration.parquet")


@dataclass(frozen=True, slots=True)
class FinishedCell:
    """One finished run of a study: one variant, one fold, one seed.

    A run without a training of its own names the ``members`` that its mixture is made of; its seed is the first one's.
    """

    id: str
    variant: str
    head: str
    regime: str
    fold: int
    seed: int
    values: Mapping[str, Any]
    folder: Path
    provenance: Provenance
    done: Done
    config: str
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Missing:
    """A cell that is not in the report, and why."""

    id: str
    variant: str
    reason: str


@dataclass(frozen=True, slots=True)
class Results:
    """The finished part of a study.

    Attributes:
        folder: the study folder.
        study: the resolved study configuration.
        cells: finished cells.
        missing: cells that did not finish.
        records: one row per (cell, image, condition) of the test images, eps in pixel units of [0, 1]; ``kind`` is
            clean, attack or shift.
        populations: the same of images of other populations, whose condition is the name of the population.
    """

    folder: Path
    study: Mapping[str, Any]
    cells: tuple[FinishedCell, ...]
    missing: tuple[Missing, ...]
    records: pl.DataFrame
    populations: pl.DataFrame = field(default_factory=pl.DataFrame)

    @property
    def variants(self) -> list[str]:
        """Variants in the order of their cells."""
        return list(dict.fromkeys(cell.variant for cell in self.cells))

    def cells_of(self, variant: str) -> list[FinishedCell]:
        """Return the folds and seeds of one variant."""
        return [cell for cell in self.cells if cell.variant == variant]

    def trainings_of(self, variant: str) -> set[str]:
        """Return the names of the trained models behind a variant."""
        return {name for cell in self.cells_of(variant) for name in cell.members or (cell.id,)}

    def is_mixture(self, variant: str) -> bool:
        """Return whether a variant combines the models of others."""
        return any(cell.members for cell in self.cells_of(variant))


def load_results(folder: Path) -> Results:
    """Return the finished cells of a study folder and the names of those that are missing.

    Args:
        folder: a folder that ``trustseg study`` wrote, with ``study.yaml`` and ``cells/``.

    Returns:
        The results; records of all finished cells in one table.

    Raises:
        MissingFileError: if the folder is not there or is no study folder, or if no cell has finished.
        DataError: if a file in it cannot be read.
    """
    study_file = folder / "study.yaml"
    if not folder.is_dir():
        raise MissingFileError(
            f"no folder {folder}; expected the folder of a study; give the one 'trustseg study' printed"
        )
    if not study_file.is_file() or not (folder / "cells").is_dir():
        raise MissingFileError(
            f"{folder} holds no study; expected study.yaml and cells/ in it; give the folder 'trustseg study' printed"
        )
    study = _mapping(_read(study_file, _text), study_file)
    states = [_load_cell(cell) for cell in _cell_folders(folder)]
    cells = tuple(state for state in states if isinstance(state, FinishedCell))
    missing = tuple(state for state in states if isinstance(state, Missing))
    if not cells:
        reason = f"; first reason: {missing[0].reason}" if missing else ""
        raise MissingFileError(
            f"none of the {len(states)} cells in {folder} has finished; expected at least one{reason}; "
            "run 'trustseg study' again, it goes on where it stopped"
        )
    records = _load_records(cells)
    elsewhere = pl.col("kind") == "population"
    return Results(folder, study, cells, missing, records.filter(~elsewhere), records.filter(elsewhere))


def settings_of(cell: FinishedCell) -> Mapping[str, Any]:
    """Return the settings that a cell was run with.

    Raises:
        DataError: if its file does not hold settings.
    """
    return _mapping(cell.config, cell.folder / "config.yaml")


def _mapping(text: str, file: Path) -> Mapping[str, Any]:
    content = _read(file, lambda _: parse_yaml(text, where=f"'{file}'"))
    if content is not None and not isinstance(content, dict):
        raise DataError(f"'{file}' holds a {type(content).__name__}, settings were expected; restore it from the run")
    return content or {}


def is_generated(results: Results) -> bool:
    """Return whether the images of a study are known to be generated: it names no data, or a folder of phantoms."""
    data = results.study.get("data")
    if not isinstance(data, dict) or "path" not in data:
        return False
    return data["path"] is None or (Path(str(data["path"])) / "phantoms.json").is_file()


def load_histogram(cell: FinishedCell, *, condition: str, eps: float, measure: str) -> pl.DataFrame:
    """Return counts per uncertainty bin and patient for one cell, condition and measure.

    Returns:
        Columns ``patient, bin, count, wrong, brier``; no rows where the cell did not store the measure.
    """
    table = _read(cell.folder / "histograms.parquet", scan_parquet)
    chosen = table.filter(at(condition, eps), pl.col("measure") == measure)
    return _read(
        cell.folder / "histograms.parquet",
        lambda _: chosen.select("patient", "bin", "count", "wrong", pl.col("brier").cast(pl.Float64)).collect(),
    )


def load_calibration(cell: FinishedCell, *, condition: str, eps: float, region: str = "whole") -> pl.DataFrame:
    """Return sums per probability bin and patient: ``patient, bin, count, sum_probability, sum_reference``.

    Args:
        cell: the run.
        condition: name of the condition.
        eps: its budget.
        region: which pixels: ``"whole"``, ``"boundary"`` or ``"foreground"``; tables without regions hold the whole.
    """
    table = _read(cell.folder / "calibration.parquet", read_parquet)
    if "region" not in table.columns:
        table = table.with_columns(region=pl.lit("whole"))
    return table.filter(at(condition, eps), pl.col("region") == region).drop("condition", "eps", "region")


def load_training(cell: FinishedCell) -> pl.DataFrame | None:
    """Return one row per epoch of the training log, the last value of each column, or None where there is no log."""
    path = cell.folder / "metrics.csv"
    if not path.is_file():
        return None
    table = _read(path, read_csv)
    if "epoch" not in table.columns:
        return None
    return table.group_by("epoch").agg(pl.exclude("epoch").drop_nulls().last()).sort("epoch")


def _cell_folders(folder: Path) -> list[Path]:
    """Return the folders of the cells in the study's plan; of all cells where there is no plan."""
    plan = folder / "plan.json"
    names = read_checked(plan, StudyPlan).cells if plan.is_file() else None
    cells = sorted(path.parent for path in (folder / "cells").glob("*/cell.json"))
    if names is None:
        return cells
    place = {name: row for row, name in enumerate(names)}
    return sorted((cell for cell in cells if cell.name in place), key=lambda cell: place[cell.name])


def _load_cell(folder: Path) -> FinishedCell | Missing:
    facts = read_checked(folder / "cell.json", Description)
    name, variant = facts.id, facts.variant
    if not (folder / "done.json").is_file():
        failed = folder / "failed.json"
        reason = f"failed: {read_json(failed).get('error')}" if failed.is_file() else "not finished"
        return Missing(name, variant, reason)
    absent = [table for table in _TABLES if not (folder / table).is_file()]
    if absent:
        return Missing(name, variant, f"marked as done, but without {', '.join(absent)}")
    config, provenance = folder / "config.yaml", folder / "provenance.json"
    return FinishedCell(
        id=name,
        variant=variant,
        head=facts.head,
        regime=facts.regime,
        fold=facts.fold,
        seed=facts.seed,
        values=facts.values,
        folder=folder,
        provenance=read_checked(provenance, Provenance) if provenance.is_file() else Provenance(),
        done=read_checked(folder / "done.json", Done),
        config=_read(config, _text) if config.is_file() else "",
        members=() if facts.mixture is None else tuple(facts.mixture.members),
    )


def _load_records(cells: tuple[FinishedCell, ...]) -> pl.DataFrame:
    """Return the records of all cells; what a cell is called comes from its cell.json, so that both agree."""
    frames = []
    for cell in cells:
        frame = read_records(cell.folder / "records.parquet")
        _check_sums(cell, frame)
        labels = {"cell": cell.id, "variant": cell.variant, "head": cell.head, "regime": cell.regime}
        frames.append(
            frame.with_columns(
                *(pl.lit(value).alias(key) for key, value in labels.items()),
                fold=pl.lit(cell.fold),
                seed=pl.lit(cell.seed),
                eps=pl.col("eps").cast(pl.Float64).round(7),
            )
        )
    return pl.concat(frames, how="diagonal_relaxed")


def _check_sums(cell: FinishedCell, records: pl.DataFrame) -> None:
    """Check the tables of pixel sums once, of which later only parts are read."""
    for schema, within in ((HISTOGRAMS, ("measure",)), (CALIBRATION, ("region",))):
        path = cell.folder / schema.name
        table = read_table(path, schema)
        check_pixels(table, records, within=[name for name in within if name in table.columns], path=path)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def at(condition: str, eps: float) -> pl.Expr:
    """Return which rows are of one condition and budget."""
    return (pl.col("condition") == condition) & ((pl.col("eps") - eps).abs() < 1e-6)


def _read(path: Path, reader: Callable[[Path], T]) -> T:
    """Return what ``reader`` makes of the file, or raise one sentence that names it."""
    try:
        return reader(path)
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"cannot read {path}: {reason}; expected a file that 'trustseg study' wrote; "
            "restore it or, if it belongs to a cell, delete the folder of that cell and run the study again"
        ) from error
