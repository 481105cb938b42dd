"""A pack: a dataset decoded once into memory-mapped uint8 arrays with an index, so that training reads no image files.

A pack is a folder: ``images.npy`` (N, C, S, S), ``masks.npy`` (N, 1, S, S) of 0, 1 and 255 (ignored),
``native.parquet`` with the masks at their own size, ``index.parquet`` with one row per case, and ``pack.json`` with
format, settings, notes, the hash of every array file and a digest over all of it. It holds no path of the machine that
made it.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self, cast, get_args

import numpy as np
import numpy.typing as npt
import polars as pl
from PIL import Image

from trustseg.data.decode import Channels
from trustseg.data.mask_values import MaskEncoding, MaskValues, parse_mask_values
from trustseg.data.pack_files import damaged_file
from trustseg.data.resizing import IGNORED, Area, Fit, image_area
from trustseg.errors import ConfigError, DataError, MissingFileError
from trustseg.tables import read_parquet, scan_parquet

__all__ = ["FORMAT", "GROUP", "SCHEMA", "Pack", "PackOptions", "digest_of", "encoding_values", "is_pack"]

FORMAT: Final = 4

_AGAIN: Final = "delete it and pack again with: trustseg data pack SOURCE TARGET"

SCHEMA: Final = {
    "name": pl.String,
    "patient": pl.String,
    "patient_known": pl.Boolean,
    "split": pl.String,
    "has_mask": pl.Boolean,
    "foreground": pl.Int64,
    "foreground_native": pl.Int64,
    "width": pl.Int64,
    "height": pl.Int64,
    "sha256_pixels": pl.String,
    "content_group": pl.String,
}

GROUP: Final = "group_"
"""What the names of index columns begin with that come from further columns of a manifest."""


@dataclass(frozen=True, slots=True)
class PackOptions:
    """What a user sets of how images and masks become arrays; the keyword arguments of ``open_dataset``.

    Attributes:
        size: side of the square in pixels, >= 1.
        channels: 1 (grey) or 3 (RGB).
        fit: ``squash`` or ``pad`` images that are not square.
        mask_values: what the values of the masks mean (``trustseg.data.mask_encoding``); None decides from the files.
    """

    size: int
    channels: Channels = 1
    fit: Fit = "squash"
    mask_values: MaskValues | None = None

    def __post_init__(self) -> None:
        if self.size < 1 or self.channels not in get_args(Channels) or self.fit not in get_args(Fit):
            raise ConfigError(
                f"size {self.size}, channels {self.channels}, fit '{self.fit}': expected a size of at least 1, 1 or 3 "
                f"channels, and {' or '.join(get_args(Fit))}"
            )
        if self.mask_values is not None:
            parse_mask_values(self.mask_values)


@dataclass(frozen=True, slots=True, eq=False)
class Pack:
    """A dataset ready for training.

    Attributes:
        images: (N, C, S, S) uint8, read-only, memory-mapped.
        masks: (N, 1, S, S) uint8 of 0, 1 and 255 (ignored), read-only, memory-mapped; all 255 without a
            reference, and without foreground for a control, which is declared to have none.
        index: one row per case: ``name``; ``patient`` (the name itself where the patient is unknown) and
            ``patient_known``; ``split`` (train, test, control); ``has_mask``; ``foreground`` and
            ``foreground_native``, the pixels of foreground in the pack and in the file, null without a reference;
            ``width`` and ``height`` of the file; ``sha256_pixels`` of the decoded image; ``content_group``, shared by
            images that show the same picture; ``group_NAME`` for each further column NAME of a manifest.
        size: S, side of the square in pixels.
        channels: C, 1 (grey) or 3 (RGB).
        layout: name of the layout in ``LAYOUTS`` that the cases were found by.
        digest: SHA-256 over index, settings and arrays: equal digests mean equal decoded images and masks, packed
            alike, whatever the format and compression of their files.
        notes: sentences on what was converted on the way; they name no file.
        passed_over: image files of the dataset that belong to no case, relative to its folder.
        fit: how images were fitted into the square.
        white: value of deep images that became 255, None if no image needed one.
        encoding: what the values of the mask files mean.
        folder: where the pack lies, None if it was made in memory.
    """

    images: npt.NDArray[np.uint8]
    masks: npt.NDArray[np.uint8]
    index: pl.DataFrame
    size: int
    channels: Channels
    layout: str
    digest: str
    notes: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()
    fit: Fit = "squash"
    white: int | None = None
    encoding: MaskEncoding = field(default_factory=MaskEncoding)
    folder: Path | None = None

    def __len__(self) -> int:
        return len(self.index)

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Return the pack in a folder; arrays are mapped, and hashed only if they changed since they were last."""
        path = Path(path)
        description = _read_about(path)
        try:
            index = read_parquet(path / "index.parquet")
            images = np.load(path / "images.npy", mmap_mode="r", allow_pickle=False)
            masks = np.load(path / "masks.npy", mmap_mode="r", allow_pickle=False)
            damaged = damaged_file(path, description["files"])
            settings = {name: description[name] for name in ("size", "channels", "fit", "white")}
            encoding = _encoding_from(description["coding"])
            layout = str(description["layout"])
            notes, passed_over = (tuple(map(str, description[name])) for name in ("notes", "passed_over"))
            digest = digest_of(index, **settings, encoding=encoding, files=description["files"])
        except FileNotFoundError as error:
            raise MissingFileError(f"{error.filename or path} is missing from the pack; {_AGAIN}") from error
        except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, pl.exceptions.PolarsError) as error:
            raise DataError(f"the pack {path} cannot be read ({error}), {_AGAIN}") from error
        if damaged is not None:
            raise DataError(f"{path / damaged} is damaged: it is not what was packed; {_AGAIN}")
        size, channels, count = settings["size"], settings["channels"], len(index)
        shapes = (images.shape, masks.shape) == ((count, channels, size, size), (count, 1, size, size))
        is_consistent = shapes and images.dtype == masks.dtype == np.uint8 and description["digest"] == digest
        if not is_consistent:
            raise DataError(f"the files of the pack {path} do not belong together; {_AGAIN}")
        recorded: dict[str, Any] = {"layout": layout, "digest": digest, "notes": notes, "passed_over": passed_over}
        return cls(images, masks, index, encoding=encoding, folder=path, **recorded, **settings)

    @property
    def lost(self) -> list[str]:
        """Names of the images whose foreground is smaller than a pixel of the pack: their masks became empty."""
        if "foreground_native" not in self.index.columns:
            return []
        return self.index.filter((pl.col("foreground_native") > 0) & (pl.col("foreground") == 0))["name"].to_list()

    def area(self, row: int) -> Area:
        """Return the part of the square that an image covers: all of it unless ``fit`` is ``pad``."""
        width, height = self.index[row, "width"], self.index[row, "height"]
        return image_area(width, height, size=self.size, fit=self.fit)

    def native_masks(self, rows: Sequence[int]) -> list[npt.NDArray[np.uint8] | None]:
        """Return masks at the size of their files, (H, W) of 0, 1 and 255 (ignored); None without a reference.

        All rows are decoded at once, so ask for a batch at a time. A pack that was made in memory holds none.
        """
        if self.folder is None:
            raise DataError("a pack that was made in memory holds no masks at native size")
        wanted = list(dict.fromkeys(int(row) for row in rows))
        table = scan_parquet(self.folder / "native.parquet").with_row_index("row")
        found = table.filter(pl.col("row").is_in(wanted)).collect()
        masks = {row["row"]: _decoded(row["mask"], row["ignored"]) for row in found.iter_rows(named=True)}
        return [masks[int(row)] for row in rows]


