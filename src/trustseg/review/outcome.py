"""The outcome of cases: the final mask, whether the model's had failed, and how far readers agree."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trustseg.errors import DataError
from trustseg.review.cases import Case, CaseFolder
from trustseg.review.chain import Entry
from trustseg.review.pictures import overlap, read_mask_png
from trustseg.review.state import State
from trustseg.review.storage import Store
from trustseg.statistics import Interval, bootstrap_statistic

__all__ = ["Pair", "Settled", "agreement", "cohen_kappa", "has_failed", "settled_cases", "tau_of"]


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
            yield Settled(case, final, _decided_mask(case, store, final))


def _decided_mask(case: Case, store: Store, entry: Entry) -> bytes | None:
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


class Pair(NamedTuple):
    """Two readers of the same cases.

    Attributes:
        readers: their names.
        cases: how many both have decided.
        same: share of these with the same decision.
        kappa: Cohen's kappa of accept, edit and reject, its interval over cases; NaN if both always said the same.
        dice: median Dice of the two masks where both let one stand and not both are empty; None without any.
        masks: number of these.
    """

    readers: tuple[str, str]
    cases: int
    same: float
    kappa: Interval
    dice: float | None
    masks: int


def agreement(folder: CaseFolder, store: Store, state: State) -> list[Pair]:
    """Return how far each two readers agree who have decided on the same cases."""
    both: defaultdict[tuple[str, str], list[tuple[Entry, Entry]]] = defaultdict(list)
    for case in folder.cases:
        entries = sorted(state.standing(case.number), key=lambda entry: entry.reviewer)
        for first, second in combinations(entries, 2):
            both[first.reviewer, second.reviewer].append((first, second))
    return [_pair(names, found, folder, store) for names, found in sorted(both.items())]


def _pair(names: tuple[str, str], pairs: Sequence[tuple[Entry, Entry]], folder: CaseFolder, store: Store) -> Pair:
    first, second = (np.array([pair[place].content["decision"] for pair in pairs]) for place in range(2))
    numbers = [one.case or 0 for one, _ in pairs]

    def kappa(rows: NDArray[np.int64]) -> float:
        return cohen_kappa(list(first[rows]), list(second[rows]))

    overlaps: list[float] = []
    for number, pair in zip(numbers, pairs, strict=True):
        case = folder.case(number)
        masks = [mask for entry in pair if (mask := _decided_mask(case, store, entry)) is not None]
        if len(masks) == 2 and (value := overlap(*(read_mask_png(mask, case) for mask in masks))) is not None:
            overlaps.append(value)
    return Pair(
        names,
        len(pairs),
        float((first == second).mean()),
        bootstrap_statistic(kappa, numbers, draws=500),
        median(overlaps) if overlaps else None,
        len(overlaps),
    )


def cohen_kappa(first: Sequence[str], second: Sequence[str]) -> float:
    """Return the agreement of two raters beyond chance, (p_o - p_e) / (1 - p_e); NaN where p_e is 1.

    Example:
        >>> cohen_kappa(["a", "a", "b", "b"], ["a", "a", "b", "a"])
        0.5

    Reference:
        Cohen, "A Coefficient of Agreement for Nominal Scales", Educational and Psychological Measurement 1960.
    """
    names = sorted({*first, *second})
    first_is, second_is = (np.array([[word == name for name in names] for word in words]) for words in (first, second))
    observed = float((first_is & second_is).any(axis=1).mean())
    chance = float((first_is.mean(axis=0) * second_is.mean(axis=0)).sum())
    return float("nan") if chance == 1 else (observed - chance) / (1 - chance)
