"""Checks of the file names and folders of a dataset, before anything is decoded."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Final

from trustseg.data.cases import Case, Finding, Listing, findings_of
from trustseg.data.manifest import unused_tables
from trustseg.data.pairing import stem_of
from trustseg.data.patients import is_lateral
from trustseg.text import first_of, plural

__all__ = ["passed_over_findings", "patient_findings", "structure_findings"]

_FEWEST_PATIENTS: Final = 3  # one on each side of a split; cross-validation needs more
_MASKLESS: Final = (
    "add masks of the same names, declare a folder of healthy images (data.controls=FOLDER), or list the images to use "
    "in a manifest (trustseg data manifest FOLDER -o manifest.csv)"
)


def structure_findings(listing: Listing) -> Iterable[Finding]:
    """Yield what is wrong or remarkable with the cases of a listing and with what found no partner."""
    yield from listing.problems
    for table, columns in unused_tables(listing.root) if listing.layout not in ("", "manifest") else ():
        message = (
            f"{table} is not used (columns: {', '.join(columns) or 'not readable'}): folder and file names decide "
            "instead; to use the table, give its path as data.path"
        )
        yield Finding("warning", "unused_manifest", message, listing.below([table]))
    yield from _unpaired(listing)
    yield from passed_over_findings(listing)
    yield from _too_few(listing.cases)
    yield from patient_findings(listing.cases)
    laterals = (case.name for case in listing.cases if is_lateral(case.image.stem))
    yield from findings_of("warning", "lateral", laterals, "lateral views by name (vp-ll)", "check these images")
    yield from (Finding("note", "layout", note) for note in listing.notes)


def passed_over_findings(listing: Listing) -> Iterable[Finding]:
    """Yield which image files belong to no case: a warning where they may be controls, else a note."""
    rest = listing.below(file for file in listing.passed_over if file not in set(listing.unplaced))
    what = f"image files that are not used{_folders(rest)}"
    yield from findings_of("note", "passed_over", rest, what, "they are neither images nor masks of a case")
    names = listing.below(listing.unplaced)
    what = f"images without masks that are not used, because no folder name says what they are{_folders(names)}"
    advice = "list the images to use in a manifest (trustseg data manifest FOLDER)"
    if folder := next((name for name in map(_folder, names) if name != "."), None):
        advice = f"if they show no lesions, declare controls with data.controls={folder} (--controls), or {advice}"
    yield from findings_of("warning", "unplaced", names, what, advice)


def _folder(name: str) -> str:
    return PurePosixPath(name).parent.as_posix()


def _folders(names: Sequence[str]) -> str:
    """Return how many files lie in which folders, as a part of a sentence."""
    counts = Counter(map(_folder, names))
    told = [f"{'the folder itself' if name == '.' else name + '/'}: {count}" for name, count in counts.most_common()]
    return f" ({first_of(told, 5)})"


def _unpaired(listing: Listing) -> Iterable[Finding]:
    yield from findings_of("error", "unpaired_image", listing.lone_images, "images without a mask", _MASKLESS)
    advice = f"add the images, or remove these masks{_numbered(listing)}"
    yield from findings_of("error", "unpaired_mask", listing.lone_masks, "masks without an image", advice)
    unlabelled = (case.name for case in listing.cases if case.split == "unlabelled")
    advice = "they can only be predicted; to train or evaluate, add masks, or declare healthy ones (data.controls)"
    yield from findings_of("warning", "unlabelled", unlabelled, "images without a reference mask", advice)


def _numbered(listing: Listing) -> str:
    """Return a hint where masks are called as an image and a number, which is not taken for an ending."""
    images = {stem_of(file): file for file in (*(case.image for case in listing.cases), *listing.lone_images)}
    for mask in listing.lone_masks:
        if (image := images.get(re.sub(r"[_\-. ]+\d+$", "", name := stem_of(mask)))) and stem_of(image) != name:
            return (
                f"; a number at the end is not taken for an ending of {image.name}, as {mask.name} may be of another "
                "image: rename such masks, or set data.unite_masks=true (--unite-masks) if these are all its masks"
            )
    return ""


def patient_findings(cases: Sequence[Case]) -> Iterable[Finding]:
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


def _too_few(cases: Sequence[Case]) -> Iterable[Finding]:
    """Find a dataset with masks that no split can be made of; images alone may be for prediction."""
    usable = [case for case in cases if case.usable]
    patients = {case.patient or case.name for case in usable}
    if usable and len(patients) < _FEWEST_PATIENTS:
        message = (
            f"the images with masks are of {plural(len(patients), 'patient')}, too few for a split: training, "
            f"validation and test need at least {_FEWEST_PATIENTS}; add images of other patients"
        )
        yield Finding("error", "too_few_patients", message, tuple(case.name for case in usable))
