"""Checks of the decoded images and masks of a dataset."""

import re
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np

from trustseg.data.cases import Case, Finding, Severity, findings_of
from trustseg.data.check_structure import patient_findings
from trustseg.data.decode import Progress, in_threads
from trustseg.data.intensity import IntensityScale, blank
from trustseg.data.mask_coding import decide_coding
from trustseg.data.near_copies import content_groups, left_out
from trustseg.data.pack_cases import CaseScan, decode_case, reference_of, scan_case
from trustseg.data.pack_notes import BLANK, decoding_notes
from trustseg.data.reading import PackOptions
from trustseg.errors import TrustsegError
from trustseg.text import first_of, plural

__all__ = ["check_case", "content_findings", "summaries_for_pack", "with_references"]

_MOST: Final = 0.75  # share of an image that few lesions cover


def content_findings(
    scans: Sequence[CaseScan], errors: Mapping[Case, Finding], options: PackOptions, scale: IntensityScale
) -> Iterable[Finding]:
    """Yield what is wrong or remarkable with the pixels of decoded cases, and with those that cannot be decoded."""
    yield from _errors(errors)
    if scans:
        thumbnails = np.stack([scan.thumbnail for scan in scans])
        yield from _repeated(scans, content_groups([scan.pixels for scan in scans], thumbnails))
    yield from _empty(scans)
    yield from _lesions(scans, options)
    yield from _readings(scans, scale)


def summaries_for_pack(
    scans: Sequence[CaseScan], pictures: Sequence[str], options: PackOptions, scale: IntensityScale
) -> list[str]:
    """Return what a check says that a pack notes, without names; ``pictures`` are the ``content_groups``."""
    patients = patient_findings([scan.case for scan in scans])
    found = (_readings(scans, scale), _lesions(scans, options), patients, _repeated(scans, pictures))
    return [finding.summary for finding in chain(*found)]


def _errors(errors: Mapping[Case, Finding]) -> Iterable[Finding]:
    """Yield one error for all files with which the same is wrong, whatever their names and numbers."""
    groups: defaultdict[str, list[Finding]] = defaultdict(list)
    for case, error in errors.items():
        alike = error.message
        for file in (case.image, *case.masks):
            alike = alike.replace(str(file), "")
        groups[re.sub(r"\d+", "0", alike)].append(error)
    for first, *more in groups.values():
        names = tuple(name for error in (first, *more) for name in error.names)
        told = f" ({len(names):,} cases like it: {first_of(names)})" if more else ""
        yield replace(first, message=first.message + told, names=names)


def check_case(case: Case) -> tuple[CaseScan | None, Finding | None]:
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


def with_references(
    scans: Sequence[CaseScan | None], options: PackOptions, *, undecided: Container[Path], progress: Progress | None
) -> tuple[list[CaseScan], list[Finding]]:
    """Return the cases that are there with what their masks hold, read as one coding, and what is to say of it.

    The masks of images in ``undecided`` are still to be chosen, and not read.
    """
    try:
        masks = [mask for scan in scans if scan for mask in scan.masks]
        coding = decide_coding(masks, mask_values=options.mask_values)
    except TrustsegError as error:
        if progress is not None:
            progress(len(scans), len(scans))
        return [scan for scan in scans if scan], [Finding("error", "mask_values", str(error))]

    def read_one(scan: CaseScan | None) -> CaseScan | None:
        if scan is None or not scan.masks or scan.case.image in undecided:
            return scan
        return replace(scan, reference=reference_of(scan, options, coding))

    read = in_threads(read_one, scans, progress=progress)
    return [scan for scan in read if scan], [Finding("note", "mask_coding", note) for note in coding.notes]


