"""``trustseg data check``: the contents of a dataset and its faults."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np

from trustseg.data.cases import Case, Declared, Finding, Severity
from trustseg.data.check_content import check_case, content_findings, with_references
from trustseg.data.check_structure import structure_findings
from trustseg.data.decode import Channels, Progress, in_threads, two_passes
from trustseg.data.intensity import decide_scale
from trustseg.data.inventory import is_placeholder
from trustseg.data.layouts import find_cases
from trustseg.data.mask_codes import MaskValues, value_name
from trustseg.data.mask_coding import total_counts
from trustseg.data.pack_notes import image_notes, mask_notes
from trustseg.data.patients import is_lateral, with_marked_patients
from trustseg.data.reading import PackOptions
from trustseg.data.resizing import Fit

__all__ = ["CheckReport", "check_dataset"]

_FOLDS: Final = 5  # of data.folds


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Counts and findings of one dataset.

    Attributes:
        layout: name of the layout in ``LAYOUTS``.
        images, patients: number of cases and of known patients in each split.
        singletons: known patients with one image only.
        unknown_patients, laterals, empty_masks: images of unknown patients, lateral views by their names and
            masks without lesion in each split.
        subgroups: of each further column of the manifest, the images with each value; those without one as ``""``.
        mask_values: pixels for each grey value or colour that occurs in a mask.
        sizes: images for each ``WIDTHxHEIGHT`` in pixels.
        aspect: ``min``, ``median`` and ``max`` of width / height.
        channels: images that are ``grey`` and that hold ``colour``.
        lesion_share: ``p10``, ``median``, ``p90``, ``max`` and ``mean`` of the share of lesion among the counted pixels
            of the images with masks, in [0, 1]; empty if there are no masks.
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
    progress: Progress | None = None,
) -> CheckReport:
    """Decode every image and mask of a dataset once and report what is there and what is wrong."""
    listing = find_cases(path, declared)
    whole = [case for case in listing.cases if not any(map(is_placeholder, (case.image, *case.masks)))]
    options = PackOptions(size, channels, fit, mask_values)

    first, second = two_passes(progress)
    checked = in_threads(check_case, whole, progress=first)
    errors = {case: error for case, (_, error) in zip(whole, checked, strict=True) if error}
    undecided = listing.undecided
    scans, on_coding = with_references([scan for scan, _ in checked], options, undecided=undecided, progress=second)
    cases = with_marked_patients(listing.cases, {scan.case.name: scan.patient for scan in scans})
    images = [scan.image for scan in scans]
    scale = decide_scale(images)
    findings = [
        *structure_findings(replace(listing, cases=cases)),
        *content_findings(scans, errors, options, scale),
        *on_coding,
    ]
    ratios = sorted(width / height for width, height in (image.size for image in images))
    total = total_counts(mask for scan in scans for mask in scan.masks)
    order: Sequence[Severity] = ("error", "warning", "note")
    known = [case for case in cases if case.patient]
    per_patient = Counter(case.patient for case in known)
    return CheckReport(
        layout=listing.layout,
        images=dict(Counter(case.split for case in cases)),
        patients=dict(Counter(split for split, _ in {(case.split, case.patient) for case in known})),
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
