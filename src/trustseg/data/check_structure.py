"""What the files of a dataset tell by their names and places, before any of them is decoded."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Final

from trustseg.data.cases import Case, Listing
from trustseg.data.findings import Finding, finding_of
from trustseg.data.manifest import unused_tables
from trustseg.data.patients import is_lateral

__all__ = ["passed_over_findings", "structure_findings"]

_FEWEST_PATIENTS: Final = 3  # one on each side of a split; cross-validation needs more
_MASKLESS: Final = (
    "add the mask of the same name; declare a folder of healthy images (data.controls=FOLDER); or list what is to be "
    "used in a manifest (trustseg data manifest FOLDER -o manifest.csv)"
)


def structure_findings(listing: Listing) -> Iterable[Finding]:
    """Yield what is wrong or remarkable with the cases of a listing and with what found no partner."""
    yield from listing.problems
    yield from _tables(listing)
    yield from _unpaired(listing)
    yield from passed_over_findings(listing)
    yield from _too_few(listing.cases)
    yield from _leaks(listing.cases)
    yield from _names(listing.cases)
    for note in listing.notes:
        yield Finding("note", "layout", note)


def passed_over_findings(listing: Listing) -> Iterable[Finding]:
    """Yield which image files belong to no case: a warning where they may be controls, else a note."""
    unplaced = set(listing.unplaced)
    rest = listing.below(file for file in listing.passed_over if file not in unplaced)
    if rest:
        advice = "they are neither images nor masks of a case"
        yield finding_of("note", "passed_over", rest, f"image files that are passed over{_folders(rest)}", advice)
    names = listing.below(listing.unplaced)
    if not names:
        return
    folder = next((name for name in map(_folder, names) if name != "."), None)
    controls = f"declare controls with data.controls={folder} (--controls), " if folder else ""
    yield finding_of(
        "warning",
        "unplaced",
        names,
        f"images without masks that are passed over, as no folder says what they are{_folders(names)}",
        f"if they show no lesions, {controls}or list what is to be used in a manifest (trustseg data manifest FOLDER)",
    )


def _folder(name: str) -> str:
    return PurePosixPath(name).parent.as_posix()


def _folders(names: Sequence[str]) -> str:
    """Return how many files lie in which folders, as a part of a sentence."""
    counts = Counter(map(_folder, names))
    shown = [f"{'the folder itself' if name == '.' else name + '/'}: {count}" for name, count in counts.most_common(5)]
    more = f", and {len(counts) - len(shown)} more folders" if len(counts) > len(shown) else ""
    return f" ({', '.join(shown)}{more})"


def _tables(listing: Listing) -> Iterable[Finding]:
    """Yield the tables named as manifests that the folder was read without."""
    for table, columns in unused_tables(listing.root) if listing.layout not in ("", "manifest") else ():
        message = (
            f"{table} is not used (columns: {', '.join(columns) or 'not readable'}), the folder is read by its names; "
            "if it says what is to be used, name it (data.path)"
        )
        yield Finding("warning", "unused_manifest", message, listing.below([table]))


def _unpaired(listing: Listing) -> Iterable[Finding]:
    for kind, paths, what, advice in (
        ("unpaired_image", listing.lone_images, "images without a mask", _MASKLESS),
        ("unpaired_mask", listing.lone_masks, "masks without an image", "add the images, or take these out"),
    ):
        if paths:
            yield finding_of("error", kind, tuple(map(str, paths)), what, advice)
    unlabelled = tuple(case.name for case in listing.cases if case.split == "unlabelled")
    if unlabelled:
        advice = "they can be predicted; to train or evaluate, add masks, or declare healthy ones with data.controls"
        yield finding_of("warning", "unlabelled", unlabelled, "images without any reference", advice)


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
    laterals = tuple(case.name for case in cases if is_lateral(case.image.stem))
    if laterals:
        yield finding_of("warning", "lateral", laterals, "lateral views by their name (vp-ll)", "look at these images")
    unknown = tuple(case.name for case in cases if case.patient is None)
    if unknown:
        advice = (
            "each counts as a patient of its own, so that intervals may be too narrow and a split may part a patient; "
            "name patients in a manifest (trustseg data manifest), or name images sub-<patient>_..."
        )
        yield finding_of("warning", "unknown_patient", unknown, "images whose name tells no patient", advice)


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
