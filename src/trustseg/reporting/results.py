"""What a study folder holds: its finished cells, their tables, and which cells are missing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import polars as pl
from pydantic import ValidationError

from trustseg.config import ReportConfig
from trustseg.errors import DataError, MissingFileError
from trustseg.records import CALIBRATION, HISTOGRAMS, RECORDS, check_pixels, read_records, read_table
from trustseg.reporting.labels import ConditionKey
from trustseg.run_files import Description, Done, Failed, Provenance, StudyPlan, read_checked
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
    "results_of_one",
    "settings_of",
]

T = TypeVar("T")

_TABLES: Final = ("records.parquet", "histograms.parquet", "calibration.parquet")
_LABELS: Final = frozenset({"cell", "variant", "head", "selection", "fold", "seed", "split"})


class FinishedCell(Description):
    """One finished run of a study: one variant, one fold, one seed."""

    folder: Path
    provenance: Provenance = Provenance()
    done: Done = Done()
    config: str = ""

    @property
    def members(self) -> tuple[str, ...]:
        """The runs that a mixture is made of, whose seed is the first one's; none for a run with its own training."""
        return () if self.mixture is None else tuple(self.mixture.members)


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
        records: one row per (cell, image, condition) of the test images; ``kind`` is clean, attack or shift.
        populations: the same of images of other populations, whose condition is the name of the population.
        measures: uncertainty measures whose histograms were kept.
        notes: which columns were passed over or are missing, a sentence each.
    """

    folder: Path
    study: Mapping[str, Any]
    cells: tuple[FinishedCell, ...]
    missing: tuple[Missing, ...]
    records: pl.DataFrame
    populations: pl.DataFrame = field(default_factory=pl.DataFrame)
    measures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def variants(self) -> list[str]:
        """Variants in the order of their cells."""
        return list(dict.fromkeys(cell.variant for cell in self.cells))

    @property
    def target(self) -> str:
        """What the masks mark, in a word."""
        return str(self.section("data").get("target", "foreground"))

    @property
    def wording(self) -> ReportConfig:
        """What the study asks, in its own words."""
        known = {key: value for key, value in self.section("report").items() if key in ReportConfig.model_fields}
        try:
            return ReportConfig.model_validate(known)
        except ValidationError as error:
            reason = error.errors()[0]
            raise DataError(f"'{self.folder / 'study.yaml'}', report.{reason['loc'][0]}: {reason['msg']}") from error

    def section(self, name: str) -> Mapping[str, Any]:
        """Return a section of the study's configuration, empty where there is none."""
        section = self.study.get(name)
        return section if isinstance(section, dict) else {}

    def cells_of(self, variant: str) -> list[FinishedCell]:
        """Return the folds and seeds of one variant."""
        return [cell for cell in self.cells if cell.variant == variant]

    def head_of(self, variant: str) -> str:
        """Return the head of one variant."""
        return self.cells_of(variant)[0].head

    def trainings_of(self, variant: str) -> set[str]:
        """Return the names of the trained models behind a variant."""
        return {name for cell in self.cells_of(variant) for name in cell.members or (cell.id,)}

    def is_mixture(self, variant: str) -> bool:
        """Return whether a variant combines the models of others."""
        return any(cell.members for cell in self.cells_of(variant))

    def score_columns(self, variant: str) -> list[str]:
        """Return the image scores that the records of a variant hold."""
        rows = self.records.filter(pl.col("variant") == variant)
        return [name for name in rows.columns if name.startswith("u_") and rows[name].null_count() < len(rows)]


