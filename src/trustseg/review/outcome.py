"""The outcome of a case: the final mask, and whether the model's had failed, as people judged it."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from trustseg.errors import DataError
from trustseg.review.cases import Case, CaseFolder
from trustseg.review.chain import Entry
from trustseg.review.state import State
from trustseg.review.storage import Store

__all__ = ["Settled", "decided_mask", "has_failed", "settled_cases", "tau_of"]


class Settled(NamedTuple):
    """A case that is done.

    Attributes:
        case: which.
        entry: the decision or adjudication that settled it.
        mask: the mask that stands (PNG, 0 or 255, of the image's size): the model's if accepted, the redrawn one;
            None if it was rejected, or an edit was asked for and not drawn.
    """

    case: Case
    entry: Entry
    mask: bytes | None


def settled_cases(folder: CaseFolder, store: Store, state: State) -> Iterator[Settled]:
    """Yield the cases that are done, in their order; other formats of masks, such as DICOM SEG, start from these."""
    for case in folder.cases:
        final = state.final(case.number)
        if final is not None:
            yield Settled(case, final, decided_mask(case, store, final))


def decided_mask(case: Case, store: Store, entry: Entry) -> bytes | None:
    """Return the mask that stands after one decision, None if none does.

    Raises:
        DataError: if the model's mask was accepted and its file is no longer the one that was decided on.
    """
    if entry.content["decision"] == "accept":
        mask = case.mask.read_bytes()
        if hashlib.sha256(mask).hexdigest() != entry.content["mask_sha256"]:
            raise DataError(f"'{case.mask}' is not the mask that {entry.reviewer} accepted; restore it from a backup")
        return mask
    name = entry.content.get("mask")
    return None if name is None else store.mask(name)


def tau_of(folder: CaseFolder) -> float:
    """Return the Dice below which a mask has failed: that of the policy, or 0.5."""
    return 0.5 if folder.policy is None else folder.policy.tau


def has_failed(entry: Entry, *, tau: float) -> bool | None:
    """Return whether the model's mask has failed by a decision on it; None if the decision does not tell.

    A rejected mask has, an accepted one has not; one that was redrawn has if its Dice with the drawn one is below
    ``tau``. An edit that was asked for and not drawn tells nothing.
    """
    content = entry.content
    if content["decision"] != "edit":
        return bool(content["decision"] == "reject")
    if content.get("mask") is None:
        return None
    value = content.get("dice_with_model")
    return value is not None and value < tau
