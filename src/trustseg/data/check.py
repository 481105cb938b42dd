"""``trustseg data check``: the contents of a dataset and its faults."""

import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from statistics import median
from typing import Final

import numpy as np

from trustseg.data.cases import Case, Declared, Finding, Listing, Severity, findings_of
from trustseg.data.decode import Channels, in_threads, two_passes
from trustseg.data.findings import content_findings, image_notes, mask_notes
from trustseg.data.intensity import decide_scale
from trustseg.data.inventory import is_placeholder
from trustseg.data.layouts import find_cases
from trustseg.data.manifest import unused_tables
from trustseg.data.mask_encoding import decide_encoding, total_counts
from trustseg.data.mask_values import MaskValues, value_name
from trustseg.data.pack import PackOptions
from trustseg.data.pack_cases import CaseScan, decode_case, reference_of, scan_case
from trustseg.data.pairing import stem_of
from trustseg.data.patients import is_lateral, patient_findings, with_patients_of_files
from trustseg.data.resizing import Fit
from trustseg.errors import TrustsegError
from trustseg.progress import ProgressCallback
from trustseg.text import first_of, plural

__all__ = ["CheckReport", "check_dataset", "passed_over_findings"]

_FOLDS: Final = 5  # of data.folds
_FEWEST_PATIENTS: Final = 3  # one on each side of a split; cross-validation needs more


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Counts and findings of one dataset.

    Attributes:
        layout: name of the layout in ``LAYOUTS``.
        images, patients: number of cases and of known patients in each split.
        singletons: known patients with one image only.
        unknown_patients, laterals, empty_masks: images of unknown patients, lateral views by their names and
            masks without foreground in each split.
        subgroups: of each further column of the manifest, the images with each value; those without one as ``""``.
        mask_values: pixels for each grey value or colour that occurs in a mask.
        sizes: images for each ``WIDTHxHEIGHT`` in pixels.
        aspect: ``min``, ``median`` and ``max`` of width / height.
        channels: images that are ``grey`` and that hold ``colour``.
        lesion_share: ``p10``, ``median``, ``p90``, ``max`` and ``mean`` of the share of foreground among the counted
            pixels of the images with masks, in [0, 1]; empty if there are no masks.
        passed_over: image files that belong to no case.
        next: the command that works next, without the path and what was declared; empty if there is none.
        plan: sentences on what becomes of images and masks; the same that a pack notes.
        findings: errors first, then warnings, then notes.
    """

    layout: str
    images: Mapping[str, int]
    patients: Mapping[str, int]
    singletons: int
    unknown_patients: Mapping[str, int]
    laterals: Mapping[str, int]
    empty_masks: Mapping[str, int]
    subgroups: Mapping[str, Mapping[str, int]]
    mask_values: Mapping[str, int]
    sizes: Mapping[str, int]
    aspect: Mapping[str, float]
    channels: Mapping[str, int]
    lesion_share: Mapping[str, float]
    passed_over: int
    next: str
    plan: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no error; warnings and notes are no errors."""
        return all(finding.severity != "error" for finding in self.findings)


