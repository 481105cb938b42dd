"""What is in a dataset, and what is wrong with it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from trustseg.data.cases import Declared
from trustseg.data.check_content import DecodedCase, content_findings, decode_case, with_coding
from trustseg.data.check_structure import structure_findings
from trustseg.data.decode import Channels, Progress, in_threads
from trustseg.data.findings import Finding, Severity
from trustseg.data.inventory import is_placeholder
from trustseg.data.layouts import find_cases
from trustseg.data.mask_coding import MaskValues, value_name
from trustseg.data.patients import is_lateral
from trustseg.data.resizing import Fit

__all__ = ["CheckReport", "Finding", "check_dataset"]


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Counts and findings of one dataset.

    Attributes:
        layout: name of the layout in ``LAYOUTS``.
        images: number of cases in each split.
        patients: number of known patients in each split.
        singletons: known patients with one image only.
        unknown_patients: images of unknown patients in each split.
        laterals: lateral views, by their names, in each split.
        empty_masks: number of masks without infection in each split.
        mask_values: pixels for each grey value or colour that occurs in a mask.
        sizes: images for each ``WIDTHxHEIGHT`` in pixels.
        aspect: ``min``, ``median`` and ``max`` of width / height.
        channels: images that are ``grey`` and that hold ``colour``.
        infection: ``p10``, ``median``, ``p90``, ``max`` and ``mean`` of the infected fraction of the images with masks,
            in [0, 1]; empty if there are no masks.
        passed_over: image files that belong to no case.
        plan: sentences on what becomes of the images.
        findings: errors first, then warnings, then notes.
    """

    layout: str
    images: Mapping[str, int]
    patients: Mapping[str, int]
    singletons: int
    unknown_patients: Mapping[str, int]
    laterals: Mapping[str, int]
    empty_masks: Mapping[str, int]
    mask_values: Mapping[str, int]
    sizes: Mapping[str, int]
    aspect: Mapping[str, float]
    channels: Mapping[str, int]
    infection: Mapping[str, float]
    passed_over: int
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
    """Decode every image and mask of a dataset once and report what is there and what is wrong.

    Args:
        path: a manifest, or a folder in one of ``LAYOUTS``.
        declared: what the user says where the folders leave it open.
        mask_values: what the values of the masks mean (``trustseg.data.mask_coding``); None decides from the files.
        size: side of the square that images are to become, in pixels.
        channels: 1 (grey) or 3 (RGB).
        fit: whether images that are not square are stretched (``squash``) or padded (``pad``).
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
        unknown_patients=dict(Counter(case.split for case in cases if not case.patient)),
        laterals=dict(Counter(case.split for case in cases if is_lateral(case.image.stem))),
        empty_masks=dict(Counter(one.case.split for one in seen if one.infected == 0)),
        mask_values=_histogram(seen),
        sizes=dict(Counter(one.size for one in seen if one.size).most_common()),
        aspect=_aspect(seen),
        channels=dict(Counter("colour" if one.image.coloured else "grey" for one in seen if one.image)),
        infection=_quantiles([one.infected for one in seen if one.infected is not None]),
        passed_over=len(listing.passed_over),
        plan=tuple(_plan(seen, size=size, channels=channels, fit=fit)),
        findings=tuple(sorted(findings, key=lambda finding: order.index(finding.severity))),
    )


def _aspect(seen: Sequence[DecodedCase]) -> dict[str, float]:
    ratios = sorted(width / height for width, height in _sizes(seen))
    return {"min": ratios[0], "median": median(ratios), "max": ratios[-1]} if ratios else {}


def _sizes(seen: Sequence[DecodedCase]) -> list[tuple[int, int]]:
    """Return width and height of each image that could be decoded."""
    pairs = (one.size.split("x") for one in seen if one.size)
    return [(int(width), int(height)) for width, height in pairs]


def _plan(seen: Sequence[DecodedCase], *, size: int, channels: Channels, fit: Fit) -> Iterator[str]:
    """Yield what becomes of the images when they are packed."""
    sizes = _sizes(seen)
    other = [pair for pair in sizes if pair != (size, size)]
    oblong = [width / height for width, height in other if width != height]
    yield (
        f"{len(other):,} of {len(sizes):,} images are resized to {size}x{size}"
        if other
        else f"all images have {size}x{size} pixels already"
    )
    if oblong and fit == "squash":
        yield (
            f"{len(oblong):,} that are not square (width/height {min(oblong):.2f} to {max(oblong):.2f}) are stretched "
            "to a square; data.fit=pad keeps their shape"
        )
    elif oblong:
        yield f"{len(oblong):,} that are not square are padded to a square; the padding does not count"
    coloured = sum(one.image.coloured for one in seen if one.image)
    if coloured and channels == 1:
        yield f"{coloured:,} with colours become grey (luminance); data.channels=3 keeps colours"
    elif channels == 3 and coloured < len(sizes):
        yield f"{len(sizes) - coloured:,} grey images get three equal channels; data.channels=1 saves them"


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
    p10, middle, p90 = np.quantile(values, (0.1, 0.5, 0.9))
    numbers = {"p10": p10, "median": middle, "p90": p90, "max": values.max(), "mean": values.mean()}
    return {name: float(number) for name, number in numbers.items()}
