"""Verification of a review: its log, the masks that it names, the heads kept apart, predictions and images."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from trustseg.data.decode import in_threads
from trustseg.errors import DataError
from trustseg.prediction_folder import ABOUT, TABLE
from trustseg.review.cases import Case, CaseFolder, sha256_of
from trustseg.review.chain import Head, canonical, chain_faults, head_faults, read_heads
from trustseg.review.storage import Store
from trustseg.text import first_of

__all__ = ["PLACE", "changed_files", "fingerprints", "open_store", "require_whole", "verify"]

PLACE: Final = "review"
"""Where in a folder of predictions its review is kept."""

_DIGITS: Final = 16  # of a hash: it tells which file changed; that one did is told by the hash of all cases


def verify(store: Store, *, head: Head | None = None, folder: CaseFolder | None = None) -> list[str]:
    """Return what is wrong with a review, a sentence each; an empty list if nothing is.

    It is held against a ``head`` that was kept elsewhere, which an intruder could not have changed, and against the
    predictions that it should be about.
    """
    if faults := store.faults():
        return faults  # nothing else can be read for sure
    kept = read_heads(store.folder)  # before the entries: others may write meanwhile
    entries = store.entries()
    heads = [*kept, *([] if head is None else [head])]
    faults = [*store.heads_faults(), *chain_faults(entries), *head_faults(entries, heads)]
    named = {str(entry.content.get("mask")) for entry in entries if entry.content.get("mask")}
    stored = set(store.mask_names())
    faults += [f"the drawn mask {name[:12]} is gone" for name in sorted(named - stored)]
    faults += [f"the mask {name[:12]} belongs to no entry" for name in sorted(stored - named)]
    for name in sorted(named & stored):
        if hashlib.sha256(store.mask(name) or b"").hexdigest() != name:
            faults.append(f"the drawn mask {name[:12]} was changed")
    return faults if folder is None else [*faults, *changed_files(store, folder)]


def changed_files(store: Store, folder: CaseFolder) -> list[str]:
    """Return which predictions and images are not those that a review is about, a sentence for each kind of file."""
    entries = store.entries()
    if not entries:
        return []
    digests = in_threads(lambda case: sha256_of(case.file), folder.cases, progress=None)
    wrong = [case.file for case, digest in zip(folder.cases, digests, strict=True) if digest != case.image_sha256]
    images = [f"images are not those that were predicted: {_named(wrong)}"] if wrong else []
    return [*_changed_predictions(entries[0].content, folder), *images]


def require_whole(store: Store, folder: CaseFolder) -> Store:
    """Return a store, checked: nothing follows for sure from a log that was changed, or is about other predictions.

    Raises:
        DataError: if its log is not whole, or the predictions are not those that it is about.
    """
    if faults := verify(store):
        raise DataError(f"the log in '{store.folder}' is not whole: {faults[0]}; restore a backup")
    entries = store.entries()
    if entries and (changed := _changed_predictions(entries[0].content, folder)):
        raise DataError(
            f"{changed[0]} (review in '{store.folder}'); restore them, or review the new ones with another --state"
        )
    return store


def open_store(folder: Path, *, state: Path | None = None, create: bool = True) -> Store:
    """Return the store of the review of a folder of predictions, which lies in it, or in ``state``."""
    return Store(folder / PLACE if state is None else state, create=create)


def fingerprints(cases: Sequence[Case]) -> dict[str, list[str]]:
    """Return short hashes of the row, image and mask of each case, by the hash of its name."""
    return {_short(case.image): _fingerprint(case) for case in cases}


def _changed_predictions(opened: Mapping[str, Any], folder: CaseFolder) -> list[str]:
    """Return what differs from the predictions of the first entry of the log, a sentence for each file."""
    whole, table, about = opened.get("digest") == folder.digest, folder.folder / TABLE, folder.folder / ABOUT
    if "files" not in opened:  # a review that an older version began
        parts = f"{TABLE}, {ABOUT} or masks/"
        return [] if whole else [f"{parts} in '{folder.folder}' are not those that the review is about"]
    before, now = opened["files"], {_short(case.image): case for case in folder.cases}
    kept = [(case, before[name], _fingerprint(case)) for name, case in now.items() if name in before]
    rows, sources, masks = ([case for case, old, new in kept if old[part] != new[part]] for part in range(3))
    faults = []
    if gone := len(before.keys() - now.keys()):
        faults.append(f"'{table}' lacks {gone} of the {len(before)} images that the review is about")
    for start, names in (
        (f"'{table}' has images that the review is not about", [now[name].image for name in now if name not in before]),
        (f"'{table}' has other rows than when the review began", [case.image for case in rows]),
        (f"'{about}' has the SHA-256 of other images", [case.image for case in sources]),
        ("masks are not those that the review is about", [case.mask for case in masks]),
    ):
        if names:
            faults.append(f"{start}: {_named(names)}")
    if not faults and not whole:
        faults.append(f"'{table}' or masks/ is not what the review is about")
    return faults


def _fingerprint(case: Case) -> list[str]:
    numbers = (case.score, case.predicted_fraction, case.largest_probability)
    row = [case.number, *(None if math.isnan(number) else number for number in numbers), case.flagged]
    return [_short(canonical([*row, case.width, case.height])), case.image_sha256[:_DIGITS], case.mask_sha256[:_DIGITS]]


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _named(names: Sequence[object]) -> str:
    return first_of([f"'{name}'" for name in names])