def check_dataset(
    path: Path | str,
    declared: Declared | None = None,
    *,
    mask_values: MaskValues | None = None,
    size: int = 224,
    channels: Channels = 1,
    fit: Fit = "squash",
    progress: ProgressCallback | None = None,
) -> CheckReport:
    """Decode every image and mask of a dataset once and report what is there and what is wrong."""
    listing = find_cases(path, declared)
    readable = [case for case in listing.cases if not any(map(is_placeholder, (case.image, *case.masks)))]
    options = PackOptions(size, channels, fit, mask_values)

    first, second = two_passes(progress)
    checked = in_threads(_check_case, readable, progress=first)
    errors = {case: error for case, (_, error) in zip(readable, checked, strict=True) if error}
    undecided = listing.undecided
    scans, on_encoding = _with_references([scan for scan, _ in checked], options, undecided=undecided, progress=second)
    cases = with_patients_of_files(listing.cases, {scan.case.name: scan.patient for scan in scans})
    images = [scan.image for scan in scans]
    scale = decide_scale(images)
    findings = [
        *_structure_findings(replace(listing, cases=cases)),
        *content_findings(scans, errors, options, scale),
        *on_encoding,
    ]
    ratios = sorted(width / height for width, height in (image.size for image in images))
    total = total_counts(mask for scan in scans for mask in scan.masks)
    order: Sequence[Severity] = ("error", "warning", "note")
    with_patient = [case for case in cases if case.patient]
    per_patient = Counter(case.patient for case in with_patient)
    return CheckReport(
        layout=listing.layout,
        images=dict(Counter(case.split for case in cases)),
        patients=dict(Counter(split for split, _ in {(case.split, case.patient) for case in with_patient})),
        singletons=sum(count == 1 for count in per_patient.values()),
        unknown_patients=dict(Counter(case.split for case in cases if not case.patient)),
        laterals=dict(Counter(case.split for case in cases if is_lateral(case.image.stem))),
        empty_masks=dict(Counter(scan.case.split for scan in scans if scan.empty)),
        subgroups={
            name: dict(Counter(case.columns.get(name, "") for case in cases).most_common())
            for name in dict.fromkeys(name for case in cases for name in case.columns)
        },
        mask_values={value_name(value): count for value, count in sorted(total.items())},
        sizes=dict(Counter("{}x{}".format(*image.size) for image in images).most_common()),
        aspect={"min": ratios[0], "median": median(ratios), "max": ratios[-1]} if ratios else {},
        channels=dict(Counter("colour" if image.coloured else "grey" for image in images)),
        lesion_share=_quantiles(
            [share for scan in scans if scan.reference and (share := scan.reference.share) is not None]
        ),
        passed_over=len(listing.passed_over),
        next=_next(cases),
        plan=(*image_notes(images, scale, options), *mask_notes([scan for scan in scans if scan.reference])),
        findings=tuple(sorted(findings, key=lambda finding: order.index(finding.severity))),
    )


def _check_case(case: Case) -> tuple[CaseScan | None, Finding | None]:
    """Decode one case; return what its files hold, without masks if they do not fit the image, and what is wrong."""
    try:
        image, masks = decode_case(case)
    except TrustsegError as error:
        return None, Finding("error", "unreadable", str(error), (case.name,))
    try:
        return scan_case(case, image, masks), None
    except TrustsegError as error:
        scan = replace(scan_case(replace(case, masks=()), image, ()), case=case)
        return scan, Finding("error", "size_mismatch", str(error), (case.name,))


def _with_references(
    scans: Sequence[CaseScan | None],
    options: PackOptions,
    *,
    undecided: Container[Path],
    progress: ProgressCallback | None,
) -> tuple[list[CaseScan], list[Finding]]:
    """Return the cases that are there with what their masks hold, read as one encoding, and what is to say of it.

    The masks of images in ``undecided`` are still to be chosen, and not read.
    """
    try:
        masks = [mask for scan in scans if scan for mask in scan.masks]
        encoding = decide_encoding(masks, mask_values=options.mask_values)
    except TrustsegError as error:
        if progress is not None:
            progress(len(scans), len(scans))
        return [scan for scan in scans if scan], [Finding("error", "mask_values", str(error))]

    def read_one(scan: CaseScan | None) -> CaseScan | None:
        if scan is None or not scan.masks or scan.case.image in undecided:
            return scan
        return replace(scan, reference=reference_of(scan, options, encoding))

    read = in_threads(read_one, scans, progress=progress)
    return [scan for scan in read if scan], [Finding("note", "mask_coding", note) for note in encoding.notes]


