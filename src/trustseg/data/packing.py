"""Making packs, and opening whatever a user calls a dataset."""

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from trustseg.data.cases import Declared, Listing
from trustseg.data.decode import Channels, in_threads, two_passes
from trustseg.data.findings import image_notes, mask_notes, summaries_for_pack
from trustseg.data.intensity import IntensityScale, decide_scale
from trustseg.data.layouts import usable_cases
from trustseg.data.mask_encoding import decide_encoding
from trustseg.data.mask_values import MaskValues, parse_mask_values
from trustseg.data.pack import FORMAT, Pack, PackOptions, digest_of, encoding_values, is_pack
from trustseg.data.pack_cases import decode_case, index_of, scan_case, write_cases, write_table
from trustseg.data.pack_files import hashes_of, make_private, mark_as_checked, temporary_folder
from trustseg.data.patients import with_patients_of_files
from trustseg.data.resizing import Fit
from trustseg.errors import DataError, MissingFileError, misfortune
from trustseg.progress import ProgressCallback
from trustseg.text import plural

__all__ = ["open_dataset", "write_pack"]

DEFAULT_SIZE: Final = 224
_READING: Final = 2  # one more where files are read in another way, so that packs cached before are made again


def open_dataset(
    path: Path | str,
    *,
    size: int | None = None,
    channels: Channels = 1,
    fit: Fit = "squash",
    mask_values: MaskValues | None = None,
    declared: Declared | None = None,
    scale: IntensityScale | None = None,
    cache: Path | None = None,
    progress: ProgressCallback | None = None,
) -> Pack:
    """Return a dataset as a pack: a pack as it is, anything else packed once into a cache.

    A folder is packed again only after one of its files was added, removed or changed, or if its pack in the cache is
    damaged.

    Args:
        path: also a pack, which is refused if it was made with other settings.
        size: side of the square in pixels; None takes a pack's own size, and 224 for a folder.
        channels, fit, mask_values, declared, progress: as everywhere in ``trustseg.data``.
        scale: intensity scale of the data that a model was trained on; None decides from the files.
        cache: folder for packs; by default ``packs`` in ``$TRUSTSEG_CACHE``, or in ``~/.cache/trustseg``.
    """
    path = Path(path)
    if is_pack(path):
        pack = Pack.open(path)
        return _suitable(pack, path, PackOptions(size or pack.size, channels, fit, mask_values), scale)
    options = PackOptions(DEFAULT_SIZE if size is None else size, channels, fit, mask_values)
    listing = usable_cases(path, declared)
    folder = cache or Path(os.environ.get("TRUSTSEG_CACHE") or Path.home() / ".cache" / "trustseg") / "packs"
    own = folder / _fingerprint(path, listing, options)
    # A model's scale changes nothing where the data set would choose the same, or has no deep image.
    scaled = own if scale is None else own.with_name(f"{own.name}-white{scale.white}")
    damaged = False
    for target in dict.fromkeys((own, scaled)):
        if not target.exists():
            continue
        try:
            pack = Pack.open(target)
        except (DataError, MissingFileError):
            shutil.rmtree(target)
            damaged = True
        else:
            if scale is None or pack.white in (None, scale.white):
                return pack
    pack = _build(listing, scaled, source=path, options=options, scale=scale, progress=progress)
    note = "the pack in the cache was damaged, and has been made again"
    return replace(pack, notes=(*pack.notes, note)) if damaged else pack


def write_pack(
    source: Path | str,
    target: Path | str,
    *,
    size: int,
    channels: Channels = 1,
    fit: Fit = "squash",
    mask_values: MaskValues | None = None,
    declared: Declared | None = None,
    progress: ProgressCallback | None = None,
) -> Pack:
    """Decode a dataset, write it as a pack to a new folder and return that; only its owner can read it.

    All files are looked at first, so that the white of deep images (``trustseg.data.intensity``) and the meaning of
    mask values (``trustseg.data.mask_encoding``) are decided for the data set as a whole; both stand in ``pack.json``.
    Images and masks are then resized by area (``trustseg.data.resizing``). The pack appears whole or not at all.
    """
    source, target = Path(source), Path(target)
    options = PackOptions(size, channels, fit, mask_values)
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise DataError(f"{target} already exists; delete it, or choose another target")
    return _build(usable_cases(source, declared), target, source=source, options=options, scale=None, progress=progress)


