"""Checks of the decoded images and masks of a dataset."""

import re
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np

from trustseg.data.cases import Case, Finding, Severity, findings_of
from trustseg.data.check_structure import patient_findings
from trustseg.data.decode import Progress, in_threads
from trustseg.data.intensity import IntensityScale, blank, decide_scale
from trustseg.data.mask_coding import decide_coding
from trustseg.data.near_copies import content_groups, left_out
from trustseg.data.pack_cases import CaseScan, Reference, decode_case, reference_of, scan_case
from trustseg.data.pack_notes import BLANK, decoding_notes
from trustseg.data.reading import PackOptions
from trustseg.errors import TrustsegError
from trustseg.text import first_of, plural

__all__ = ["CheckedCase", "check_case", "content_findings", "summaries_for_pack", "with_references"]

_MOST: Final = 0.75  # share of an image that few lesions cover


@dataclass(frozen=True, slots=True, eq=False)
class CheckedCase:
    """What decoding one case told.

    Attributes:
        case: the case.
        scan: what its files hold; None if one cannot be decoded, without masks if they do not fit the image.
        error: what is wrong with it.
        reference: what its masks hold; None without masks, or if these cannot be read.
    """

    case: Case
    scan: CaseScan | None = None
    error: Finding | None = None
    reference: Reference | None = None

    @property
    def empty(self) -> bool:
        """Whether its masks hold no lesion."""
        return self.reference is not None and self.reference.foreground_native == 0


def content_findings(seen: Sequence[CheckedCase], options: PackOptions) -> Iterable[Finding]:
    """Yield what is wrong or remarkable with the pixels of decoded cases."""
    yield from _errors(seen)
    scanned = [(one.case, one.scan) for one in seen if one.scan]
    if scanned:
        cases, scans = zip(*scanned, strict=True)
        thumbnails = np.stack([scan.thumbnail for scan in scans])
        yield from _repeated(cases, scans, content_groups([scan.pixels for scan in scans], thumbnails))
    yield from _empty(seen)
    yield from _lesions(seen, options)
    yield from _readings(seen, decide_scale(one.scan.image for one in seen if one.scan))


def summaries_for_pack(
    cases: Sequence[Case],
    scans: Sequence[CaseScan],
    references: Sequence[Reference | None],
    pictures: Sequence[str],
    options: PackOptions,
    scale: IntensityScale,
) -> list[str]:
    """Return what a check says that a pack notes, without names; ``pictures`` are the ``content_groups``."""
    seen = [CheckedCase(*one[:2], reference=one[2]) for one in zip(cases, scans, references, strict=True)]
    found = (
        _readings(seen, scale),
        _lesions(seen, options),
        patient_findings(cases),
        _repeated(cases, scans, pictures),
    )
    return [finding.summary for finding in chain(*found)]


def _errors(seen: Sequence[CheckedCase]) -> Iterable[Finding]:
    """Yield one error for all files with which the same is wrong, whatever their names and numbers."""
    groups: defaultdict[str, list[Finding]] = defaultdict(list)
    for one in seen:
        if one.error:
            alike = one.error.message
            for file in (one.case.image, *one.case.masks):
                alike = alike.replace(str(file), "")
            groups[re.sub(r"\d+", "0", alike)].append(one.error)
    for first, *more in groups.values():
        names = tuple(name for error in (first, *more) for name in error.names)
        told = f" ({len(names):,} cases like it: {first_of(names)})" if more else ""
        yield replace(first, message=first.message + told, names=names)


def check_case(case: Case) -> CheckedCase:
    """Decode one case; whatever is wrong with it becomes a finding."""
    try:
        image, masks = decode_case(case)
    except TrustsegError as error:
        return CheckedCase(case, error=Finding("error", "unreadable", str(error), (case.name,)))
    try:
        return CheckedCase(case, scan_case(case, image, masks))
    except TrustsegError as error:
        finding = Finding("error", "size_mismatch", str(error), (case.name,))
        return CheckedCase(case, scan_case(replace(case, masks=()), image, ()), finding)


def with_references(
    seen: Sequence[CheckedCase], options: PackOptions, *, undecided: Container[Path], progress: Progress | None
) -> tuple[list[CheckedCase], list[Finding]]:
    """Return the cases with what their masks hold, read as one coding, and what is to say of that coding.

    Images in ``undecided`` are left out, whose masks are still to be chosen.
    """
    try:
        masks = [mask for one in seen if one.scan for mask in one.scan.masks]
        coding = decide_coding(masks, mask_values=options.mask_values)
    except TrustsegError as error:
        if progress is not None:
            progress(len(seen), len(seen))
        return list(seen), [Finding("error", "mask_values", str(error))]

    def read_one(one: CheckedCase) -> CheckedCase:
        if one.case.image in undecided or one.scan is None or not one.scan.masks:
            return one
        try:
            return replace(one, reference=reference_of(one.case, one.scan, options, coding))
        except TrustsegError as error:
            return replace(one, error=Finding("error", "unreadable", str(error), (one.case.name,)))

    return in_threads(read_one, seen, progress=progress), [
        Finding("note", "mask_coding", note) for note in coding.notes
    ]


