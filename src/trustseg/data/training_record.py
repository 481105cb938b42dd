"""Records of a model's training data: preprocessing, and hashed patients and images to detect leakage.

``data.json`` says how image files became arrays, ``splits.json`` which patients and pictures the model has seen.

Weights are shared, so nothing is named: patients and pictures are written as hashes, salted with the digest of the
images. That hides them from a reader and from comparison between data sets; it is no protection against somebody who
has a list of candidate names.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from trustseg.data.decode import Channels
from trustseg.data.intensity import WHITES, IntensityScale
from trustseg.data.near_copies import near_copies, thumbnail
from trustseg.data.pack import Pack, encoding_values
from trustseg.data.resizing import Fit
from trustseg.data.splits import Indices, Splits
from trustseg.errors import DataError
from trustseg.files import read_json, write_json
from trustseg.text import first_of, patient_key

__all__ = [
    "EPOCH",
    "Preprocessing",
    "TrainingRecord",
    "parse_training_record",
    "read_preprocessing",
    "read_training_record",
    "require_no_leakage",
    "require_no_near_copies",
    "require_training_record",
    "splits_file",
    "validation_rows",
    "write_preprocessing",
    "write_splits",
]

EPOCH: Final = "epoch.json"
"""File beside a model that says which epoch it is of; a training that writes it writes everything else, too."""

_PREPROCESSING: Final = "data.json"
_SPLITS: Final = "splits.json"
_SEAL: Final = "sha256"  # of all other entries; files of older versions have none
_FORMAT: Final = 2  # format 1, which has no such entry, named the patients and knew no pictures


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How the images that a model was trained on became arrays; the fields are those of ``Pack``."""

    size: int
    channels: Channels
    fit: Fit
    white: int | None

    @property
    def scale(self) -> IntensityScale:
        """The intensity scale for other images."""
        return IntensityScale(self.white)


@dataclass(frozen=True, slots=True)
class HashedSplit:
    """Salted hashes of what one split holds; the pictures are None in files of older versions."""

    patients: frozenset[str]
    pictures: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """What a model has seen.

    Attributes:
        digest: digest of the pack it was trained with; the salt of all hashes.
        train: what it learnt from.
        validation: what its epoch was chosen by.
    """

    digest: str
    train: HashedSplit
    validation: HashedSplit


def write_preprocessing(model: Path, pack: Pack) -> None:
    """Write ``data.json`` into a model's folder: how the images of its training were read, and what was noted."""
    about = {field.name: getattr(pack, field.name) for field in fields(Preprocessing)}
    write_json(model / _PREPROCESSING, {**about, "coding": encoding_values(pack.encoding), "notes": list(pack.notes)})


def read_preprocessing(model: Path) -> Preprocessing | None:
    """Return how the images of a model's training were read; None if nothing was written down (older models)."""
    if (content := _content(model, _PREPROCESSING)) is None:
        return None
    match content:
        case {
            "size": int(size),
            "channels": 1 | 3 as channels,
            "fit": "squash" | "pad" as fit,
            "white": None | int() as white,
        } if size > 0 and (white is None or white in WHITES):
            return Preprocessing(size, channels, fit, white)
    raise DataError(
        f"'{model / _PREPROCESSING}' does not say how the images of the training were read; restore it from the run"
    )


def splits_file(model: Path) -> Path:
    """Return the file in a model's folder that says what the model has seen."""
    return model / _SPLITS


def write_splits(model: Path, pack: Pack, splits: Splits) -> None:
    """Write ``splits.json`` into a model's folder: digest of the pack; hashed patients and pictures of each split."""
    sides = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    content = {
        "format": _FORMAT,
        "digest": pack.digest,
        "unknown_patients": splits.unknown_patients,
        "images": {side: len(rows) for side, rows in sides.items()},
        "patients": {side: sorted(_hashed(pack, rows, "patient", pack.digest)) for side, rows in sides.items()},
        "pictures": {side: sorted(_hashed(pack, rows, "sha256_pixels", pack.digest)) for side, rows in sides.items()},
    }
    write_json(splits_file(model), {**content, _SEAL: _seal(content)})


def read_training_record(model: Path) -> TrainingRecord | None:
    """Return what the model in a folder has seen; None if an older version of trustseg did not write it down."""
    content = _content(model, _SPLITS)
    return None if content is None else parse_training_record(content, where=str(splits_file(model)))


def require_training_record(model: Path) -> TrainingRecord:
    """Return what the model in a folder has seen; a model that does not say is refused."""
    record = read_training_record(model)
    if record is None:
        raise DataError(
            f"no {_SPLITS} in '{model}' says which images the model was validated on; restore it from the run, or "
            "train with this version of trustseg"
        )
    return record


def parse_training_record(content: Mapping[str, object], *, where: str) -> TrainingRecord:
    """Return what a model has seen, from the content of its ``splits.json``; ``where`` names the file in the error."""
    match content:
        case {
            "format": 2,
            "digest": str(digest),
            "patients": {"train": list(train), "validation": list(validation)},
            "pictures": {"train": list(learnt), "validation": list(validated)},
        } if _is_whole(content):
            sides = [(train, learnt), (validation, validated)]
            return TrainingRecord(
                digest, *(HashedSplit(frozenset(map(str, a)), frozenset(map(str, b))) for a, b in sides)
            )
        case {"digest": str(digest), "patients": {"train": list(train), "validation": list(validation)}, **others} if (
            "format" not in others
        ):
            named = (train, validation)
            return TrainingRecord(digest, *(HashedSplit(frozenset(_hashes(names, digest)), None) for names in named))
    raise DataError(f"'{where}' lacks its digest, patients or pictures, or was changed; restore it from the run")