def load_results(folder: Path) -> Results:
    """Return the finished cells of a study folder and the names of those that are missing.

    Args:
        folder: a folder that ``trustseg study`` wrote, with ``study.yaml`` and ``cells/``.

    Raises:
        MissingFileError: if the folder is not there or is no study folder, or if no cell has finished.
        DataError: if a file in it cannot be read.
    """
    study_file = folder / "study.yaml"
    if not folder.is_dir():
        raise MissingFileError(f"no folder {folder}; give the one that 'trustseg study' printed")
    if not study_file.is_file() or not (folder / "cells").is_dir():
        raise MissingFileError(f"{folder} holds no study (study.yaml and cells/); give the folder of a study")
    study = _mapping(_read(study_file, _text), study_file)
    states = [_load_cell(cell) for cell in _cell_folders(folder)]
    states += [Missing(name, name, "its folder is gone") for name in _gone(folder)]
    cells = tuple(state for state in states if isinstance(state, FinishedCell))
    missing = tuple(state for state in states if isinstance(state, Missing))
    if not cells:
        reason = f"; first reason: {missing[0].reason}" if missing else ""
        raise MissingFileError(
            f"none of the {len(states)} cells in {folder} has finished{reason}; run 'trustseg study' again, it goes on "
            "where it stopped"
        )
    tables = [read_records(cell.folder / "records.parquet") for cell in cells]
    measures = {name: None for cell, table in zip(cells, tables, strict=True) for name in _check_sums(cell, table)}
    records = pl.concat(
        [_named(cell, table) for cell, table in zip(cells, tables, strict=True)], how="diagonal_relaxed"
    )
    elsewhere = pl.col("kind") == "population"
    notes = tuple(_notes(records.columns))
    return Results(
        folder, study, cells, missing, records.filter(~elsewhere), records.filter(elsewhere), tuple(measures), notes
    )


def results_of_one(folder: Path, *, name: str, head: str = "bernoulli", target: str = "foreground") -> Results:
    """Return the tables of one evaluation, outside any study, as the results of a study with a single cell.

    Args:
        folder: where ``trustseg.evaluation.evaluate`` wrote its tables.
        name: of the model.
        head: of the model.
        target: what the masks mark.

    Raises:
        DataError: if a table cannot be read.
    """
    records = read_records(folder / "records.parquet").drop("cell", strict=False)
    cell = FinishedCell(id=name, variant=name, head=head, selection="none", fold=0, seed=0, folder=folder)
    measures = tuple(dict.fromkeys(_check_sums(cell, records)))
    return Results(folder, {"data": {"target": target}}, (cell,), (), _named(cell, records), measures=measures)


def settings_of(cell: FinishedCell) -> Mapping[str, Any]:
    """Return the settings that a cell was run with."""
    return _mapping(cell.config, cell.folder / "config.yaml")


def _mapping(text: str, file: Path) -> Mapping[str, Any]:
    content = _read(file, lambda _: parse_yaml(text, where=f"'{file}'"))
    if content is not None and not isinstance(content, dict):
        raise DataError(f"'{file}' holds a {type(content).__name__} instead of settings; restore it from the run")
    return content or {}


def is_generated(results: Results) -> bool:
    """Return whether the images of a study are known to be generated: it names no data, or a folder of phantoms."""
    data = results.section("data")
    if "path" not in data:
        return False
    return data["path"] is None or (Path(str(data["path"])) / "phantoms.json").is_file()


def load_histogram(cell: FinishedCell, condition: ConditionKey, measure: str) -> pl.DataFrame:
    """Return ``patient, bin, count, wrong, brier`` of a cell; no rows where it did not store the measure."""
    path = cell.folder / "histograms.parquet"
    chosen = _read(path, scan_parquet).filter(at(condition), pl.col("measure") == measure)
    return _read(
        path, lambda _: chosen.select("patient", "bin", "count", "wrong", pl.col("brier").cast(pl.Float64)).collect()
    )


def load_calibration(cell: FinishedCell, condition: ConditionKey, region: str = "whole") -> pl.DataFrame:
    """Return ``patient, bin, count, sum_probability, sum_reference`` of a cell.

    The region is the ``"whole"`` image, the ``"boundary"`` or the ``"foreground"``; a table without regions holds the
    whole image.
    """
    table = _read(cell.folder / "calibration.parquet", read_parquet)
    if "region" not in table.columns:
        table = table.with_columns(region=pl.lit("whole"))
    chosen = table.filter(at(condition), pl.col("region") == region)
    return chosen.select("patient", "bin", "count", "sum_probability", "sum_reference")


def load_training(cell: FinishedCell) -> pl.DataFrame | None:
    """Return one row per epoch of the training log, the last value of each column, or None where there is no log."""
    path = cell.folder / "metrics.csv"
    if not path.is_file():
        return None
    table = _read(path, read_csv)
    if "epoch" not in table.columns:
        return None
    return table.group_by("epoch").agg(pl.exclude("epoch").drop_nulls().last()).sort("epoch")


