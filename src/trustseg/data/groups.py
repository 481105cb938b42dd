"""Images that belong together: of one patient, or of one picture."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import polars as pl

from trustseg.data.cases import Case
from trustseg.text import patient_key

__all__ = ["linked", "one_spelling", "patient_groups", "with_marked_patients"]


def linked(links: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """Return the smallest name of the group of each linked name.

    Args:
        links: pairs of names that belong to one group; groups are what chains of links connect.

    Example:
        >>> linked([("b", "c"), ("d", "e"), ("c", "a")])
        {'b': 'a', 'c': 'a', 'd': 'd', 'e': 'd', 'a': 'a'}
    """
    above: dict[str, str] = {}

    def root(name: str) -> str:
        while above.setdefault(name, name) != name:
            above[name] = name = above[above[name]]
        return name

    for first, second in links:
        low, high = sorted((root(first), root(second)))
        above[high] = low
    return {name: root(name) for name in list(above)}


def one_spelling(cases: Sequence[Case]) -> tuple[Case, ...]:
    """Return the cases with one spelling of each patient, that which comes first: ``sub-s1`` is ``sub-S1``."""
    spelt: dict[str, str] = {}
    return tuple(
        case
        if case.patient is None
        else replace(case, patient=spelt.setdefault(patient_key(case.patient), case.patient))
        for case in cases
    )


def with_marked_patients(cases: Sequence[Case], marks: Sequence[str]) -> tuple[Case, ...]:
    """Return the cases, those of unknown patients with the one that their files tell apart without naming.

    The patient is called as where a name or manifest tells it, else after the first image. Where all files share one
    mark, as after some ways of anonymisation, it tells nothing.

    Args:
        cases: the cases.
        marks: ``Picture.patient`` of their images, empty if the file tells no patient.
    """
    groups: defaultdict[str, list[Case]] = defaultdict(list)
    for case, mark in zip(cases, marks, strict=True):
        if mark:
            groups[mark].append(case)
    if len(groups) < 2:
        return tuple(cases)
    names: dict[str, str | None] = {}
    for mark, group in groups.items():
        known = {case.patient for case in group if case.patient} or {group[0].name}
        names[mark] = known.pop() if len(known) == 1 else None  # the names know better
    return tuple(
        replace(case, patient=names[mark]) if mark and case.patient is None else case
        for case, mark in zip(cases, marks, strict=True)
    )


def patient_groups(index: pl.DataFrame) -> pl.Series:
    """Return, for each row of a pack's index, the group that must not be divided, named after one of its patients.

    Images of one patient form a group, however the name is written (``patient_key``), and patients who share a picture
    (``content_group``) do. Alone they keep their name.
    """
    patients = index["patient"].to_list()
    folded = [f"patient {patient_key(patient)}" for patient in patients]
    pictures = [f"picture {group}" for group in index["content_group"].to_list()]
    group_of = linked(zip(folded, pictures, strict=True))
    names: dict[str, str] = {}
    for patient, name in sorted(zip(patients, folded, strict=True)):
        names.setdefault(group_of[name], patient)
    return pl.Series("group", [names[group_of[name]] for name in folded], dtype=pl.String)