def require_no_leakage(record: TrainingRecord, pack: Pack, rows: Indices, *, validated: bool = False) -> None:
    """Raise a DataError if a model has seen a patient or picture of some rows of a pack, in whatever dataset it was.

    With ``validated`` it may have been validated on them.
    """
    sides = [record.train] if validated else [record.train, record.validation]
    for what, column in (("patients", "patient"), ("pictures", "sha256_pixels")):
        older = _hashed(pack, rows, column, record.digest, key=str.casefold)
        hashes = older | _hashed(pack, rows, column, record.digest)
        shared = {hashes[one] for side in sides for one in getattr(side, what) or () if one in hashes}
        if shared:
            names = sorted({pack.index[row, "patient" if what == "patients" else "name"] for row in shared})
            count = pack.index[column].gather(rows.tolist()).n_unique()
            raise DataError(
                f"the model was trained or validated on {len(names)} of these {count} {what} ({first_of(names)}); "
                "remove them from other data; of its own, use --split test, with its data.fold; or give "
                "--allow-training-patients if this is meant or they only share a name"
            )


def require_no_near_copies(record: TrainingRecord, trained: Pack, pack: Pack, rows: Indices) -> None:
    """Raise a DataError if some rows of a pack are near-copies of what a model has seen; hashes find equal images only.

    Args:
        record: what the model has seen.
        trained: the images of its training.
        pack: other images.
        rows: which of them are to be measured.
    """
    sides = (record.train, record.validation)
    seen_hashes = {one for side in sides for one in (side.patients if side.pictures is None else side.pictures)}
    column = "patient" if record.train.pictures is None else "sha256_pixels"
    used = np.flatnonzero([one in seen_hashes for one in _hashes(trained.index[column], record.digest)])
    thumbnails = [_thumbnail(one, row) for one, chosen in ((trained, used), (pack, rows)) for row in chosen.tolist()]
    copies = {b - len(used): a for a, b in near_copies(np.stack(thumbnails)) if a < len(used) <= b}
    if copies:
        names = [
            f"{pack.index[int(rows[b]), 'name']} of {trained.index[int(used[a]), 'name']}" for b, a in copies.items()
        ]
        raise DataError(
            f"{len(copies)} of these {len(rows)} images are near-copies of images that the model was trained or "
            f"validated on ({first_of(names)}); remove them, or --allow-training-patients if this is intended"
        )


def validation_rows(record: TrainingRecord, pack: Pack) -> Indices:
    """Return the rows of a model's own data that it was validated on: its epoch was chosen by them."""
    if pack.digest != record.digest:
        raise DataError(
            "these are not the images that the model was trained and validated on; set data.path, data.size and "
            "data.channels as in training"
        )
    index, side = pack.index, record.validation
    keys = (patient_key, str.casefold)  # the second of older files
    hashes = [_hashes(index["patient"], record.digest, key) for key in keys]
    chosen = np.isin(hashes, list(side.patients)).any(axis=0)
    if side.pictures is not None:  # images of these patients may have been left out as near-copies
        chosen &= np.isin(_hashes(index["sha256_pixels"], record.digest), list(side.pictures))
    chosen &= (index["has_mask"] & (index["split"] != "control")).to_numpy()
    return np.flatnonzero(chosen).astype(np.int64)


def _content(model: Path, name: str) -> dict[str, object] | None:
    """Return what a file beside a model holds, None if there is none; one that its training wrote is to be restored."""
    if (model / name).exists():
        return read_json(model / name)
    if (model / EPOCH).exists():
        raise DataError(f"no {name} in '{model}', though its training wrote one; restore it from the run")
    return None


def _seal(content: Mapping[str, object]) -> str:
    text = json.dumps({name: value for name, value in content.items() if name != _SEAL}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_whole(content: Mapping[str, object]) -> bool:
    """Return whether the lists are those that were written, as far as the file tells."""
    if content.get(_SEAL, seal := _seal(content)) != seal:
        return False
    match content:
        case {"images": {**images}, "patients": {**patients}, "pictures": {**pictures}}:
            return all(
                isinstance(count, int)
                and isinstance(found := lists.get(side), list)
                and (len(found) > 0) == (count > 0)
                and len(found) <= count
                for side, count in images.items()
                for lists in (patients, pictures)
            )
    return False


def _thumbnail(pack: Pack, row: int) -> npt.NDArray[np.float32]:
    return thumbnail(np.moveaxis(pack.images[(row, slice(None), *pack.area(row).slices)], 0, -1))


def _hashed(
    pack: Pack, rows: Indices, column: str, salt: str, key: Callable[[str], str] = patient_key
) -> dict[str, int]:
    """Return the hashed values of a column in some rows, each with one of its rows."""
    return dict(zip(_hashes(pack.index[column].gather(rows.tolist()), salt, key), rows.tolist(), strict=True))


def _hashes(names: Iterable[object], salt: str, key: Callable[[str], str] = patient_key) -> list[str]:
    return [hashlib.sha256(f"{salt}\n{key(str(name))}".encode()).hexdigest()[:16] for name in names]
