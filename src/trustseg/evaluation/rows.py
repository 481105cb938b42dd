"""The images of a pack that are measured."""

import hashlib
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trustseg.config import DataConfig
from trustseg.data import Pack, Splits, split_cases
from trustseg.data.training_record import TrainingRecord
from trustseg.errors import DataError, unknown_name

__all__ = ["draw_cases", "is_other_data", "rows_of_split", "splits_of"]


def is_other_data(seen: TrainingRecord | None, pack: Pack, path: object, own: object) -> bool:
    """Return whether a pack is of another data set than a model's training, so that its folds are not those of the run.

    Args:
        seen: what the model has seen, if it says so.
        path: where the images are.
        own: where those of the training were, None if unknown.
    """
    if seen is not None and seen.digest == pack.digest:
        return False
    return own is None or Path(str(path)).resolve() != Path(str(own)).resolve()


def rows_of_split(
    pack: Pack, split: str, config: DataConfig, *, count: int | None = None, other: bool = False
) -> NDArray[np.int64]:
    """Return the rows of a pack that a split's name means.

    Args:
        split: test, validation, train, control, or all (every image with a mask that is no control).
        other: whether these are not the images of the training: test are then those of the data set's own test side,
            and all with a mask where it has none.
        count: how many of them, None for all. One image of each patient comes first, then a second one of each, and so
            on; which ones follows from the names of images and patients alone.

    Raises:
        UnknownNameError: if there is no such split.
        DataError: if it is empty.
    """
    known = ("test", "validation", "train", "control", "all")
    if split not in known:
        raise unknown_name("split", split, known)
    if split == "control":
        rows = (pack.index["split"] == "control").arg_true().to_numpy()
    elif split == "all" or (split == "test" and other):
        used = pack.index["has_mask"] & (pack.index["split"] != "control")
        tested = used & (pack.index["split"] == "test")
        rows = (tested if split == "test" and tested.any() else used).arg_true().to_numpy()
    else:
        rows = getattr(splits_of(pack, config), split)
    if split == "control" and not len(rows) and "unlabelled" in pack.index["split"]:
        raise DataError(
            "these images have no masks and are not declared as controls; if all of them lack the target, set "
            "data.controls=. (or name their folder), or use split control in a manifest"
        )
    if not len(rows):
        raise DataError(f"the split '{split}' of this dataset is empty; choose another")
    rows = np.asarray(rows, dtype=np.int64)
    return rows if count is None or count >= len(rows) else rows[draw_cases(pack.index[rows], count)]


def draw_cases(cases: pl.DataFrame, count: int) -> NDArray[np.int64]:
    """Return the places of ``count`` cases, spread over as many patients as possible, in rising order."""
    drawn = cases.select("patient", order=pl.struct("patient", "name").map_elements(_draw_key, return_dtype=pl.String))
    turn = pl.col("order").rank("ordinal").over("patient")
    places = drawn.with_row_index("place").sort(turn, "order")["place"]
    return np.sort(places.to_numpy()[:count]).astype(np.int64)


def _draw_key(case: dict[str, str]) -> str:
    return hashlib.sha256("/".join(case.values()).encode()).hexdigest()


def splits_of(pack: Pack, config: DataConfig) -> Splits:
    """Return the rows of a pack that are trained, validated and tested on under a configuration."""
    return split_cases(
        pack.index,
        fold=config.fold,
        folds=config.folds,
        validation_fraction=config.validation_fraction,
        seed=config.split_seed,
        near_copies=config.near_copies,
    )
