"""What the files of a dataset tell by their names and places, before any of them is decoded."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from trustseg.data.cases import Case, Listing, is_lateral, known_name
from trustseg.data.findings import Finding, finding_of

__all__ = ["structure_findings"]

_FEWEST_PATIENTS: Final = 3  # one on each side of a split; cross-validation needs more


def structure_findings(listing: Listing) -> Iterable[Finding]:
    """Yield what is wrong or remarkable with the cases of a listing and with what found no partner."""
    yield from _unpaired(listing)
    yield from _too_few(listing.cases)
    yield from _leaks(listing.cases)
    yield from _names(listing.cases)
    for note in listing.notes:
        yield Finding("note", "layout", note)


def _unpaired(listing: Listing) -> Iterable[Finding]:
    for kind, paths, partner in (
        ("unpaired_image", listing.lone_images, "mask"),
        ("unpaired_mask", listing.lone_masks, "image"),
    ):
        if paths:
            what = "images without a mask" if partner == "mask" else "masks without an image"
            names = tuple(str(path) for path in paths)
            yield finding_of("error", kind, names, what, f"add the {partner} of the same name, or take these out")


def _leaks(cases: Sequence[Case]) -> Iterable[Finding]:
    splits: defaultdict[str, set[str]] = defaultdict(set)
    for case in cases:
        if case.patient:
            splits[case.patient].add(case.split)
    leaked = tuple(sorted(patient for patient, where in splits.items() if {"train", "test"} <= where))
    if leaked:
        advice = "the test would be none; use patient-grouped folds (data.fold=0)"
        yield finding_of("error", "patient_leak", leaked, "patients both in train and in test", advice)
    both = tuple(sorted(patient for patient, where in splits.items() if "control" in where and len(where) > 1))
    if both:
        what = "patients both in the control group and outside it"
        yield finding_of("warning", "patient_in_controls", both, what, "take these out of the controls")


def _names(cases: Sequence[Case]) -> Iterable[Finding]:
    kinds: tuple[tuple[str, Callable[[Case], bool], str, str], ...] = (
        (
            "lateral",
            lambda case: is_lateral(case.image.stem),
            "lateral views by their name (vp-ll)",
            "look at these images",
        ),
        (
            "unknown_patient",
            lambda case: case.patient is None and known_name(case.image.stem),
            "images whose name tells no patient (covid_<n>)",
            "each counts as a patient of its own: intervals may be too narrow",
        ),
        (
            "unknown_name",
            lambda case: not known_name(case.image.stem),
            "names that fit no known pattern",
            "name images sub-<patient>_... to keep the images of a patient together",
        ),
    )
    for kind, applies, what, advice in kinds:
        if names := tuple(case.name for case in cases if applies(case)):
            yield finding_of("warning", kind, names, what, advice)


def _too_few(cases: Sequence[Case]) -> Iterable[Finding]:
    """Find a dataset with masks that no split can be made of; images alone may be for prediction."""
    usable = [case for case in cases if case.masks and case.split != "control"]
    patients = {case.patient or case.name for case in usable}
    if usable and len(patients) < _FEWEST_PATIENTS:
        got = "1 patient" if len(patients) == 1 else f"{len(patients)} patients"
        message = (
            f"it cannot be split: images with masks of {got} were found, of at least {_FEWEST_PATIENTS} expected "
            "(to train, to validate and to test on); add images of other patients"
        )
        yield Finding("error", "too_few_patients", message, tuple(case.name for case in usable))
