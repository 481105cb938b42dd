"""The results in a study folder: finished cells, their tables, and missing cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl
from pydantic import ValidationError

from trustseg.config import ReportConfig
from trustseg.errors import DataError, MissingFileError, first_problem
from trustseg.records import RECORDS, read_records
from trustseg.reporting.cell_tables import check_patients, check_settings, check_sums, with_labels
from trustseg.reporting.cells import FinishedCell, MissingCell, load_cells, load_evaluations, load_settings, section

__all__ = ["Results", "is_generated", "load_results", "results_of_one"]

_LABELS: Final = frozenset({"cell", "variant", "head", "selection", "fold", "seed", "split"})


@dataclass(frozen=True, slots=True)
class Results:
    """The finished part of a study.

    Attributes:
        study: the resolved study configuration.
        records: one row per (cell, image, condition) of the test images; ``kind`` is clean, attack or shift.
        populations: the same of images of other populations, whose condition is the name of the population.
        measures: uncertainty measures whose histograms were kept.
        notes: which columns were passed over or are missing, a sentence each.
        draws: bootstrap draws of every interval, >= 1.
    """

    folder: Path
    study: Mapping[str, Any]
    cells: tuple[FinishedCell, ...]
    missing: tuple[MissingCell, ...]
    records: pl.DataFrame
    populations: pl.DataFrame = field(default_factory=pl.DataFrame)
    measures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    draws: int = 2000

    @property
    def variants(self) -> list[str]:
        """Variants in the order of their cells."""
        return list(dict.fromkeys(cell.variant for cell in self.cells))

    @property
    def heads(self) -> dict[str, list[str]]:
        """The variants of each head."""
        found: dict[str, list[str]] = {}
        for variant in self.variants:
            found.setdefault(self.head_of(variant), []).append(variant)
        return found

    @property
    def target(self) -> str:
        """What the masks mark, in a word."""
        return str(self.section("data").get("target", "foreground"))

    @property
    def report_settings(self) -> ReportConfig:
        """What the study asks, in its own words."""
        known = {key: value for key, value in self.section("report").items() if key in ReportConfig.model_fields}
        try:
            return ReportConfig.model_validate(known)
        except ValidationError as error:
            key, problem = first_problem(error)
            raise DataError(f"'{self.folder / 'study.yaml'}', report.{key}: {problem}") from error

    def section(self, name: str) -> Mapping[str, Any]:
        """Return a section of the study's configuration, empty where there is none."""
        return section(self.study, name)

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


def load_results(folder: Path, *, draws: int = 2000) -> Results:
    """Return the finished cells of a study folder and the names of those that are missing.

    Args:
        folder: a folder that ``trustseg study`` wrote, with ``study.yaml`` and ``cells/``; or a run, whose evaluations
            on test images then count as variants of a study; or the folder of one evaluation.
        draws: bootstrap draws of every interval.

    Raises:
        MissingFileError: if the folder is not there, or holds nothing that was measured.
    """
    if not folder.is_dir():
        raise MissingFileError(f"no folder {folder}; give the folder of a study, a run or an evaluation")
    is_study = (folder / "study.yaml").is_file() and (folder / "cells").is_dir()
    states = load_cells(folder) if is_study else load_evaluations(folder)
    cells = tuple(state for state in states if isinstance(state, FinishedCell))
    missing = tuple(state for state in states if isinstance(state, MissingCell))
    if not cells:
        reason = f"; first reason: {missing[0].reason}" if missing else ""
        raise MissingFileError(
            f"none of the {len(states)} cells in {folder} has finished{reason}; run 'trustseg study' again, it goes on "
            "where it stopped"
        )
    study = load_settings(folder / "study.yaml") if is_study else cells[0].settings
    tables: list[pl.DataFrame] = []
    measures: dict[str, None] = {}
    for cell in cells:
        if is_study:
            check_settings(cell, study)
        table = read_records(cell.folder / RECORDS.name)
        if cell.has_pixels:
            measures |= dict.fromkeys(check_sums(cell, table))
        tables.append(with_labels(cell, table))
    records = pl.concat(tables, how="diagonal_relaxed")
    check_patients(cells, records)
    is_population = pl.col("kind") == "population"
    return Results(
        folder,
        study,
        cells,
        missing,
        records=records.filter(~is_population),
        populations=records.filter(is_population),
        measures=tuple(measures),
        notes=tuple(_notes(records.columns, cells)),
        draws=draws,
    )


def results_of_one(folder: Path, *, name: str, head: str = "bernoulli", aggregation: str = "mean") -> Results:
    """Return the tables of one evaluation, outside any study, as the results of a study with a single cell.

    The name and the head are those of the model; it is judged by the image score of the aggregation.
    """
    records = read_records(folder / RECORDS.name).drop("cell", strict=False)
    cell = FinishedCell(id=name, variant=name, head=head, selection="none", fold=0, seed=0, folder=folder)
    measures = tuple(dict.fromkeys(check_sums(cell, records)))
    settings = {"adversarial": {"aggregation": aggregation}}
    return Results(folder, settings, (cell,), (), with_labels(cell, records), measures=measures)


def is_generated(results: Results) -> bool:
    """Return whether the images of a study are known to be generated: it names no data, or a folder of phantoms."""
    data = results.section("data")
    if "path" not in data:
        return False
    return data["path"] is None or (Path(str(data["path"])) / "phantoms.json").is_file()


def _notes(columns: Sequence[str], cells: Sequence[FinishedCell]) -> list[str]:
    """Return a sentence on the columns of the records that this version does not know, and on what they miss."""
    known = {*RECORDS.columns, *_LABELS}
    unknown = sorted(name for name in columns if name not in known and not name.startswith(tuple(RECORDS.prefixes)))
    notes = []
    if unknown:
        notes.append(f"Columns of the records that this version does not know were passed over: {', '.join(unknown)}.")
    if "linf" not in columns:
        notes.append("The records lack linf: whether the attacks kept their budgets was not checked.")
    if not any(name.startswith("u_") for name in columns):
        notes.append("The records lack image scores (u_...): nothing is said of image uncertainty and deferral.")
    if bare := [cell.id for cell in cells if not cell.has_pixels]:
        rest = "are of the others" if len(bare) < len(cells) else "are not given"
        notes.append(f"{len(bare)} of {len(cells)} runs have no tables of pixels: AUSE, nAUSE and calibration {rest}.")
    return notes