def _repeated(cases: Sequence[Case], scans: Sequence[CaseScan], pictures: Sequence[str]) -> Iterable[Finding]:
    """Yield images that stand twice, by their decoded pixels, and near-copies, with what training does of them."""
    equal, alike = defaultdict[str, list[Case]](list), defaultdict[str, dict[str, list[Case]]](dict)
    for case, scan, picture in zip(cases, scans, pictures, strict=True):
        equal[scan.pixels].append(case)
        alike[picture][scan.pixels] = equal[scan.pixels]
    near = [list(chain.from_iterable(group.values())) for group in alike.values() if len(group) > 1]
    by_content, by_picture = "by their content", "as near-copies (re-encoded, resized or re-windowed)"
    both, advice = "images in both train and test", "training refuses them; remove one of each pair"
    yield from findings_of(
        "error", "content_leak", _named(equal.values(), across=True), f"{both}, {by_content}", advice
    )
    left = {case.name for group in near if _across(group) for case in group if case.split == "train" and case.masks}
    advice = left_out(len(left))
    yield from findings_of("warning", "near_copy_leak", _named(near, across=True), f"{both}, {by_picture}", advice)
    what, advice = (
        "images present several times",
        "keep one of each; all copies of an image stay on one side of a split",
    )
    yield from findings_of(
        "warning", "duplicate", _named(equal.values(), across=False), f"{what}, {by_content}", advice
    )
    yield from findings_of("warning", "near_copy", _named(near, across=False), f"{what}, {by_picture}", advice)


def _across(group: Iterable[Case]) -> bool:
    return {"train", "test"} <= {case.split for case in group}


def _named(groups: Iterable[Sequence[Case]], *, across: bool) -> list[str]:
    """Return the names of images that stand twice, in the same split or across train and test."""
    twice = (group for group in groups if len(group) > 1 and _across(group) == across)
    return [" = ".join(case.name for case in group) for group in twice]


def _empty(seen: Sequence[CheckedCase]) -> Iterable[Finding]:
    empty = (one.case.name for one in seen if one.empty)
    advice = "Dice is undefined for them, so scores leave them out; the area predicted in them is reported instead"
    yield from findings_of("note", "empty_mask", empty, "empty masks", advice)
    ill = (one.case.name for one in seen if one.case.split == "control" and one.reference and not one.empty)
    advice = "a control lacks the target; take these out of the controls, or correct their masks"
    yield from findings_of("error", "control_lesion", ill, "controls whose mask holds a lesion", advice)


def _lesions(seen: Sequence[CheckedCase], options: PackOptions) -> Iterable[Finding]:
    """Yield sides without any lesion, lesions so large that they may be the background, and those that vanish."""
    told: defaultdict[str, set[bool]] = defaultdict(set)
    for one in seen:
        if one.reference is not None:
            told[one.case.split].add(one.empty)
    for split in sorted(split for split, empties in told.items() if empties == {True} and split != "control"):
        message = f"all masks of {split} are empty: there is nothing to learn or to find there, and Dice is undefined"
        yield Finding("warning", "all_masks_empty", message)
    large = (one.case.name for one in seen if one.reference and (one.reference.share or 0) > _MOST)
    what = f"masks whose lesion covers more than {_MOST:.0%} of the image"
    yield from findings_of("warning", "large_lesion", large, what, "check whether lesion and background are swapped")
    lesions = [one for one in seen if one.reference and one.reference.foreground_native]
    lost = [one.case.name for one in lesions if one.reference and one.reference.lost]
    severity: Severity = "error" if len(lost) == len(lesions) else "warning"
    square = f"{options.size}x{options.size} pixels"
    what = f"lesions that vanish at {square}, so that masks become empty (of {plural(len(lesions), 'image')})"
    yield from findings_of(severity, "lost_lesion", lost, what, "choose a larger data.size")


def _readings(seen: Sequence[CheckedCase], scale: IntensityScale) -> Iterable[Finding]:
    """Yield blank images, and what was done while decoding."""
    scans = [one.scan for one in seen if one.scan]
    images = {one.scan.image: one.case.name for one in seen if one.scan}
    yield from findings_of("warning", "blank_image", (images[image] for image in blank(images, scale)), *BLANK)
    masks = [mask for scan in scans for mask in scan.masks]
    for note, names in (*decoding_notes(list(images), "image").items(), *decoding_notes(masks, "mask").items()):
        yield Finding("note", "decoding", f"{note} ({first_of(names)})", names)
