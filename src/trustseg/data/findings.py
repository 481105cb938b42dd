"""What is remarkable about decoded images and masks: findings of a check, and notes without file names for a pack."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Final

import numpy as np

from trustseg.data.cases import Case, Finding, Severity, findings_of
from trustseg.data.intensity import ImageScan, IntensityScale, blank_images
from trustseg.data.mask_encoding import MaskScan
from trustseg.data.near_copies import content_groups, left_out
from trustseg.data.pack import PackOptions
from trustseg.data.pack_cases import CaseScan
from trustseg.data.patients import patient_findings
from trustseg.text import first_of, plural

__all__ = ["blank_note", "content_findings", "decoding_notes", "image_notes", "mask_notes", "summaries_for_pack"]

_BLANK: Final = ("images of a single grey level or colour", "nothing can be seen in them; export them again")
_MOST: Final = 0.75  # share of an image that little foreground covers


def content_findings(
    scans: Sequence[CaseScan], errors: Mapping[Case, Finding], options: PackOptions, scale: IntensityScale
) -> Iterable[Finding]:
    """Yield what is wrong or remarkable with the pixels of decoded cases, and with those that cannot be decoded."""
    yield from _errors(errors)
    if scans:
        thumbnails = np.stack([scan.thumbnail for scan in scans])
        yield from _repeated(scans, content_groups([scan.pixels for scan in scans], thumbnails))
    yield from _empty(scans)
    yield from _foreground(scans, options)
    yield from _decoding(scans, scale)


def summaries_for_pack(
    scans: Sequence[CaseScan], pictures: Sequence[str], options: PackOptions, scale: IntensityScale
) -> list[str]:
    """Return what a check says that a pack notes, without names; ``pictures`` are the ``content_groups``."""
    patients = patient_findings([scan.case for scan in scans])
    found = (_decoding(scans, scale), _foreground(scans, options), patients, _repeated(scans, pictures))
    return [finding.summary for finding in chain(*found)]


def decoding_notes(scans: Sequence[ImageScan | MaskScan], noun: str) -> dict[str, tuple[str, ...]]:
    """Return what was done while files were decoded: sentences, each with the names of its files."""
    noted: defaultdict[str, list[str]] = defaultdict(list)
    for scan in scans:
        for note in scan.notes:
            noted[note].append(scan.path.name)
    return {f"{plural(len(names), noun)}: {note}": tuple(names) for note, names in sorted(noted.items())}


def image_notes(images: Sequence[ImageScan], scale: IntensityScale, options: PackOptions) -> Iterator[str]:
    """Yield what is done to images (intensity, colour and size); ``scale`` has no notes if others decided it."""
    deep = [image for image in images if image.level is not None]
    yield from scale.notes
    if deep and not scale.notes:
        yield f"{plural(len(deep), 'image')} of more than 8 bits: 0 to {scale.white} became 0 to 255, as in training"
        if bright := sum(image.highest > (scale.white or 0) for image in deep):
            yield f"{plural(bright, 'image')} with values above {scale.white}, which were clipped"
    coloured = sum(image.coloured for image in images)
    if coloured and options.channels == 1:
        yield f"{plural(coloured, 'image')} with colours became grey levels (luminance); data.channels=3 keeps them"
    elif options.channels == 3 and coloured < len(images):
        yield f"{plural(len(images) - coloured, 'grey image')} with three equal channels; data.channels=1 saves them"
    square, sizes = f"{options.size}x{options.size} pixels", [image.size for image in images]
    resized = sum(pair != (options.size, options.size) for pair in sizes)
    if resized:
        yield f"{resized:,} of {plural(len(sizes), 'image')} resized to {square}"
    ratios = [width / height for width, height in sizes if width != height]
    if ratios:
        what = f"{plural(len(ratios), 'image')} not square (width / height {min(ratios):.2f} to {max(ratios):.2f})"
        yield (
            f"{what}: squashed to {square} (data.fit=squash), which changes the aspect ratio"
            if options.fit == "squash"
            else f"{what}: padded to {square}; the padding does not count"
        )
    if small := sum(max(sides) < options.size for sides in sizes):
        yield f"{plural(small, 'image')} smaller than {square}, enlarged"


def blank_note(images: Sequence[ImageScan], scale: IntensityScale) -> Iterator[str]:
    """Yield how many images are blank, if any is."""
    if found := blank_images(images, scale):
        what, advice = _BLANK
        yield f"{what}: {len(found):,} of {len(images):,}; {advice}"


def mask_notes(scans: Sequence[CaseScan]) -> Iterator[str]:
    """Yield what is to know of reference masks: united ones, missing ones, ignored pixels."""
    if several := sum(len(scan.masks) > 1 for scan in scans):
        yield f"{plural(several, 'image')} with several masks, which were united"
    references = [scan.reference for scan in scans if scan.reference]
    if without := len(scans) - len(references):
        yield f"{plural(without, 'image')} without a reference mask (not the same as an empty one)"
    if ignored := [one.ignored / one.pixels for one in references if one.ignored]:
        share = sum(ignored) / len(ignored)
        yield (
            f"{plural(len(ignored), 'mask')} with ignored pixels ({share:.1%} of each on average), left out of "
            "losses and metrics"
        )


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
        others = f" ({len(names):,} cases like it: {first_of(names)})" if more else ""
        yield replace(first, message=first.message + others, names=names)


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
    yield from findings_of("error", "control_lesion", ill, "controls whose mask holds foreground", advice)


def _foreground(scans: Sequence[CaseScan], options: PackOptions) -> Iterable[Finding]:
    """Yield sides without any foreground, foreground so large that it may be the background, and what vanishes."""
    known = [(scan.case, scan.reference) for scan in scans if scan.reference]
    filled = [(case, one) for case, one in known if one.foreground_native]
    for split in sorted({case.split for case, _ in known} - {case.split for case, _ in filled} - {"control"}):
        message = f"all masks of {split} are empty: there is nothing to learn or to find there, and Dice is undefined"
        yield Finding("warning", "all_masks_empty", message)
    large = (case.name for case, one in filled if (one.share or 0) > _MOST)
    what = f"masks whose foreground covers more than {_MOST:.0%} of the image"
    yield from findings_of(
        "warning", "large_lesion", large, what, "check whether foreground and background are swapped"
    )
    lost = [case.name for case, one in filled if not one.foreground]
    severity: Severity = "error" if len(lost) == len(filled) else "warning"
    square = f"{options.size}x{options.size} pixels"
    what = f"foreground that vanishes at {square}, so that masks become empty (of {plural(len(filled), 'image')})"
    yield from findings_of(severity, "lost_lesion", lost, what, "choose a larger data.size")


def _decoding(scans: Sequence[CaseScan], scale: IntensityScale) -> Iterable[Finding]:
    """Yield blank images, and what was done while decoding."""
    images = {scan.image: scan.case.name for scan in scans}
    yield from findings_of("warning", "blank_image", (images[image] for image in blank_images(images, scale)), *_BLANK)
    masks = [mask for scan in scans for mask in scan.masks]
    for note, names in (*decoding_notes(list(images), "image").items(), *decoding_notes(masks, "mask").items()):
        yield Finding("note", "decoding", f"{note} ({first_of(names)})", names)
