"""The two passes over the cases of a dataset: look at every file, then write every case into the arrays of a pack."""

import io
import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
from PIL import Image

from trustseg.data.cases import Case
from trustseg.data.decode import Progress, check_sizes, in_threads, read_image, read_mask
from trustseg.data.intensity import ImageScan, IntensityScale, decide_scale, render, scan_image
from trustseg.data.mask_codes import MaskCoding
from trustseg.data.mask_coding import MaskScan, apply_coding, counts_of, decide_coding, scan_mask, united
from trustseg.data.near_copies import content_groups, content_hash, thumbnail
from trustseg.data.pack import GROUP, SCHEMA
from trustseg.data.picture import Picture
from trustseg.data.reading import PackOptions
from trustseg.data.resizing import IGNORED, resize_image, resize_mask
from trustseg.errors import DataError

__all__ = [
    "CaseScan",
    "Decisions",
    "PackedCase",
    "Reference",
    "decide",
    "decode_case",
    "index_of",
    "reference_of",
    "scan_cases",
    "scan_pictures",
    "write_cases",
    "write_table",
]


_RELEASED: Final = 256  # cases that are written before their memory is given back


@dataclass(frozen=True, slots=True, eq=False)
class CaseScan:
    """What the first pass learns of a case.

    Attributes:
        image: facts of the image that the intensity scale depends on.
        width: of the image in pixels.
        height: of the image in pixels.
        masks: facts of the mask files that their coding depends on.
        hashes: SHA-256 of the bytes of image and mask files, by which a change between the passes is noticed.
        pixels: hash of the decoded image.
        thumbnail: by which near-copies are found.
        patient: mark of the patient, see ``Picture``; never written down.
    """

    image: ImageScan
    width: int
    height: int
    masks: tuple[MaskScan, ...]
    hashes: tuple[str, ...]
    pixels: str
    thumbnail: npt.NDArray[np.float32]
    patient: str = ""


@dataclass(frozen=True, slots=True)
class Decisions:
    """What holds for all files of a dataset: the white of deep images and the meaning of mask values."""

    scale: IntensityScale
    coding: MaskCoding


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
    def lost(self) -> bool:
        """Whether there is a lesion, and none of it is left at the size of the pack."""
        return self.foreground == 0 < self.foreground_native

    @property
    def share(self) -> float | None:
        """Share of lesion among the counted pixels of the file, None if all are ignored."""
        counted = self.pixels - self.ignored
        return self.foreground_native / counted if counted else None


@dataclass(frozen=True, slots=True)
class PackedCase:
    """What the second pass learns of a case; masks are PNG."""

    reference: Reference | None
    mask_png: bytes | None
    ignored_png: bytes | None


def decode_case(case: Case) -> tuple[Picture, list[Picture]]:
    """Return the decoded image and masks of a case."""
    return read_image(case.image), [read_mask(path) for path in case.masks]


def scan_pictures(case: Case, image: Picture, masks: Sequence[Picture]) -> CaseScan:
    """Return what the decoded files of a case hold.

    Raises:
        DataError: if image and masks differ in size.
    """
    for mask, path in zip(masks, case.masks, strict=True):
        check_sizes(image, mask, image_path=case.image, mask_path=path)
    return CaseScan(
        scan_image(image, case.image),
        *image.size,
        tuple(scan_mask(mask, path) for mask, path in zip(masks, case.masks, strict=True)),
        (image.sha256, *(mask.sha256 for mask in masks)),
        content_hash(image.pixels, inverted=image.inverted),
        thumbnail(image.pixels),
        image.patient,
    )


def scan_cases(cases: Sequence[Case], *, progress: Progress | None) -> list[CaseScan]:
    """Return what the files of each case hold; nothing of their pixels is kept."""
    return in_threads(lambda case: scan_pictures(case, *decode_case(case)), cases, progress=progress)


def decide(scans: Sequence[CaseScan], options: PackOptions, *, scale: IntensityScale | None = None) -> Decisions:
    """Return what holds for the whole dataset.

    Args:
        scans: its cases.
        options: whose ``mask_values`` decide, if given.
        scale: scale of other data, to be used again.

    Raises:
        DataError: if mask files do not agree, or hold values without one meaning.
    """
    coding = decide_coding([mask for scan in scans for mask in scan.masks], mask_values=options.mask_values)
    return Decisions(scale or decide_scale(scan.image for scan in scans), coding)


def reference_of(case: Case, scan: CaseScan, options: PackOptions, coding: MaskCoding) -> Reference:
    """Return what the masks of a case hold, and what is left of it in a pack; they are decoded only if need be.

    Args:
        case: the case, with masks.
        scan: what its files hold.
        options: size and fit of the pack.
        coding: what the values of the masks mean.

    Raises:
        DataError: if a mask cannot be read, or holds a value without a meaning.
    """
    if len(scan.masks) == 1 and (scan.width, scan.height) == (options.size, options.size):
        lesion, ignored = counts_of(scan.masks[0], coding)
        return Reference(lesion, lesion, ignored, scan.width * scan.height)
    mask = _reference_mask(case, [read_mask(path) for path in case.masks], coding)
    return _reference(mask, resize_mask(mask, options.size, options.fit))


