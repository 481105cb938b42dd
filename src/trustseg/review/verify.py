"""Verification of a review: its log, the masks that it names, the heads kept apart, and the predictions."""

import hashlib
from pathlib import Path
from typing import Final

from trustseg.errors import DataError
from trustseg.review.cases import CaseFolder
from trustseg.review.chain import Head, chain_faults, head_faults
from trustseg.review.changes import changed_images, changed_predictions
from trustseg.review.heads import read_heads
from trustseg.review.storage import Store

__all__ = ["PLACE", "changed_files", "open_store", "require_whole", "verify"]

PLACE: Final = "review"
"""Where in a folder of predictions its review is kept."""


def verify(store: Store, *, head: Head | None = None, folder: CaseFolder | None = None) -> list[str]:
    """Return what is wrong with a review, a sentence each; an empty list if nothing is.

    Args:
        store: the log with its masks.
        head: one that was kept elsewhere, which an intruder could not have changed.
        folder: the predictions that the review should be about.
    """
    if faults := store.faults():
        return faults  # nothing else can be read for sure
    kept = read_heads(store.folder)  # before the entries: others may write meanwhile
    entries = store.entries()
    heads = [*kept, *([] if head is None else [head])]
    faults = [*store.heads_faults(), *chain_faults(entries), *head_faults(entries, heads)]
    named = {str(entry.content.get("mask")) for entry in entries if entry.content.get("mask")}
    held = set(store.mask_names())
    faults += [f"the drawn mask {name[:12]} is gone" for name in sorted(named - held)]
    faults += [f"the mask {name[:12]} belongs to no entry" for name in sorted(held - named)]
    for name in sorted(named & held):
        if hashlib.sha256(store.mask(name) or b"").hexdigest() != name:
            faults.append(f"the drawn mask {name[:12]} was changed")
    return faults if folder is None else [*faults, *changed_files(store, folder)]


def changed_files(store: Store, folder: CaseFolder) -> list[str]:
    """Return which predictions and images are not those that a review is about, a sentence for each kind of file."""
    entries = store.entries()
    return [*changed_predictions(entries[0].content, folder), *changed_images(folder)] if entries else []


def require_whole(store: Store, folder: CaseFolder) -> Store:
    """Return a store, checked: nothing follows for sure from a log that was changed, or is about other predictions.

    Raises:
        DataError: if its log is not whole, or the predictions are not those that it is about.
    """
    if faults := verify(store):
        raise DataError(f"the log in '{store.folder}' is not whole: {faults[0]}; restore a backup")
    entries = store.entries()
    if entries and (changed := changed_predictions(entries[0].content, folder)):
        raise DataError(
            f"{changed[0]} (review in '{store.folder}'); restore them, or review the new ones with another --state"
        )
    return store


def open_store(folder: Path, *, state: Path | None = None, create: bool = True) -> Store:
    """Return the store of the review of a folder of predictions, which lies in it, or in ``state``."""
    return Store(folder / PLACE if state is None else state, create=create)
