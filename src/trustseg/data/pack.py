"""A pack: a dataset decoded once into memory-mapped uint8 arrays with an index, so that training reads no image files.

A pack is a folder: ``images.npy`` (N, C, S, S), ``masks.npy`` (N, 1, S, S) of 0 and 1, ``index.parquet`` with one row a
case, ``pack.json`` with format, size, layout and digest. It holds no path of the machine that made it.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, cast

import numpy as np
import numpy.typing as npt
import polars as pl

from trustseg.data.decode import Channels
from trustseg.errors import DataError, MissingFileError
from trustseg.tables import read_parquet

__all__ = ["FORMAT", "SCHEMA", "Pack", "digest_of", "is_pack"]

FORMAT: Final = 2

_AGAIN: Final = "delete it and pack again with: trustseg data pack SOURCE TARGET"

SCHEMA: Final = {
    "name": pl.String,
    "patient": pl.String,
    "patient_known": pl.Boolean,
    "split": pl.String,
    "has_mask": pl.Boolean,
    "foreground": pl.Int64,
    "width": pl.Int64,
    "height": pl.Int64,
    "sha256_image": pl.String,
    "sha256_mask": pl.String,
    "sha256_pixels": pl.String,
    "content_group": pl.String,
}


@dataclass(frozen=True, slots=True, eq=False)
class Pack:
    """A dataset ready for training.

    Attributes:
        images: (N, C, S, S) uint8, read-only, memory-mapped.
        masks: (N, 1, S, S) uint8 of 0 and 1, read-only, memory-mapped; all 0 where ``has_mask`` is false.
        index: one row a case: ``name``; ``patient`` (the name itself where the patient is unknown) and
            ``patient_known``; ``split`` (train, test, control); ``has_mask``; ``foreground``, the mask's pixels in the
            pack; ``width`` and ``height`` of the file; ``sha256_image`` and ``sha256_mask`` of the files' bytes,
            ``sha256_pixels`` of the decoded image; ``content_group``, shared by images that show the same picture.
        size: S, side of the square in pixels.
        channels: C, 1 (grey) or 3 (RGB).
        layout: name of the layout in ``LAYOUTS`` that the cases were found by.
        digest: SHA-256 over the index, size and channels: equal digests
            mean equal image and mask files, packed alike.
        notes: sentences on what was converted on the way.
    """

    images: npt.NDArray[np.uint8]
    masks: npt.NDArray[np.uint8]
    index: pl.DataFrame
    size: int
    channels: Channels
    layout: str
    digest: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.index)

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Return the pack in a folder; nothing is read but the index.

        Raises:
            MissingFileError: if the folder or one of its files is not there.
            DataError: if the files do not fit each other, or were written by another version of the format.
        """
        path = Path(path)
        about = _read_about(path)
        try:
            index = read_parquet(path / "index.parquet")
            images = np.load(path / "images.npy", mmap_mode="r", allow_pickle=False)
            masks = np.load(path / "masks.npy", mmap_mode="r", allow_pickle=False)
        except FileNotFoundError as error:
            raise MissingFileError(f"{error.filename or path} is missing from the pack; {_AGAIN}") from error
        except (OSError, ValueError, pl.exceptions.PolarsError) as error:
            raise DataError(f"the pack {path} cannot be read ({error}), expected complete files; {_AGAIN}") from error
        size, channels, count = about["size"], about["channels"], len(index)
        whole = (
            images.shape == (count, channels, size, size)
            and masks.shape == (count, 1, size, size)
            and images.dtype == masks.dtype == np.uint8
            and about["digest"] == digest_of(index, size=size, channels=channels)
        )
        if not whole:
            raise DataError(f"the files of the pack {path} do not belong together, expected those of one run; {_AGAIN}")
        return cls(images, masks, index, size, channels, about["layout"], about["digest"], tuple(about["notes"]))


def is_pack(path: Path) -> bool:
    """Return whether a folder holds a pack."""
    return (path / "pack.json").is_file()


def digest_of(index: pl.DataFrame, *, size: int, channels: int) -> str:
    """Return the SHA-256 over everything that decides the arrays of a pack: index, size and channels."""
    content = {"size": size, "channels": channels, "cases": index.select(list(SCHEMA)).rows()}
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _read_about(path: Path) -> dict[str, Any]:
    """Return the content of ``pack.json`` after checking that it is of this format."""
    file = path / "pack.json"
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingFileError(f"{file} does not exist, expected a pack; make one with: trustseg data pack") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read ({error}), expected JSON; {_AGAIN}") from error
    found = about.get("format") if isinstance(about, dict) else None
    if found != FORMAT:
        raise DataError(f"the pack {path} has format {found}, expected {FORMAT}; {_AGAIN}")
    return cast(dict[str, Any], about)