def _build(
    listing: Listing,
    target: Path,
    *,
    source: Path,
    options: PackOptions,
    scale: IntensityScale | None,
    progress: ProgressCallback | None,
) -> Pack:
    """Write the pack next to its target, rename it into place and return it."""
    first, second = two_passes(progress)
    passed_over = listing.below(listing.passed_over)
    unused = f"{plural(len(passed_over), 'image file')} passed over: part of no case"
    try:
        with temporary_folder(target) as part:
            scans = in_threads(lambda case: scan_case(case, *decode_case(case)), listing.cases, progress=first)
            cases = with_patients_of_files(listing.cases, {scan.case.name: scan.patient for scan in scans})
            scans = [replace(scan, case=case) for scan, case in zip(scans, cases, strict=True)]
            masks = [mask for scan in scans for mask in scan.masks]
            encoding = decide_encoding(masks, mask_values=options.mask_values)
            scale = scale or decide_scale(scan.image for scan in scans)
            scans = write_cases(scans, part, options, scale=scale, encoding=encoding, progress=second)
            index = index_of(scans)
            write_table(index, part / "index.parquet")
            white = scale.white if any(scan.image.level is not None for scan in scans) else None
            settings: Any = {"size": options.size, "channels": options.channels, "fit": options.fit, "white": white}
            files = hashes_of(part)
            about = {
                "format": FORMAT,
                **settings,
                "coding": encoding_values(encoding),
                "layout": listing.layout,
                "files": files,
                "digest": digest_of(index, **settings, encoding=encoding, files=files),
                "count": len(index),
                "source": source.absolute().name,
                "passed_over": passed_over,
                "notes": [
                    *listing.notes,
                    *([unused] if passed_over else []),
                    *image_notes([scan.image for scan in scans], scale, options),
                    *encoding.notes,
                    *mask_notes(scans),
                    *summaries_for_pack(scans, index["content_group"].to_list(), options, scale),
                ],
            }
            (part / "pack.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
            make_private(part)
            mark_as_checked(part, files)
            try:
                part.rename(target)
            except OSError:
                # Another process was faster: its pack is as good as ours if it holds the same data.
                if not is_pack(target) or Pack.open(target).digest != about["digest"]:
                    raise
    except (DataError, MissingFileError):
        raise
    except (MemoryError, OSError) as error:
        needed = len(listing.cases) * (options.channels + 1) * options.size**2 / 1e6
        raise DataError(
            f"the pack ({needed:.0f} MB) cannot be written to {target}: {misfortune(error)}; to choose another folder: "
            "trustseg data pack SOURCE TARGET, or TRUSTSEG_CACHE"
        ) from error
    return Pack.open(target)


def _suitable(pack: Pack, path: Path, wanted: PackOptions, scale: IntensityScale | None) -> Pack:
    """Return a pack that a user made, after checking that it is what the settings ask for."""
    again = "pack the images again with: trustseg data pack SOURCE TARGET"
    if (pack.size, pack.channels, pack.fit) != (wanted.size, wanted.channels, wanted.fit):
        keys = [key for key in ("size", "channels", "fit") if getattr(pack, key) != getattr(wanted, key)]
        held, asked = (", ".join(f"{key} {getattr(one, key)}" for key in keys) for one in (pack, wanted))
        options = " ".join(f"--{key} {getattr(wanted, key)}" for key in ("size", "channels", "fit"))
        raise DataError(f"the pack {path} has {held}, but {asked} is needed; {again} {options}")
    if wanted.mask_values is not None and parse_mask_values(wanted.mask_values) != pack.encoding:
        raise DataError(f"the pack {path} was made with another data.mask_values; {again} --mask-values VALUES")
    if scale is not None and pack.white is not None and pack.white != scale.white:
        trained = "8-bit images" if scale.white is None else f"0 to {scale.white} as 0 to 255"
        note = f"this pack reads deep images with 0 to {pack.white} as 0 to 255, the model was trained on {trained}"
        return replace(pack, notes=(*pack.notes, note))
    return pack


def _fingerprint(path: Path, listing: Listing, options: PackOptions) -> str:
    """Return a name for the pack of these files as they are now: names, sizes, times and inodes, no content.

    The system alone sets the time of the last change (ctime): a corrected file with its old size and time is seen.
    """
    encoding = None if options.mask_values is None else encoding_values(parse_mask_values(options.mask_values))
    settings = [options.size, options.channels, options.fit, encoding]
    digest = hashlib.sha256(json.dumps([FORMAT, _READING, str(path.resolve()), listing.layout, *settings]).encode())
    for case in listing.cases:
        about: list[object] = [case.name, case.patient, case.split, dict(case.columns)]
        for file in (case.image, *case.masks):
            state = file.stat()
            about += [str(file), state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]
        digest.update(json.dumps(about).encode())
    if any(case.image.suffix.lower() in (".dcm", ".dicom") for case in listing.cases):
        digest.update(b"PatientID")  # which older packs did not look at
    digest.update(json.dumps([listing.notes, listing.below(listing.passed_over)]).encode())
    return digest.hexdigest()[:32]
