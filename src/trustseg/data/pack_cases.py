"""The two passes over the cases of a dataset: look at every file, then write every case into the arrays of a pack."""

import io
import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
from PIL import Image

from trustseg.data.cases import Case
from trustseg.data.decode import in_threads, read_image, read_mask
from trustseg.data.intensity import ImageScan, IntensityScale, render, scan_image
from trustseg.data.mask_encoding import MaskScan, apply_encoding, scan_mask, union
from trustseg.data.mask_values import MaskEncoding
from trustseg.data.near_copies import content_groups, content_hash, thumbnail
from trustseg.data.pack import GROUP, SCHEMA, PackOptions
from trustseg.data.picture import Picture
from trustseg.data.resizing import IGNORED, resize_image, resize_mask
from trustseg.errors import DataError
from trustseg.progress import ProgressCallback

__all__ = [
    "CaseScan",
    "Reference",
    "decode_case",
    "index_of",
    "reference_of",
    "release",
    "scan_case",
    "write_cases",
    "write_table",
]

Pixels = npt.NDArray[np.uint8]

_RELEASED: Final = 256  # cases that are written before their memory is given back


@dataclass(frozen=True, slots=True)
class Reference:
    """What a reference mask holds.

    Attributes:
        foreground: pixels of foreground at the size of the pack.
        foreground_native: those at the size of the file.
        ignored: ignored pixels at the size of the file.
        pixels: all pixels at the size of the file.
    """

    foreground: int
    foreground_native: int
    ignored: int
    pixels: int

    @property
    def share(self) -> float | None:
        """Share of foreground among the counted pixels of the file, None if all are ignored."""
        counted = self.pixels - self.ignored
        return self.foreground_native / counted if counted else None


@dataclass(frozen=True, slots=True, eq=False)
class CaseScan:
    """What decoding a case told; nothing of its pixels is kept.

    Attributes:
        case: the case.
        image: facts of the image that the intensity scale depends on.
        masks: facts of the mask files that their encoding depends on.
        hashes: SHA-256 of the bytes of image and mask files, by which a change between the passes is noticed.
        pixels: hash of the decoded image.
        thumbnail: by which near-copies are found.
        patient: mark of the patient, see ``Picture``; never written down.
        reference: what its masks hold, known once their encoding is decided; None without masks.
    """

    case: Case
    image: ImageScan
    masks: tuple[MaskScan, ...]
    hashes: tuple[str, ...]
    pixels: str
    thumbnail: npt.NDArray[np.float32]
    patient: str
    reference: Reference | None = None

    @property
    def empty(self) -> bool:
        """Whether there is a reference, and no foreground in it."""
        return self.reference is not None and self.reference.foreground_native == 0


def decode_case(case: Case) -> tuple[Picture, list[Picture]]:
    """Return the decoded image and masks of a case."""
    return read_image(case.image), [read_mask(path) for path in case.masks]


def scan_case(case: Case, image: Picture, masks: Sequence[Picture]) -> CaseScan:
    """Return what the decoded files of a case hold."""
    for mask, path in zip(masks, case.masks, strict=True):
        if mask.size != image.size:
            raise DataError(
                f"{path} has {mask.size[0]}x{mask.size[1]} pixels but its image {case.image} has "
                f"{image.size[0]}x{image.size[1]}; export the mask at the size of its image"
            )
    return CaseScan(
        case,
        scan_image(image, case.image),
        tuple(scan_mask(mask, path) for mask, path in zip(masks, case.masks, strict=True)),
        (image.sha256, *(mask.sha256 for mask in masks)),
        content_hash(image.pixels, inverted=image.inverted),
        thumbnail(image.pixels),
        image.patient,
    )


def reference_of(scan: CaseScan, options: PackOptions, encoding: MaskEncoding) -> Reference:
    """Return what the masks of a case hold, and what is left of it in a pack; they are decoded again."""
    mask = _reference_mask(scan.case, [read_mask(path) for path in scan.case.masks], encoding)
    return _reference(mask, resize_mask(mask, options.size, options.fit))


