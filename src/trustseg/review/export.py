"""A review as files that others can read: tables, the whole log, masks, and masks of DICOM images as Segmentations."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import polars as pl

from trustseg import __version__
from trustseg.data.decode import read_image
from trustseg.dicom_output import RedrawnMask, SegmentMeaning, meaning_in, read_source, write_redrawn
from trustseg.errors import DataError, MissingFileError, MissingPackageError
from trustseg.files import replacing, write_json, write_text
from trustseg.prediction_folder import mask_file
from trustseg.review.cases import CaseFolder
from trustseg.review.chain import HEADS, Entry
from trustseg.review.outcome import Settled, settled_cases
from trustseg.review.pictures import read_mask_png, require_predicted
from trustseg.review.state import State
from trustseg.review.storage import DATABASE, Store
from trustseg.tables import write_csv

__all__ = ["back_up", "export_review"]

_CONTENT: Final = (
    *("rating", "decision", "confidence", "comment", "reason", "seconds", "layers", "score", "threshold", "model"),
    *("config", "image_sha256", "mask_sha256", "mask", "dice_with_model"),
)


def export_review(folder: CaseFolder, store: Store, output: Path, *, note: Callable[[str], None] | None = None) -> Path:
    """Write a review into a folder, and return the folder.

    ``log.csv`` has a row for each entry, ``log.json`` all of it with hashes, ``cases.csv`` a row for each case,
    ``masks/NAME.png`` the mask that stands of each case that is done and has one, ``dicom/NAME.seg.dcm`` the same as a
    DICOM Segmentation where it was redrawn on a DICOM image, and ``drawn/NUMBER.png`` the mask that was drawn with each
    entry; folders without a mask are not made. Seconds in the tables are rounded to 0.1. ``note`` is called with a
    sentence for each redrawn mask of a DICOM image that no Segmentation can be written of.
    """
    entries = store.entries()
    state = State()
    state.read(entries)
    names = {case.number: case.image for case in folder.cases}
    settled = {found.case.number: found for found in settled_cases(folder, store, state)}
    segmentations = {}
    for number, each in settled.items():
        if each.mask is not None:
            _write(mask_file(output, each.case.mask), each.mask)
        try:
            segmentations[number] = _write_segmentation(folder, each, output)
        except (DataError, MissingFileError, MissingPackageError) as error:
            if note is not None:
                note(f"case {number} has its redrawn mask as PNG alone: {str(error).partition('; ')[0]}")
    for entry in entries:
        drawn = store.mask(entry.content.get("mask") or "")
        if drawn is not None:
            _write(output / "drawn" / f"{entry.number}.png", drawn)
    write_csv(_table([_log_row(entry, names) for entry in entries]), output / "log.csv")
    write_json(output / "log.json", {"head": str(store.head()), "entries": [asdict(entry) for entry in entries]})
    rows = []
    for case in folder.cases:
        found, file = settled.get(case.number), segmentations.get(case.number)
        rows.append(
            {
                "case": case.number,
                "image": case.image,
                "score": case.score,
                "flagged": None if case.flagged is None else ("yes" if case.flagged else "no"),
                "status": state.status(case.number),
                "decision": None if found is None else found.entry.content["decision"],
                "settled_by": None if found is None else found.entry.reviewer,
                "entry": None if found is None else found.entry.number,
                "mask": None if found is None or found.mask is None else f"masks/{case.mask.name}",
                "segmentation": None if file is None else f"dicom/{file.name}",
            }
        )
    write_csv(_table(rows), output / "cases.csv")
    return output


def back_up(store: Store, output: Path) -> Path:
    """Write a copy of a review that can be used in its place, also while people work; return its database."""
    if faults := store.heads_faults():
        raise DataError(f"{faults[0]}; restore an older backup")
    path = output / DATABASE
    head = store.back_up(path)
    kept = (store.folder / HEADS).read_text(encoding="utf-8").splitlines(keepends=True)
    write_text(output / HEADS, "".join(kept[: head.number]))
    return path


def _write_segmentation(folder: CaseFolder, settled: Settled, output: Path) -> Path | None:
    """Write a redrawn mask of a DICOM image as Segmentation, and return the file; None of other masks and images.

    The segment means what it means in the Segmentation that ``predict`` wrote of the same image; where there is none,
    it is called foreground.
    """
    case, entry, mask = settled
    if mask is None or not entry.content.get("mask"):
        return None
    picture = read_image(case.file)
    if picture.kind != "DICOM":
        return None
    require_predicted(case, picture.sha256)
    predicted = folder.folder / "dicom" / f"{case.mask.stem}.seg.dcm"
    meaning = meaning_in(predicted) if predicted.is_file() else SegmentMeaning()
    drawn = RedrawnMask(read_mask_png(mask, case), entry.hash, folder.model, __version__)
    file = output / "dicom" / predicted.name
    write_redrawn(read_source(case.file), drawn, meaning, file)
    return file


def _log_row(entry: Entry, names: dict[int, str]) -> dict[str, Any]:
    content = {name: entry.content.get(name) for name in _CONTENT}
    layers, seconds = content["layers"], content["seconds"]
    return {
        "entry": entry.number,
        "time": entry.time,
        "reviewer": entry.reviewer,
        "kind": entry.kind,
        "case": entry.case,
        "image": None if entry.case is None else names.get(entry.case),
        **content,
        "seconds": None if seconds is None else round(seconds, 1),
        "layers": None if layers is None else " ".join(layers),
        "previous": entry.previous,
        "hash": entry.hash,
    }


def _table(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, infer_schema_length=None, strict=False)


def _write(path: Path, data: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(data)
