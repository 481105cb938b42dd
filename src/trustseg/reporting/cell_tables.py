"""The tables of finished cells: records, sums over pixels and the training log, and whether they fit together."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from trustseg.config.keys import flattened
from trustseg.errors import DataError
from trustseg.records import CALIBRATION, HISTOGRAMS, check_pixels, read_table
from trustseg.reporting.cells import FinishedCell, read_file
from trustseg.reporting.labels import ConditionKey
from trustseg.tables import read_csv, scan_parquet

__all__ = [
    "at",
    "calibration_of",
    "check_patients",
    "check_settings",
    "check_sums",
    "histograms_of",
    "load_training",
    "with_labels",
]

_SUMS: Final = {"patient": pl.String, "bin": pl.Int32, "count": pl.Int64}
_HISTOGRAM: Final = {**_SUMS, "wrong": pl.Int64, "brier": pl.Float64}
_CALIBRATION: Final = {**_SUMS, "sum_probability": pl.Float64, "sum_reference": pl.Float64}
# Settings of a study that its cells need not share: where the images lie, and how the target is called.
_OWN: Final = frozenset({"data.path", "data.target"})


def at(condition: ConditionKey) -> pl.Expr:
    """Return which rows are of one condition."""
    return (pl.col("condition") == condition[0]) & ((pl.col("eps") - condition[1]).abs() < 1e-6)


def histograms_of(cells: Sequence[FinishedCell], condition: ConditionKey, measure: str) -> pl.DataFrame:
    """Return ``patient, bin, count, wrong, brier, seed`` of some cells; no rows of those that lack the measure."""
    return _pixel_sums(cells, HISTOGRAMS.name, _HISTOGRAM, condition, measure=measure)


def calibration_of(cells: Sequence[FinishedCell], condition: ConditionKey, region: str = "whole") -> pl.DataFrame:
    """Return ``patient, bin, count, sum_probability, sum_reference, seed`` of some cells.

    The region is the ``"whole"`` image, the ``"boundary"`` or the ``"foreground"``; a table without regions holds the
    whole image.
    """
    return _pixel_sums(cells, CALIBRATION.name, _CALIBRATION, condition, region=region)


def _pixel_sums(
    cells: Sequence[FinishedCell], name: str, kinds: Mapping[str, Any], condition: ConditionKey, **part: str
) -> pl.DataFrame:
    """Return a part of the tables of pixel sums; no rows of cells without tables of pixels."""

    def read_part(path: Path) -> pl.DataFrame:
        table = scan_parquet(path)
        if "region" in part and "region" not in table.collect_schema():
            table = table.with_columns(region=pl.lit("whole"))
        return (
            table.filter(at(condition), **part).select(pl.col(key).cast(kind) for key, kind in kinds.items()).collect()
        )

    none = pl.DataFrame(schema=kinds)
    tables = [(cell, read_file(cell.folder / name, read_part) if cell.has_pixels else none) for cell in cells]
    return pl.concat(table.with_columns(seed=pl.lit(cell.seed)) for cell, table in tables)


def load_training(cell: FinishedCell) -> pl.DataFrame | None:
    """Return one row per epoch of the training log, the last value of each column, or None where there is no log.

    The log lies beside the tables of the cell, or in the run whose evaluation it is.
    """
    logs = [path for folder in (cell.folder, cell.folder.parent) if (path := folder / "metrics.csv").is_file()]
    if not logs:
        return None
    path, table = logs[0], read_file(logs[0], read_csv)
    if "epoch" not in table.columns or not table["epoch"].dtype.is_integer():
        raise DataError(f"'{path}' is no training log: it has no column of whole numbers called epoch; restore it")
    if odd := [column.name for column in table if not (column.dtype.is_numeric() or column.dtype == pl.Null)]:
        raise DataError(f"'{path}' is no training log: its column {odd[0]} holds text; restore it from the run")
    return table.group_by("epoch").agg(pl.exclude("epoch").drop_nulls().last()).sort("epoch")


def check_settings(cell: FinishedCell, study: Mapping[str, Any]) -> None:
    """Check that a cell has the settings of its study, but for those of the grid, and those in its ``cell.json``."""
    own = flattened(cell.settings)
    shared = {key: value for key, value in flattened(study).items() if key not in _OWN and key not in cell.values}
    described = {"model.head": cell.head, "adversarial.selection": cell.selection, "training.seed": cell.seed}
    described["data.fold"] = None if cell.fold == -1 else cell.fold
    for file, values in (("study.yaml", shared), ("cell.json", {**flattened(cell.values), **described})):
        for key in own.keys() & values.keys():
            if not _equal(own[key], values[key]):
                raise DataError(
                    f"'{cell.folder / 'config.yaml'}' has {key}={own[key]}, but {file} {values[key]}; "
                    "restore the changed one from the run"
                )


def _equal(own: object, other: object) -> bool:
    """Return whether two settings are equal, as far as can be told: a budget may be the text 4/255, also in a list."""
    if isinstance(own, list) or isinstance(other, list):
        return True
    return own == other or (isinstance(other, str) and isinstance(own, int | float))


def with_labels(cell: FinishedCell, records: pl.DataFrame) -> pl.DataFrame:
    """Return the records of a cell, which may not be those of another one, under the names in its ``cell.json``."""
    if "cell" in records.columns and (others := set(records["cell"]) - {cell.id}):
        path = cell.folder / "records.parquet"
        raise DataError(f"{path} holds the records of the cell {min(others)}; restore it, or evaluate again")
    labels = {key: pl.lit(getattr(cell, key)) for key in ("variant", "head", "selection", "fold", "seed")}
    return records.with_columns(pl.col("eps").cast(pl.Float64).round(7), cell=pl.lit(cell.id), **labels)


def check_sums(cell: FinishedCell, records: pl.DataFrame) -> list[str]:
    """Check the tables of pixel sums once, of which later only parts are read, and return the measures in them."""
    found: list[str] = []
    for schema, within in ((HISTOGRAMS, "measure"), (CALIBRATION, "region")):
        path = cell.folder / schema.name
        table = read_table(path, schema)
        check_pixels(table, records, within=[within] if within in table.columns else [], path=path)
        found += table["measure"].unique(maintain_order=True).to_list() if within == "measure" else []
    return found


def check_patients(cells: Sequence[FinishedCell], records: pl.DataFrame) -> None:
    """Check that all cells say the same of whom an image is: differences between variants are paired by patient."""
    patients_of_cells = records.select("kind", "image", "patient", "cell").unique(maintain_order=True)
    by_image = patients_of_cells.group_by("kind", "image", maintain_order=True).agg(pl.col("patient", "cell"))
    conflicts = by_image.filter(pl.col("patient").list.n_unique() > 1)
    if len(conflicts):
        image, patients, names = conflicts.select("image", "patient", "cell").row(0)
        place = next(place for place, patient in enumerate(patients) if patient != patients[0])
        folder = next(cell.folder for cell in cells if cell.id == names[place])
        raise DataError(
            f"{folder / 'records.parquet'} gives the image {image} to the patient {patients[place]}, the records of "
            f"{names[0]} to {patients[0]}; restore the changed one, or evaluate again"
        )