def _repeated(scans: Sequence[CaseScan], pictures: Sequence[str]) -> Iterable[Finding]:
    """Yield images that stand twice, by their decoded pixels, and near-copies, with what training does of them."""
    equal, alike = defaultdict[str, list[Case]](list), defaultdict[str, dict[str, list[Case]]](dict)
    for scan, picture in zip(scans, pictures, strict=True):
        equal[scan.pixels].append(scan.case)
        alike[picture][scan.pixels] = equal[scan.pixels]
    near = [list(chain.from_iterable(group.values())) for group in alike.values() if len(group) > 1]
    kinds = (
        (equal.values(), "by their content", "content_leak", "duplicate"),
        (near, "as near-copies (re-encoded, resized or re-windowed)", "near_copy_leak", "near_copy"),
    )
    left = {case.name for group in near if _across(group) for case in group if case.split == "train" and case.masks}
    for groups, how, kind, _ in kinds:
        exact = kind == "content_leak"
        advice = "training refuses them; remove one of each pair" if exact else left_out(len(left))
        what = f"images in both train and test, {how}"
        yield from findings_of("error" if exact else "warning", kind, _named(groups, across=True), what, advice)
    for groups, how, _, kind in kinds:
        advice = "keep one of each; all copies of an image stay on one side of a split"
        what = f"images present several times, {how}"
        yield from findings_of("warning", kind, _named(groups, across=False), what, advice)


def _across(group: Iterable[Case]) -> bool:
    return {"train", "test"} <= {case.split for case in group}


def _named(groups: Iterable[Sequence[Case]], *, across: bool) -> list[str]:
    """Return the names of images that stand twice, in the same split or across train and test."""
    twice = (group for group in groups if len(group) > 1 and _across(group) == across)
    return [" = ".join(case.name for case in group) for group in twice]


def _empty(scans: Sequence[CaseScan]) -> Iterable[Finding]:
    empty = (scan.case.name for scan in scans if scan.empty)
    advice = "Dice is undefined for them, so scores leave them out; the area predicted in them is reported instead"
    yield from findings_of("note", "empty_mask", empty, "empty masks", advice)
    ill = (scan.case.name for scan in scans if scan.case.split == "control" and scan.reference and not scan.empty)
    advice = "a control lacks the target; take these out of the controls, or correct their masks"
    yield from findings_of("error", "control_lesion", ill, "controls whose mask holds a lesion", advice)


def _lesions(scans: Sequence[CaseScan], options: PackOptions) -> Iterable[Finding]:
    """Yield sides without any lesion, lesions so large that they may be the background, and those that vanish."""
    known = [(scan.case, scan.reference) for scan in scans if scan.reference]
    lesions = [(case, one) for case, one in known if one.foreground_native]
    for split in sorted({case.split for case, _ in known} - {case.split for case, _ in lesions} - {"control"}):
        message = f"all masks of {split} are empty: there is nothing to learn or to find there, and Dice is undefined"
        yield Finding("warning", "all_masks_empty", message)
    large = (case.name for case, one in lesions if (one.share or 0) > _MOST)
    what = f"masks whose lesion covers more than {_MOST:.0%} of the image"
    yield from findings_of("warning", "large_lesion", large, what, "check whether lesion and background are swapped")
    lost = [case.name for case, one in lesions if not one.foreground]
    severity: Severity = "error" if len(lost) == len(lesions) else "warning"
    square = f"{options.size}x{options.size} pixels"
    what = f"lesions that vanish at {square}, so that masks become empty (of {plural(len(lesions), 'image')})"
    yield from findings_of(severity, "lost_lesion", lost, what, "choose a larger data.size")


def _readings(scans: Sequence[CaseScan], scale: IntensityScale) -> Iterable[Finding]:
    """Yield blank images, and what was done while decoding."""
    images = {scan.image: scan.case.name for scan in scans}
    yield from findings_of("warning", "blank_image", (images[image] for image in blank(images, scale)), *BLANK)
    masks = [mask for scan in scans for mask in scan.masks]
    for note, names in (*decoding_notes(list(images), "image").items(), *decoding_notes(masks, "mask").items()):
        yield Finding("note", "decoding", f"{note} ({first_of(names)})", names)