def write_cases(
    cases: Sequence[Case],
    scans: Sequence[CaseScan],
    folder: Path,
    options: PackOptions,
    decisions: Decisions,
    *,
    progress: Progress | None,
) -> list[PackedCase]:
    """Write ``images.npy``, ``masks.npy`` and ``native.parquet``, each case straight to its place in the arrays.

    Raises:
        DataError: if a file changed since it was scanned.
    """
    size = options.size
    images = _new_array(folder / "images.npy", (len(cases), options.channels, size, size))
    masks = _new_array(folder / "masks.npy", (len(cases), 1, size, size))

    def write_one(row: int) -> PackedCase:
        return _write_case(cases[row], scans[row], images[row], masks[row, 0], options, decisions)

    def written(done: int, total: int) -> None:
        if done % _RELEASED == 0:
            _release(images, masks)
        if progress is not None:
            progress(done, total)

    packed = in_threads(write_one, range(len(cases)), progress=written)
    _release(images, masks)
    native = {
        "name": [case.name for case in cases],
        "width": [scan.width for scan in scans],
        "height": [scan.height for scan in scans],
        "mask": [one.mask_png for one in packed],
        "ignored": [one.ignored_png for one in packed],
    }
    types = {"name": pl.String, "width": pl.Int64, "height": pl.Int64, "mask": pl.Binary, "ignored": pl.Binary}
    write_table(pl.DataFrame(native, schema=types), folder / "native.parquet")
    return packed


def index_of(cases: Sequence[Case], scans: Sequence[CaseScan], packed: Sequence[PackedCase]) -> pl.DataFrame:
    """Return the index of a pack: ``SCHEMA``, and a column ``group_NAME`` for each further column of a manifest.

    Images that show the same picture share their ``content_group``.
    """
    pictures = content_groups([scan.pixels for scan in scans], np.stack([scan.thumbnail for scan in scans]))
    rows: list[dict[str, Any]] = [
        {
            "name": case.name,
            "patient": case.patient or case.name,
            "patient_known": case.patient is not None,
            "split": case.split,
            "has_mask": bool(case.masks),
            "foreground": one.reference and one.reference.foreground,
            "foreground_native": one.reference and one.reference.foreground_native,
            "width": scan.width,
            "height": scan.height,
            "sha256_pixels": scan.pixels,
            "content_group": picture,
            **{f"{GROUP}{name}": value for name, value in case.columns.items()},
        }
        for case, scan, one, picture in zip(cases, scans, packed, pictures, strict=True)
    ]
    groups = dict.fromkeys(f"{GROUP}{name}" for case in cases for name in case.columns)
    return pl.DataFrame(rows, schema={**SCHEMA, **dict.fromkeys(groups, pl.String)})


def write_table(table: pl.DataFrame, path: Path) -> None:
    """Write a table as parquet; a full disk raises an ``OSError``, which polars would hide in an error of its own."""
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    path.write_bytes(buffer.getbuffer())


def _write_case(
    case: Case,
    scan: CaseScan,
    image_out: npt.NDArray[np.uint8],
    mask_out: npt.NDArray[np.uint8],
    options: PackOptions,
    decisions: Decisions,
) -> PackedCase:
    """Decode one case into its places, (C, S, S) and (S, S)."""
    image, masks = decode_case(case)
    for path, picture, before in zip((case.image, *case.masks), (image, *masks), scan.hashes, strict=True):
        if picture.sha256 != before:
            raise DataError(f"{path} changed while it was packed; run the command again")
    pixels = render(image, decisions.scale, channels=options.channels, path=case.image)
    image_out[:] = np.moveaxis(np.atleast_3d(resize_image(pixels, options.size, options.fit)), -1, 0)
    if masks:
        mask = _reference_mask(case, masks, decisions.coding)
    elif case.split == "control":  # declared to be without a lesion
        mask = np.zeros(image.pixels.shape[:2], dtype=np.uint8)
    else:
        mask_out[:] = IGNORED
        return PackedCase(None, None, None)
    mask_out[:] = resize_mask(mask, options.size, options.fit)
    ignored = mask == IGNORED
    return PackedCase(_reference(mask, mask_out), _png(mask == 1), _png(ignored) if ignored.any() else None)


def _reference_mask(case: Case, masks: Sequence[Picture], coding: MaskCoding) -> npt.NDArray[np.uint8]:
    """Return the masks of a case as one, of 0, 1 and 255 (ignored), at the size of their files."""
    return united([apply_coding(found, coding, path) for found, path in zip(masks, case.masks, strict=True)])


def _reference(mask: npt.NDArray[np.uint8], resized: npt.NDArray[np.uint8]) -> Reference:
    counts = [int(np.count_nonzero(found)) for found in (resized == 1, mask == 1, mask == IGNORED)]
    return Reference(counts[0], counts[1], counts[2], mask.size)


def _png(mask: npt.NDArray[np.bool_]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, format="PNG")
    return buffer.getvalue()


def _release(*arrays: np.memmap[Any, np.dtype[np.uint8]]) -> None:
    """Write arrays to their files and leave the memory to others: all that was touched would count as in use."""
    for array in arrays:
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