def is_pack(path: Path) -> bool:
    """Return whether a folder holds a pack."""
    return (path / "pack.json").is_file()


def digest_of(
    index: pl.DataFrame,
    *,
    size: int,
    channels: int,
    fit: Fit = "squash",
    white: int | None = None,
    encoding: MaskEncoding | None = None,
    files: Mapping[str, str] | None = None,
) -> str:
    """Return the SHA-256 over everything that a pack is: index, settings and the hashes of its array files."""
    content = {
        "size": size,
        "channels": channels,
        "fit": fit,
        "white": white,
        "coding": None if encoding is None else encoding_values(encoding),
        "files": dict(files or {}),
        "columns": index.columns,
        "cases": index.rows(),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def encoding_values(encoding: MaskEncoding) -> dict[str, Any]:
    """Return an encoding of masks as plain values, for JSON."""
    ranges = {"lesion": encoding.foreground, "ignore": encoding.ignore, "background": encoding.background}
    return {"by": encoding.by, **ranges}


def _encoding_from(values: Mapping[str, Any]) -> MaskEncoding:
    foreground, ignore, background = (
        tuple((int(low), int(high)) for low, high in values[kind]) for kind in ("lesion", "ignore", "background")
    )
    return MaskEncoding(values["by"], foreground, ignore, background)


def _decoded(mask: bytes | None, ignored: bytes | None) -> npt.NDArray[np.uint8] | None:
    """Return a mask from its 1-bit PNG and that of its ignored pixels, if it has any."""
    if mask is None:
        return None
    values = np.asarray(Image.open(io.BytesIO(mask), formats=["PNG"])).astype(np.uint8)
    if ignored is not None:
        values[np.asarray(Image.open(io.BytesIO(ignored), formats=["PNG"]))] = IGNORED
    return values


def _read_about(path: Path) -> dict[str, Any]:
    """Return the content of ``pack.json`` after checking that it is of this format."""
    file = path / "pack.json"
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingFileError(f"{file} does not exist; make a pack with: trustseg data pack") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read ({error}); {_AGAIN}") from error
    found = about.get("format") if isinstance(about, dict) else None
    if found != FORMAT:
        raise DataError(f"the pack {path} has format {found}, this version reads {FORMAT}; {_AGAIN}")
    return cast(dict[str, Any], about)
