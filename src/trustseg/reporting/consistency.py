"""Consistency of the files of a study, each of which repeats part of another."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import polars as pl

from trustseg.config.keys import flattened
from trustseg.errors import DataError
from trustseg.records import CALIBRATION, HISTOGRAMS, check_pixels, read_table
from trustseg.reporting.cells import FinishedCell

__all__ = ["check_patients", "check_settings", "check_sums", "named"]

# Settings of a study that its cells need not share: where the images lie, and how the target is called.
_OWN: Final = frozenset({"data.path", "data.target"})


def check_settings(cell: FinishedCell, study: Mapping[str, Any]) -> None:
    """Check that a cell has the settings of its study, but for those of the grid, and those in its ``cell.json``.

    Raises:
        DataError: if it has others.
    """
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
    if isinstance(other, str) and isinstance(own, int | float):
        return True
    return own == other


def named(cell: FinishedCell, records: pl.DataFrame) -> pl.DataFrame:
    """Return the records of a cell under the names in its cell.json.

    Raises:
        DataError: if they are those of another cell.
    """
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
    """Check that all cells say the same of whom an image is: differences between variants are paired by patient.

    Raises:
        DataError: if two differ.
    """
    held = records.select("kind", "image", "patient", "cell").unique(maintain_order=True)
    theirs = held.group_by("kind", "image", maintain_order=True).agg(pl.col("patient", "cell"))
    odd = theirs.filter(pl.col("patient").list.n_unique() > 1)
    if len(odd):
        image, patients, names = odd.select("image", "patient", "cell").row(0)
        place = next(place for place, patient in enumerate(patients) if patient != patients[0])
        folders = {cell.id: cell.folder for cell in cells}
        raise DataError(
            f"{folders[names[place]] / 'records.parquet'} gives the image {image} to the patient {patients[place]}, "
            f"the records of {names[0]} to {patients[0]}; restore the changed one, or evaluate again"
        )
