"""Whose images these are: patients by the names of files, and groups of images that must stay together."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import polars as pl

from trustseg.data.cases import Case, Finding, findings_of
from trustseg.text import patient_key

__all__ = [
    "connected",
    "is_lateral",
    "patient_findings",
    "patient_groups",
    "patient_of",
    "with_one_spelling",
    "with_patients_of_files",
]

_SUBJECT: Final = re.compile(r"^sub-([A-Za-z0-9]+)(?:_|$)", re.IGNORECASE)  # BIDS, BIMCV, QaTa-COV19-v2
# ChestX-ray14 numbers its patients 1 to 30805 with eight digits. Eight digits that begin with 000 are no date in any
# order of day, month and year; longer numbers may be one, and then tell no patient.
_NIH_NAME: Final = re.compile(r"^(000\d{5})_\d{3}$")
_NIH_PATIENTS: Final = 30805
_VIEW: Final = re.compile(r"_vp-([a-z]+)(?:_|$)", re.IGNORECASE)


def patient_of(name: str) -> str | None:
    """Return the patient that an image name tells, None if it tells none.

    Args:
        name: file name without its extension; understood are ``sub-<patient>_...`` (BIDS, BIMCV, QaTa) and the names of
            ChestX-ray14 (``00001281_000``). ``covid_<n>`` names a pooled source, a date names a day: no patient.

    Example:
        >>> patient_of("sub-S09611_ses-E17966_vp-ll_dx"), patient_of("00001281_000"), patient_of("covid_12")
        ('S09611', '00001281', None)
    """
    if match := _SUBJECT.match(name):
        return match[1]
    if (match := _NIH_NAME.match(name)) and 1 <= int(match[1]) <= _NIH_PATIENTS:
        return match[1]
    return None


def is_lateral(name: str) -> bool:
    """Return whether a BIDS name says that the view is lateral (``vp-ll``)."""
    match = _VIEW.search(name)
    return bool(match and match[1].lower() == "ll" and patient_of(name))


def connected(links: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """Return the smallest name of the group of each linked name; groups are what chains of links connect.

    Example:
        >>> connected([("b", "c"), ("d", "e"), ("c", "a")])
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


def with_one_spelling(cases: Sequence[Case]) -> tuple[Case, ...]:
    """Return the cases with one spelling of each patient, that which comes first: ``sub-s1`` is ``sub-S1``."""
    spelt = {patient_key(case.patient): case.patient for case in reversed(cases) if case.patient is not None}
    return tuple(
        case if case.patient is None else replace(case, patient=spelt[patient_key(case.patient)]) for case in cases
    )


def with_patients_of_files(cases: Sequence[Case], marks: Mapping[str, str]) -> tuple[Case, ...]:
    """Return the cases, those of unknown patients with the one that their files tell apart without naming.

    The patient is called as where a name or manifest tells it, else after the first image. Where all files share one
    mark, as after some ways of anonymisation, it tells nothing. ``marks`` holds ``Picture.patient`` by names of cases.
    """
    groups: defaultdict[str, list[Case]] = defaultdict(list)
    for case in cases:
        if mark := marks.get(case.name):
            groups[mark].append(case)
    if len(groups) < 2:
        return tuple(cases)
    names: dict[str, str | None] = {}
    for group in groups.values():
        known = {case.patient for case in group if case.patient} or {group[0].name}
        patient = known.pop() if len(known) == 1 else None  # the names know better
        names |= {case.name: patient for case in group if case.patient is None}
    return tuple(replace(case, patient=names[case.name]) if case.name in names else case for case in cases)


def patient_findings(cases: Sequence[Case]) -> Iterator[Finding]:
    """Yield patients on both sides of the split, patients among the controls and elsewhere, and unknown ones."""
    splits: defaultdict[str, set[str]] = defaultdict(set)
    for case in cases:
        if case.patient:
            splits[case.patient].add(case.split)
    leaked = sorted(patient for patient, where in splits.items() if {"train", "test"} <= where)
    advice = "test results would be too good; use cross-validation, which keeps patients together (data.fold=0)"
    yield from findings_of("error", "patient_leak", leaked, "patients in both train and test", advice)
    both = sorted(patient for patient, where in splits.items() if "control" in where and len(where) > 1)
    what = "patients both among the controls and elsewhere"
    yield from findings_of("warning", "patient_in_controls", both, what, "remove them from the controls")
    unknown = (case.name for case in cases if case.patient is None)
    advice = (
        "each counts as a separate patient, so intervals may be too narrow and images of one patient may be on both "
        "sides of a split; give patients in a manifest (trustseg data manifest), or name images sub-<patient>_..."
    )
    yield from findings_of("warning", "unknown_patient", unknown, "images of unknown patients", advice)


def patient_groups(index: pl.DataFrame) -> pl.Series:
    """Return, for each row of a pack's index, the group that must not be divided, named after one of its patients.

    Images of one patient form a group, however the name is written (``patient_key``), and patients who share a picture
    (``content_group``) do. Alone they keep their name.
    """
    patients = index["patient"].to_list()
    folded = [f"patient {patient_key(patient)}" for patient in patients]
    pictures = [f"picture {group}" for group in index["content_group"].to_list()]
    group_of = connected(zip(folded, pictures, strict=True))
    names: dict[str, str] = {}
    for patient, name in sorted(zip(patients, folded, strict=True)):
        names.setdefault(group_of[name], patient)
    return pl.Series("group", [names[group_of[name]] for name in folded], dtype=pl.String)
