"""What is in a dataset, and what is wrong with it."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from trustseg.data.cases import Case, Listing, is_lateral, known_name
from trustseg.data.decode import Progress, check_sizes, foreground, in_threads, read_image, read_mask
from trustseg.data.layouts import find_cases
from trustseg.errors import TrustsegError

__all__ = ["CheckReport", "Finding", "check_dataset"]

Severity = Literal["error", "warning", "note"]

_FEWEST_PATIENTS: Final = 3  # one on each side of a split; cross-validation needs more


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a dataset's owner should know.

    Attributes:
        severity: ``error`` (training refuses or its numbers would lie), ``warning`` (look at it) or ``note``.
        kind: a fixed word for programs, e.g. ``patient_leak``.
        message: a sentence with what was found and what to do.
        names: the files, cases or patients concerned.
    """

    severity: Severity
    kind: str
    message: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Counts and findings of one dataset.

    Attributes:
        layout: name of the layout in ``LAYOUTS``.
        images: number of cases in each split.
        patients: number of known patients in each split.
        singletons: known patients with one image only.
        unknown_patients: images whose name tells no patient.
        empty_masks: number of masks without infection in each split.
        mask_values: pixels for each grey value that occurs in a mask.
        sizes: images for each ``WIDTHxHEIGHT`` in pixels.
        infection: ``p10``, ``median``, ``p90``, ``max`` and ``mean`` of the infected fraction of the images with masks,
            in [0, 1]; empty if there are no masks.
        findings: errors first, then warnings, then notes.
    """

    layout: str
    images: Mapping[str, int]
    patients: Mapping[str, int]
    singletons: int
    unknown_patients: int
    empty_masks: Mapping[str, int]
    mask_values: Mapping[int, int]
    sizes: Mapping[str, int]
    infection: Mapping[str, float]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no error; warnings and notes are no errors."""
        return all(finding.severity != "error" for finding in self.findings)


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What decoding one case told."""

    case: Case
    error: Finding | None = None
    content: str = ""
    size: str = ""
    white: int = 255
    histogram: npt.NDArray[np.int64] | None = None
    infected: float | None = None


def check_dataset(path: Path | str, *, progress: Progress | None = None) -> CheckReport:
    """Decode every image and mask of a dataset once and report what is there and what is wrong.

    Args:
        path: a folder in one of ``LAYOUTS``.
        progress: called with (images done, images in all).

    Returns:
        The report; ``report.ok`` is false if the dataset has an error.

    Raises:
        MissingFileError: if there is no such folder.
        DataError: if it holds no image in a known layout, or two files for one case.
    """
    listing = find_cases(path)
    seen = in_threads(_look, listing.cases, progress=progress)
    findings = [
        *_unpaired(listing),
        *(one.error for one in seen if one.error),
        *_too_few(listing.cases),
        *_leaks(listing.cases),
        *_repeated(seen),
        *_mask_values(seen),
        *_names(listing.cases),
        *_remarks(listing, seen),
    ]
    order: Sequence[Severity] = ("error", "warning", "note")
    cases = listing.cases
    known = [case for case in cases if case.patient]
    per_patient = Counter(case.patient for case in known)
    return CheckReport(
        layout=listing.layout,
        images=dict(Counter(case.split for case in cases)),
        patients=dict(Counter(split for split, _ in {(case.split, case.patient) for case in known})),
        singletons=sum(count == 1 for count in per_patient.values()),
        unknown_patients=len(cases) - len(known),
        empty_masks=dict(Counter(one.case.split for one in seen if one.infected == 0)),
        mask_values=_histogram(seen),
        sizes=dict(Counter(one.size for one in seen if one.size).most_common()),
        infection=_quantiles([one.infected for one in seen if one.infected is not None]),
        findings=tuple(sorted(findings, key=lambda finding: order.index(finding.severity))),
    )


def _look(case: Case) -> _Seen:
    """Decode one case; whatever is wrong with it becomes a finding."""
    try:
        image = read_image(case.image)
        masks = [read_mask(path) for path in case.masks]
    except TrustsegError as error:
        return _Seen(case, Finding("error", "unreadable", str(error), (case.name,)))
    # Decoded pixels, not bytes: the same image saved twice with other settings is still the same image.
    content = hashlib.sha256(repr(image.size).encode() + image.pixels.tobytes()).hexdigest()
    seen = _Seen(case, None, content, f"{image.size[0]}x{image.size[1]}", image.white)
    if not masks:
        return seen
    seen = replace(seen, histogram=np.sum([np.bincount(mask.pixels.ravel(), minlength=256) for mask in masks], axis=0))
    kind = "size_mismatch"
    try:
        for mask, path in zip(masks, case.masks, strict=True):
            check_sizes(image, mask, image_path=case.image, mask_path=path)
        kind = "mask_values"
        marked = [foreground(mask.pixels, path) for mask, path in zip(masks, case.masks, strict=True)]
        return replace(seen, infected=float(np.any(marked, axis=0).mean()))
    except TrustsegError as error:
        return replace(seen, error=Finding("error", kind, str(error), (case.name,)))


def _unpaired(listing: Listing) -> Iterable[Finding]:
    for kind, paths, partner in (
        ("unpaired_image", listing.lone_images, "mask"),
        ("unpaired_mask", listing.lone_masks, "image"),
    ):
        if paths:
            what = "images without a mask" if partner == "mask" else "masks without an image"
            names = tuple(str(path) for path in paths)
            yield _many("error", kind, names, what, f"add the {partner} of the same name, or take these out")


def _leaks(cases: Sequence[Case]) -> Iterable[Finding]:
    splits: defaultdict[str, set[str]] = defaultdict(set)
    for case in cases:
        if case.patient:
            splits[case.patient].add(case.split)
    leaked = tuple(sorted(patient for patient, where in splits.items() if {"train", "test"} <= where))
    if leaked:
        advice = "the test would be none; use patient-grouped folds (data.fold=0)"
        yield _many("error", "patient_leak", leaked, "patients both in train and in test", advice)
    both = tuple(sorted(patient for patient, where in splits.items() if "control" in where and len(where) > 1))
    if both:
        what = "patients both in the control group and outside it"
        yield _many("warning", "patient_in_controls", both, what, "take these out of the controls")


def _repeated(seen: Sequence[_Seen]) -> Iterable[Finding]:
    groups: defaultdict[str, list[Case]] = defaultdict(list)
    for one in seen:
        if one.content:
            groups[one.content].append(one.case)
    repeated = [group for group in groups.values() if len(group) > 1]
    across = [group for group in repeated if {"train", "test"} <= {case.split for case in group}]
    within = [group for group in repeated if group not in across]
    if across:
        yield _many(
            "error",
            "content_leak",
            tuple(" = ".join(case.name for case in group) for group in across),
            "images both in train and in test, by their content",
            "take one of each pair out",
        )
    if within:
        yield _many(
            "warning",
            "duplicate",
            tuple(" = ".join(case.name for case in group) for group in within),
            "images that come several times, by their content",
            "keep one of each",
        )


def _mask_values(seen: Sequence[_Seen]) -> Iterable[Finding]:
    masks = [(one.case.name, set(np.flatnonzero(one.histogram).tolist())) for one in seen if one.histogram is not None]
    zero_one = tuple(name for name, values in masks if max(values) == 1)
    if zero_one:
        advice = "1 is read as infection; see whether that is meant"
        yield _many("warning", "zero_one_mask", zero_one, "masks that hold 0 and 1 only", advice)
    grey = tuple(name for name, values in masks if max(values) > 127 and not values <= {0, 255})
    if grey:
        what = "masks with other values than 0 and 255 (resized or JPEG-compressed?), cut above 127"
        yield _many("warning", "non_binary_mask", grey, what, "export these anew")


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
            yield _many("warning", kind, names, what, advice)


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


def _remarks(listing: Listing, seen: Sequence[_Seen]) -> Iterable[Finding]:
    for note in listing.notes:
        yield Finding("note", "layout", note)
    empty = tuple(one.case.name for one in seen if one.infected == 0)
    if empty:
        yield _many("note", "empty_mask", empty, "empty masks", "their Dice is undefined or 0, and counted apart")
    deep = tuple(one.case.name for one in seen if one.white != 255)
    if deep:
        whites = ", ".join(f"0 to {white}" for white in sorted({one.white for one in seen if one.white != 255}))
        yield _many("note", "deep_image", deep, "images of more than 8 bits", f"{whites} becomes 0 to 255")


def _many(severity: Severity, kind: str, names: tuple[str, ...], what: str, advice: str) -> Finding:
    """Return a finding that says what there is, how many and the first names, and what to do or to know."""
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return Finding(severity, kind, f"{what}: {len(names)} ({shown}); {advice}", names)


def _histogram(seen: Sequence[_Seen]) -> dict[int, int]:
    total = sum((one.histogram for one in seen if one.histogram is not None), start=np.zeros(256, dtype=np.int64))
    return {int(value): int(total[value]) for value in np.flatnonzero(total)}


def _quantiles(fractions: Sequence[float]) -> dict[str, float]:
    if not fractions:
        return {}
    values = np.asarray(fractions)
    p10, median, p90 = np.quantile(values, (0.1, 0.5, 0.9))
    numbers = {"p10": p10, "median": median, "p90": p90, "max": values.max(), "mean": values.mean()}
    return {name: float(number) for name, number in numbers.items()}