def write_cases(
    scans: Sequence[CaseScan],
    folder: Path,
    options: PackOptions,
    *,
    scale: IntensityScale,
    encoding: MaskEncoding,
    progress: ProgressCallback | None,
) -> list[CaseScan]:
    """Write ``images.npy``, ``masks.npy`` and ``native.parquet``; return the scans with what the masks hold.

    Each case goes straight to its place in the arrays. A file that changed since it was scanned is refused.
    """
    size = options.size
    images = _new_array(folder / "images.npy", (len(scans), options.channels, size, size))
    masks = _new_array(folder / "masks.npy", (len(scans), 1, size, size))

    def write_one(row: int) -> tuple[CaseScan, bytes | None, bytes | None]:
        scan = scans[row]
        case = scan.case
        image, found = decode_case(case)
        for path, picture, before in zip((case.image, *case.masks), (image, *found), scan.hashes, strict=True):
            if picture.sha256 != before:
                raise DataError(f"{path} changed while it was packed; run the command again")
        pixels = render(image, scale, channels=options.channels, path=case.image)
        images[row] = np.moveaxis(np.atleast_3d(resize_image(pixels, size, options.fit)), -1, 0)
        if not found and case.split != "control":
            masks[row] = IGNORED
            return scan, None, None
        # A control without a mask is declared to have no foreground.
        mask = _reference_mask(case, found, encoding) if found else np.zeros(pixels.shape[:2], dtype=np.uint8)
        masks[row, 0] = resize_mask(mask, size, options.fit)
        ignored = mask == IGNORED
        scan = replace(scan, reference=_reference(mask, masks[row, 0]))
        return scan, _png(mask == 1), _png(ignored) if ignored.any() else None

    def written(done: int, total: int) -> None:
        if done % _RELEASED == 0:
            release(images, masks)
        if progress is not None:
            progress(done, total)

    packed = in_threads(write_one, range(len(scans)), progress=written)
    release(images, masks)
    native = [(scan.case.name, *scan.image.size, mask, ignored) for scan, mask, ignored in packed]
    types = {"name": pl.String, "width": pl.Int64, "height": pl.Int64, "mask": pl.Binary, "ignored": pl.Binary}
    write_table(pl.DataFrame(native, schema=types, orient="row"), folder / "native.parquet")
    return [scan for scan, _, _ in packed]


def index_of(scans: Sequence[CaseScan]) -> pl.DataFrame:
    """Return the index of a pack: ``SCHEMA``, and a column ``group_NAME`` for each further column of a manifest.

    Images that show the same picture share their ``content_group``.
    """
    pictures = content_groups([scan.pixels for scan in scans], np.stack([scan.thumbnail for scan in scans]))
    rows: list[dict[str, Any]] = [
        {
            "name": scan.case.name,
            "patient": scan.case.patient or scan.case.name,
            "patient_known": scan.case.patient is not None,
            "split": scan.case.split,
            "has_mask": bool(scan.case.masks),
            "foreground": scan.reference and scan.reference.foreground,
            "foreground_native": scan.reference and scan.reference.foreground_native,
            "width": scan.image.size[0],
            "height": scan.image.size[1],
            "sha256_pixels": scan.pixels,
            "content_group": picture,
            **{f"{GROUP}{name}": value for name, value in scan.case.columns.items()},
        }
        for scan, picture in zip(scans, pictures, strict=True)
    ]
    groups = dict.fromkeys(f"{GROUP}{name}" for scan in scans for name in scan.case.columns)
    return pl.DataFrame(rows, schema={**SCHEMA, **dict.fromkeys(groups, pl.String)})


def write_table(table: pl.DataFrame, path: Path) -> None:
    """Write a table as parquet; a full disk raises an ``OSError``, which polars would hide in an error of its own."""
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    path.write_bytes(buffer.getbuffer())


def _reference_mask(case: Case, masks: Sequence[Picture], encoding: MaskEncoding) -> Pixels:
    """Return the masks of a case as one, of 0, 1 and 255 (ignored), at the size of their files."""
    return union([apply_encoding(found, encoding, path) for found, path in zip(masks, case.masks, strict=True)])


def _reference(mask: Pixels, resized: Pixels) -> Reference:
    counts = [int(np.count_nonzero(found)) for found in (resized == 1, mask == 1, mask == IGNORED)]
    return Reference(counts[0], counts[1], counts[2], mask.size)


def _png(mask: npt.NDArray[np.bool_]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, format="PNG")
    return buffer.getvalue()


def release(*arrays: npt.NDArray[np.uint8]) -> None:
    """Write mapped arrays to their files and leave the memory to others: all that was touched would count as in use."""
    for array in arrays:
        if not isinstance(array, np.memmap):
            continue
        array.flush()
        if isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            array.base.madvise(mmap.MADV_DONTNEED)


def _new_array(path: Path, shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[np.uint8]]:
    """Return a zeroed array in a new file whose room on the disk is reserved: a full disk is an error, not a crash."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array
