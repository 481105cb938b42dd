"""Making packs, and opening whatever a user calls a dataset."""

import hashlib
import json
import os
import secrets
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from trustseg.data.cases import Case, Listing
from trustseg.data.decode import (
    Channels,
    Progress,
    check_sizes,
    in_threads,
    read_image,
    read_mask,
)
from trustseg.data.intensity import ImageScan, IntensityScale, decide_scale, render, scan_image
from trustseg.data.layouts import find_cases
from trustseg.data.mask_coding import (
    MaskCoding,
    MaskScan,
    MaskValues,
    apply_coding,
    decide_coding,
    parse_values,
    scan_mask,
    united,
)
from trustseg.data.near_copies import content_groups, content_hash, thumbnail
from trustseg.data.pack import FORMAT, SCHEMA, Pack, digest_of, is_pack
from trustseg.data.resizing import resize_image, resize_mask
from trustseg.errors import ConfigError, DataError, TrustsegError

__all__ = ["open_dataset", "write_pack"]

DEFAULT_SIZE: Final = 224


def open_dataset(
    path: Path | str,
    *,
    size: int | None = None,
    channels: Channels = 1,
    mask_values: MaskValues | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Pack:
    """Return a dataset as a pack: a pack as it is, anything else packed once into a cache.

    Args:
        path: a pack, or a folder in one of ``LAYOUTS``; nothing is written there.
        size: side of the square in pixels; None takes a pack's own size, and 224 for a folder.
        channels: 1 (grey) or 3 (RGB).
        mask_values: what the values of the masks mean (``trustseg.data.mask_coding``); None decides from the files.
        cache: folder for packs; by default ``packs`` in ``$TRUSTSEG_CACHE``, or in ``~/.cache/trustseg``.
        progress: called with (images done, images in all) while packing.

    Returns:
        The pack. A folder is packed again only after one of its files was added, removed or changed.

    Raises:
        MissingFileError: if there is nothing at ``path``.
        DataError: if an image or mask cannot be used, or if a pack has another size or number of channels.
    """
    path = Path(path)
    if is_pack(path):
        pack = Pack.open(path)
        if pack.channels != channels or size not in (None, pack.size):
            wanted = size or pack.size
            raise DataError(
                f"the pack {path} holds {pack.size}-pixel images with {pack.channels} channels, expected {wanted} "
                f"pixels and {channels}; pack the images again with: "
                f"trustseg data pack SOURCE TARGET --size {wanted} --channels {channels}"
            )
        return pack
    size = DEFAULT_SIZE if size is None else size
    listing = find_cases(path)
    folder = cache or Path(os.environ.get("TRUSTSEG_CACHE") or Path.home() / ".cache" / "trustseg") / "packs"
    target = folder / _fingerprint(path, listing, size=size, channels=channels, mask_values=mask_values)
    if not is_pack(target):
        _build(listing, target, source=path, size=size, channels=channels, mask_values=mask_values, progress=progress)
    return Pack.open(target)


def write_pack(
    source: Path | str,
    target: Path | str,
    *,
    size: int,
    channels: Channels = 1,
    mask_values: MaskValues | None = None,
    progress: Progress | None = None,
) -> Pack:
    """Decode a dataset once, write it as a pack and return that.

    Images become grey (or RGB) squares by area average, bilinear where a side grows; masks are read as one coding
    for the whole data set (``mask_coding``) and resized by area share (``resize_mask``). The pack appears whole or not
    at all.

    Args:
        source: a folder in one of ``LAYOUTS``.
        target: the folder to make.
        size: side of the square in pixels, >= 1.
        channels: 1 (grey) or 3 (RGB).
        mask_values: what the values of the masks mean (``trustseg.data.mask_coding``); None decides from the files.
        progress: called with (images done, images in all).

    Raises:
        MissingFileError: if there is no such source.
        ConfigError: if size or channels cannot be.
        DataError: if the target exists or cannot be written, or if an image or mask cannot be used.
    """
    source, target = Path(source), Path(target)
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise DataError(f"{target} exists already, expected a new folder; delete it or name another target")
    return _build(
        find_cases(source),
        target,
        source=source,
        size=size,
        channels=channels,
        mask_values=mask_values,
        progress=progress,
    )


def _build(
    listing: Listing,
    target: Path,
    *,
    source: Path,
    size: int,
    channels: Channels,
    mask_values: MaskValues | None,
    progress: Progress | None,
) -> Pack:
    """Write the pack beside its target, rename it into place and return it."""
    if size < 1 or channels not in (1, 3):
        raise ConfigError(f"got size {size} and {channels} channels, expected size >= 1 and 1 or 3 channels; change it")
    _refuse_unpaired(listing, source)
    part = target.parent / f".{target.name}.{secrets.token_hex(4)}.part"
    try:
        part.mkdir(parents=True)
        scans = in_threads(_scan, listing.cases, progress=None)
        scale = decide_scale([image for image, _ in scans])
        coding = decide_coding([mask for _, masks in scans for mask in masks], mask_values=mask_values)
        rows = _write_arrays(
            listing.cases, part, size=size, channels=channels, scale=scale, coding=coding, progress=progress
        )
        index = _index(rows)
        index.write_parquet(part / "index.parquet")
        about = {
            "format": FORMAT,
            "size": size,
            "channels": channels,
            "layout": listing.layout,
            "digest": digest_of(index, size=size, channels=channels),
            "count": len(index),
            "source": source.absolute().name,
            "notes": [*listing.notes, *scale.notes, *coding.notes, *_notes(rows)],
        }
        (part / "pack.json").write_text(json.dumps(about, indent=1) + "\n")
        try:
            part.rename(target)
        except OSError:
            # Another process was faster: its pack is as good as ours if it holds the same data.
            if not is_pack(target) or Pack.open(target).digest != about["digest"]:
                raise
    except TrustsegError:
        raise
    except OSError as error:
        raise DataError(
            f"the pack cannot be written to {target} ({error.strerror}), expected a writable folder with "
            f"{len(listing.cases) * (channels + 1) * size**2 / 1e6:.0f} MB free; make room, or choose another place "
            "(trustseg data pack SOURCE TARGET, or TRUSTSEG_CACHE)"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Pack.open(target)


@dataclass(frozen=True, slots=True)
class _Row:
    """The index row of one case, and what was converted to get there."""

    columns: dict[str, str | int | bool | None]
    conversions: tuple[str, ...]
    thumbnail: npt.NDArray[np.float32]


def _index(rows: Sequence[_Row]) -> pl.DataFrame:
    """Return the index of a pack; images that show the same picture share their ``content_group``."""
    columns = pl.DataFrame([row.columns for row in rows], schema=SCHEMA)
    groups = content_groups(columns["sha256_pixels"].to_list(), np.stack([row.thumbnail for row in rows]))
    return columns.with_columns(pl.Series("content_group", groups, dtype=pl.String))


def _write_arrays(
    cases: tuple[Case, ...],
    folder: Path,
    *,
    size: int,
    channels: Channels,
    scale: IntensityScale,
    coding: MaskCoding,
    progress: Progress | None,
) -> list[_Row]:
    """Write both arrays, each case straight to its place so that memory stays constant, and return the rows."""
    images = _new_array(folder / "images.npy", (len(cases), channels, size, size))
    masks = _new_array(folder / "masks.npy", (len(cases), 1, size, size))

    def pack_one(number: int) -> _Row:
        return _pack_case(cases[number], images[number], masks[number, 0], scale=scale, coding=coding)

    rows = in_threads(pack_one, range(len(cases)), progress=progress)
    images.flush()
    masks.flush()
    return rows


def _scan(case: Case) -> tuple[ImageScan, list[MaskScan]]:
    """Return what the decisions for the whole data set need to know of one case."""
    image = scan_image(read_image(case.image), case.image)
    return image, [scan_mask(read_mask(path), path) for path in case.masks]


def _pack_case(
    case: Case,
    image_out: npt.NDArray[np.uint8],
    mask_out: npt.NDArray[np.uint8],
    *,
    scale: IntensityScale,
    coding: MaskCoding,
) -> _Row:
    """Decode one case into its places, (C, S, S) and (S, S), and return its row."""
    channels: Channels = 1 if len(image_out) == 1 else 3
    size = image_out.shape[-1]
    image = read_image(case.image)
    pixels = render(image, scale, channels=channels, path=case.image)
    image_out[:] = np.moveaxis(np.atleast_3d(resize_image(pixels, size)), -1, 0)
    conversions = list(image.notes)
    if image.coloured and channels == 1:
        conversions.append("had colours, which became grey levels (luminance)")
    masks = [read_mask(path) for path in case.masks]
    for mask, path in zip(masks, case.masks, strict=True):
        check_sizes(image, mask, image_path=case.image, mask_path=path)
    if masks:
        lesion = united([apply_coding(mask, coding, path) for mask, path in zip(masks, case.masks, strict=True)])
        mask_out[:] = resize_mask(lesion, size)
        if (lesion == 1).any() and not (mask_out == 1).any():
            conversions.append("lost a tiny infection when its mask shrank")
    columns: dict[str, str | int | bool | None] = {
        "name": case.name,
        "patient": case.patient or case.name,
        "patient_known": case.patient is not None,
        "split": case.split,
        "has_mask": bool(masks),
        "foreground": int((mask_out == 1).sum()),
        "width": image.size[0],
        "height": image.size[1],
        "sha256_image": image.sha256,
        "sha256_mask": "+".join(mask.sha256 for mask in masks) or None,
        "sha256_pixels": content_hash(image.pixels),
    }
    return _Row(columns, tuple(conversions), thumbnail(image.pixels))


def _new_array(path: Path, shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[np.uint8]]:
    """Return a zeroed array in a new file whose room on the disk is reserved: a full disk is an error, not a crash."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _refuse_unpaired(listing: Listing, source: Path) -> None:
    lone = [*listing.lone_images, *listing.lone_masks]
    if lone:
        raise DataError(
            f"{source} has {len(listing.lone_images)} images without a mask and {len(listing.lone_masks)} masks "
            f"without an image, such as {lone[0]}, expected pairs; see them all with: trustseg data check {source}"
        )


def _notes(rows: list[_Row]) -> list[str]:
    counts = Counter(conversion for row in rows for conversion in row.conversions)
    return [f"{count} images {conversion}" for conversion, count in sorted(counts.items())]


def _fingerprint(path: Path, listing: Listing, *, size: int, channels: int, mask_values: MaskValues | None) -> str:
    """Return a name for the pack of these files as they are now: names, sizes and times, no content."""
    coding = None if mask_values is None else asdict(parse_values(mask_values))
    digest = hashlib.sha256(json.dumps([FORMAT, size, channels, str(path.resolve()), coding]).encode())
    for case in listing.cases:
        for file in (case.image, *case.masks):
            state = file.stat()
            digest.update(json.dumps([case.name, case.split, file.name, state.st_size, state.st_mtime_ns]).encode())
    return digest.hexdigest()[:32]
