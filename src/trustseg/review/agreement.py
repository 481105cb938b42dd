"""Agreement of readers: Cohen's kappa of their decisions, Dice of their masks."""

from collections.abc import Sequence
from itertools import combinations
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trustseg.review.cases import CaseFolder
from trustseg.review.chain import Entry
from trustseg.review.outcome import decided_mask
from trustseg.review.pictures import overlap, read_mask_png
from trustseg.review.state import State
from trustseg.review.storage import Store
from trustseg.statistics import Interval, bootstrap_statistic

__all__ = ["Pair", "agreement", "cohen_kappa"]


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


class _Both(NamedTuple):
    """The decisions of two readers on one case."""

    number: int
    first: Entry
    second: Entry


def agreement(folder: CaseFolder, store: Store, state: State) -> list[Pair]:
    """Return how far each two readers agree who have decided on the same cases."""
    both: dict[tuple[str, str], list[_Both]] = {}
    for case in folder.cases:
        entries = sorted(state.standing(case.number), key=lambda entry: entry.reviewer)
        for first, second in combinations(entries, 2):
            both.setdefault((first.reviewer, second.reviewer), []).append(_Both(case.number, first, second))
    return [_pair(names, found, folder, store) for names, found in sorted(both.items())]


def cohen_kappa(first: Sequence[str], second: Sequence[str]) -> float:
    """Return the agreement of two raters beyond chance, (p_o - p_e) / (1 - p_e); NaN where p_e is 1.

    Example:
        >>> cohen_kappa(["a", "a", "b", "b"], ["a", "a", "b", "a"])
        0.5

    Reference:
        Cohen, "A Coefficient of Agreement for Nominal Scales", Educational and Psychological Measurement 1960.
    """
    names = sorted({*first, *second})
    one, other = (np.array([[word == name for name in names] for word in words]) for words in (first, second))
    seen = float((one & other).any(axis=1).mean())
    chance = float((one.mean(axis=0) * other.mean(axis=0)).sum())
    return float("nan") if chance == 1 else (seen - chance) / (1 - chance)


def _pair(names: tuple[str, str], found: Sequence[_Both], folder: CaseFolder, store: Store) -> Pair:
    first = np.array([each.first.content["decision"] for each in found])
    second = np.array([each.second.content["decision"] for each in found])

    def kappa(rows: NDArray[np.int64]) -> float:
        return cohen_kappa(list(first[rows]), list(second[rows]))

    overlaps = [value for each in found if (value := _overlap(folder, store, each)) is not None]
    return Pair(
        names,
        len(found),
        float((first == second).mean()),
        bootstrap_statistic(kappa, [each.number for each in found], draws=500),
        median(overlaps) if overlaps else None,
        len(overlaps),
    )


def _overlap(folder: CaseFolder, store: Store, both: _Both) -> float | None:
    case = folder.case(both.number)
    masks = [decided_mask(case, store, entry) for entry in (both.first, both.second)]
    arrays = [read_mask_png(mask, case) for mask in masks if mask is not None]
    return overlap(*arrays) if len(arrays) == 2 else None
