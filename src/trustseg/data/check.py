"""What is in a dataset, and what is wrong with it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trustseg.data.cases import Declared
from trustseg.data.check_content import DecodedCase, content_findings, decode_case, with_coding
from trustseg.data.check_structure import structure_findings
from trustseg.data.decode import Progress, in_threads
from trustseg.data.findings import Finding, Severity
from trustseg.data.inventory import is_placeholder
from trustseg.data.layouts import find_cases
from trustseg.data.mask_coding import MaskValues, value_name

__all__ = ["CheckReport", "Finding", "check_dataset"]


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
        mask_values: pixels for each grey value or colour that occurs in a mask.
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
    mask_values: Mapping[str, int]
    sizes: Mapping[str, int]
    infection: Mapping[str, float]
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
    progress: Progress | None = None,
) -> CheckReport:
    """Decode every image and mask of a dataset once and report what is there and what is wrong.

    Args:
        path: a manifest, or a folder in one of ``LAYOUTS``.
        declared: what the user says where the folders leave it open.
        mask_values: what the values of the masks mean (``trustseg.data.mask_coding``); None decides from the files.
        progress: called with (images done, images in all).

    Returns:
        The report; ``report.ok`` is false if the dataset has an error.

    Raises:
        MissingFileError: if there is no such folder.
        DataError: if it holds no image in a known layout, or two files for one case.
    """
    listing = find_cases(path, declared)
    whole = [case for case in listing.cases if not any(map(is_placeholder, (case.image, *case.masks)))]
    seen, coding_findings = with_coding(in_threads(decode_case, whole, progress=progress), mask_values=mask_values)
    findings = [*structure_findings(listing), *content_findings(seen), *coding_findings]
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


def _histogram(seen: Sequence[DecodedCase]) -> dict[str, int]:
    total: Counter[int] = Counter()
    for one in seen:
        for mask in one.masks:
            total.update(mask.counts)
    return {value_name(value): total[value] for value in sorted(total)}


def _quantiles(fractions: Sequence[float]) -> dict[str, float]:
    if not fractions:
        return {}
    values = np.asarray(fractions)
    p10, median, p90 = np.quantile(values, (0.1, 0.5, 0.9))
    numbers = {"p10": p10, "median": median, "p90": p90, "max": values.max(), "mean": values.mean()}
    return {name: float(number) for name, number in numbers.items()}