def at(condition: ConditionKey) -> pl.Expr:
    """Return which rows are of one condition."""
    return (pl.col("condition") == condition[0]) & ((pl.col("eps") - condition[1]).abs() < 1e-6)


def _cell_folders(folder: Path) -> list[Path]:
    """Return the folders of the cells in the study's plan; of all cells where there is no plan."""
    plan = folder / "plan.json"
    names = read_checked(plan, StudyPlan).cells if plan.is_file() else None
    cells = sorted(path.parent for path in (folder / "cells").glob("*/cell.json"))
    if names is None:
        return cells
    return sorted((cell for cell in cells if cell.name in names), key=lambda cell: names.index(cell.name))


def _gone(folder: Path) -> list[str]:
    """Return the cells of the study's plan that have no folder any more."""
    plan = folder / "plan.json"
    names = read_checked(plan, StudyPlan).cells if plan.is_file() else None
    return [name for name in names or () if not (folder / "cells" / name / "cell.json").is_file()]


def _load_cell(folder: Path) -> FinishedCell | Missing:
    facts = read_checked(folder / "cell.json", Description)
    if not (folder / "done.json").is_file():
        failed = folder / "failed.json"
        reason = f"failed: {read_checked(failed, Failed).error}" if failed.is_file() else "not finished"
        return Missing(facts.id, facts.variant, reason)
    if absent := [table for table in _TABLES if not (folder / table).is_file()]:
        return Missing(facts.id, facts.variant, f"marked as done, but without {', '.join(absent)}")
    config, provenance = folder / "config.yaml", folder / "provenance.json"
    return FinishedCell(
        **facts.model_dump(include=set(Description.model_fields)),
        folder=folder,
        provenance=read_checked(provenance, Provenance) if provenance.is_file() else Provenance(),
        done=read_checked(folder / "done.json", Done),
        config=_read(config, _text) if config.is_file() else "",
    )


def _named(cell: FinishedCell, records: pl.DataFrame) -> pl.DataFrame:
    """Return the records of a cell under the names in its cell.json.

    Raises:
        DataError: if they are those of another cell.
    """
    if "cell" in records.columns and (others := set(records["cell"]) - {cell.id}):
        path = cell.folder / "records.parquet"
        raise DataError(f"{path} holds the records of the cell {min(others)}; restore it, or evaluate again")
    labels = {key: pl.lit(getattr(cell, key)) for key in ("variant", "head", "selection", "fold", "seed")}
    return records.with_columns(pl.col("eps").cast(pl.Float64).round(7), cell=pl.lit(cell.id), **labels)


def _check_sums(cell: FinishedCell, records: pl.DataFrame) -> list[str]:
    """Check the tables of pixel sums once, of which later only parts are read, and return the measures in them."""
    found: list[str] = []
    for schema, within in ((HISTOGRAMS, "measure"), (CALIBRATION, "region")):
        path = cell.folder / schema.name
        table = read_table(path, schema)
        check_pixels(table, records, within=[within] if within in table.columns else [], path=path)
        found += table["measure"].unique(maintain_order=True).to_list() if within == "measure" else []
    return found


def _notes(columns: Sequence[str]) -> list[str]:
    """Return a sentence on the columns of the records that this version does not know, and on those it misses."""
    prefixes = tuple(RECORDS.prefixes)
    known = [name for name in columns if name in RECORDS.columns or name in _LABELS or name.startswith(prefixes)]
    unknown = sorted(set(columns) - set(known))
    notes = [f"Columns of the records that this version does not know were passed over: {', '.join(unknown)}."]
    if "linf" not in columns:
        notes.append("The records lack linf: whether the attacks kept their budgets was not checked.")
    if not any(name.startswith("u_") for name in columns):
        notes.append("The records lack image scores (u_...): nothing is said of image uncertainty and deferral.")
    return notes if unknown else notes[1:]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _read(path: Path, reader: Callable[[Path], T]) -> T:
    """Return what ``reader`` makes of the file, or raise one sentence that names it."""
    try:
        return reader(path)
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"cannot read {path}: {reason}; restore it or, if it belongs to a cell, delete the folder of that cell and "
            "run the study again"
        ) from error
