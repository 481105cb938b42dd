"""Whom a model has seen: kept beside its weights, so that it is not measured on these patients unawares."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from trustseg.data.pack import Pack
from trustseg.data.splits import Indices, Splits
from trustseg.errors import DataError
from trustseg.files import read_json, write_json

__all__ = ["Seen", "require_seen", "require_unseen", "seen_by", "validation_rows", "write_splits"]

_FILE: Final = "splits.json"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a model has seen.

    Attributes:
        digest: digest of the pack it was trained with.
        patients: those it learnt from or was chosen by.
        validation: those it was chosen by.
    """

    digest: str
    patients: frozenset[str]
    validation: frozenset[str]


def write_splits(model: Path, pack: Pack, splits: Splits) -> None:
    """Write ``splits.json`` into a model's folder: digest of the pack; images and patients of each side.

    Args:
        model: the model's folder; made if absent.
        pack: the images of its training.
        splits: their rows by use.
    """
    sides = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    write_json(
        model / _FILE,
        {
            "digest": pack.digest,
            "unknown_patients": splits.unknown_patients,
            "images": {side: len(rows) for side, rows in sides.items()},
            "patients": {side: sorted(_patients(pack, rows)) for side, rows in sides.items()},
        },
    )


def seen_by(model: Path) -> Seen | None:
    """Return what the model in a folder has seen; None if nothing was written down.

    Raises:
        DataError: if ``splits.json`` is damaged.
    """
    file = model / _FILE
    if not file.exists():
        return None
    about = read_json(file)
    match about:
        case {"digest": str(digest), "patients": {"train": list(train), "validation": list(validation)}}:
            return Seen(digest, frozenset(map(str, [*train, *validation])), frozenset(map(str, validation)))
    raise DataError(f"'{file}' lacks a digest or patients, both were expected; copy it from the run again")


def require_seen(model: Path) -> Seen:
    """Return what the model in a folder has seen.

    Raises:
        DataError: if nothing was written down, or ``splits.json`` is damaged.
    """
    seen = seen_by(model)
    if seen is None:
        raise DataError(
            f"no {_FILE} in '{model}', it was expected, as it says which images the model was validated on; "
            "train with this version of trustseg"
        )
    return seen


def require_unseen(seen: Seen, pack: Pack, rows: Indices) -> None:
    """Check that a model has seen no patient of these images; patients are compared by name, in any dataset.

    Args:
        seen: what the model has seen.
        pack: the images.
        rows: which of them are to be measured.

    Raises:
        DataError: if it has seen one.
    """
    patients = _patients(pack, rows)
    shared = sorted(patients & seen.patients)
    if shared:
        raise DataError(
            f"the model was trained or validated on {len(shared)} of these {len(patients)} patients "
            f"({', '.join(shared[:3])}), on none was expected; choose the test split of its own fold (data.fold), "
            "or add --allow-training-patients to 'trustseg evaluate' if that is meant or they only share a name"
        )


def validation_rows(seen: Seen, pack: Pack) -> Indices:
    """Return the rows of a pack that a model was validated on, those its epoch was chosen by but no weight learnt from.

    Args:
        seen: what the model has seen.
        pack: the images of its training.

    Raises:
        DataError: if these are other images.
    """
    if pack.digest != seen.digest:
        raise DataError(
            "got other images than those the model was trained and validated on, these were expected, as decoded then; "
            "set data.path, data.size and data.channels as in training"
        )
    index = pack.index
    chosen = index["patient"].is_in(list(seen.validation)) & index["has_mask"] & (index["split"] != "control")
    return np.asarray(chosen.arg_true().to_numpy(), dtype=np.int64)


def _patients(pack: Pack, rows: Indices) -> set[str]:
    return set(pack.index["patient"].gather(rows.tolist()))