def _structure_findings(listing: Listing) -> Iterable[Finding]:
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
    unplaced = set(listing.unplaced)
    rest = listing.below(file for file in listing.passed_over if file not in unplaced)
    what = f"image files that are not used{_folders(rest)}"
    yield from findings_of("note", "passed_over", rest, what, "they are neither images nor masks of a case")
    names = listing.below(listing.unplaced)
    what = f"images without masks that are not used, because no folder name says what they are{_folders(names)}"
    advice = "list the images to use in a manifest (trustseg data manifest FOLDER)"
    if folder := next((name for name in map(_folder, names) if name != "."), None):
        advice = f"if they lack the target, declare controls with data.controls={folder} (--controls), or {advice}"
    yield from findings_of("warning", "unplaced", names, what, advice)


def _folder(name: str) -> str:
    return PurePosixPath(name).parent.as_posix()


def _folders(names: Sequence[str]) -> str:
    """Return how many files lie in which folders, as a part of a sentence."""
    counts = Counter(map(_folder, names))
    counted = [f"{'the folder itself' if name == '.' else name + '/'}: {count}" for name, count in counts.most_common()]
    return f" ({first_of(counted, 5)})"


def _unpaired(listing: Listing) -> Iterable[Finding]:
    advice = (
        "add masks of the same names, declare a folder of healthy images (data.controls=FOLDER), or list the images "
        "to use in a manifest (trustseg data manifest FOLDER -o manifest.csv)"
    )
    yield from findings_of("error", "unpaired_image", listing.unpaired_images, "images without a mask", advice)
    advice = f"add the images, or remove these masks{_numbered(listing)}"
    yield from findings_of("error", "unpaired_mask", listing.unpaired_masks, "masks without an image", advice)
    unlabelled = (case.name for case in listing.cases if case.split == "unlabelled")
    advice = "they can only be predicted; to train or evaluate, add masks, or declare healthy ones (data.controls)"
    yield from findings_of("warning", "unlabelled", unlabelled, "images without a reference mask", advice)


def _numbered(listing: Listing) -> str:
    """Return a hint where masks are called as an image and a number, which is not taken for an ending."""
    images = {stem_of(file): file for file in (*(case.image for case in listing.cases), *listing.unpaired_images)}
    for mask in listing.unpaired_masks:
        if (image := images.get(re.sub(r"[_\-. ]+\d+$", "", name := stem_of(mask)))) and stem_of(image) != name:
            return (
                f"; a number at the end is not taken for an ending of {image.name}, as {mask.name} may be of another "
                "image: rename such masks, or set data.unite_masks=true (--unite-masks) if these are all its masks"
            )
    return ""


def _too_few(cases: Sequence[Case]) -> Iterable[Finding]:
    usable = [case for case in cases if case.usable]
    patients = {case.patient or case.name for case in usable}
    if usable and len(patients) < _FEWEST_PATIENTS:
        message = (
            f"the images with masks are of {plural(len(patients), 'patient')}, too few for a split: training, "
            f"validation and test need at least {_FEWEST_PATIENTS}; add images of other patients"
        )
        yield Finding("error", "too_few_patients", message, tuple(case.name for case in usable))


def _next(cases: Sequence[Case]) -> str:
    """Return how a model is trained on the cases: on their own sides, or on folds."""
    usable = [case for case in cases if case.usable]
    if not usable:
        return ""
    if {case.split for case in usable} == {"train", "test"}:
        return "train"
    patients = len({case.patient or case.name for case in usable})
    return "train data.fold=0" + (f" data.folds={patients}" if patients < _FOLDS else "")


def _quantiles(fractions: Sequence[float]) -> dict[str, float]:
    if not fractions:
        return {}
    values = np.asarray(fractions)
    p10, middle, p90 = np.quantile(values, (0.1, 0.5, 0.9))
    numbers = {"p10": p10, "median": middle, "p90": p90, "max": values.max(), "mean": values.mean()}
    return {name: float(number) for name, number in numbers.items()}
