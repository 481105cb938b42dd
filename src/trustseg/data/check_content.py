"""What the decoded images and masks of a dataset tell."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from trustseg.data.cases import Case
from trustseg.data.decode import check_sizes, read_image, read_mask
from trustseg.data.findings import Finding, finding_of
from trustseg.data.intensity import ImageScan, decide_scale, scan_image
from trustseg.data.mask_coding import (
    MaskCoding,
    MaskScan,
    MaskValues,
    apply_coding,
    decide_coding,
    lesion_share,
    scan_mask,
    united,
)
from trustseg.data.near_copies import content_hash, near_copies, thumbnail
from trustseg.errors import TrustsegError

__all__ = ["DecodedCase", "content_findings", "decode_case", "with_coding"]


@dataclass(frozen=True, slots=True, eq=False)
class DecodedCase:
    """What decoding one case told."""

    case: Case
    error: Finding | None = None
    content: str = ""
    thumbnail: npt.NDArray[np.float32] | None = None
    size: str = ""
    image: ImageScan | None = None
    masks: tuple[MaskScan, ...] = ()
    infected: float | None = None


def content_findings(seen: Sequence[DecodedCase]) -> Iterable[Finding]:
    """Yield what is wrong or remarkable with the pixels of decoded cases."""
    yield from (one.error for one in seen if one.error)
    yield from _repeated(seen)
    yield from _remarks(seen)


def decode_case(case: Case) -> DecodedCase:
    """Decode one case; whatever is wrong with it becomes a finding."""
    try:
        image = read_image(case.image)
        masks = [read_mask(path) for path in case.masks]
    except TrustsegError as error:
        return DecodedCase(case, Finding("error", "unreadable", str(error), (case.name,)))
    content, size = content_hash(image.pixels, inverted=image.inverted), f"{image.size[0]}x{image.size[1]}"
    seen = DecodedCase(case, None, content, thumbnail(image.pixels), size, scan_image(image, case.image))
    try:
        for mask, path in zip(masks, case.masks, strict=True):
            check_sizes(image, mask, image_path=case.image, mask_path=path)
    except TrustsegError as error:
        return replace(seen, error=Finding("error", "size_mismatch", str(error), (case.name,)))
    return replace(seen, masks=tuple(scan_mask(mask, path) for mask, path in zip(masks, case.masks, strict=True)))


def with_coding(
    seen: Sequence[DecodedCase], *, mask_values: MaskValues | None = None
) -> tuple[list[DecodedCase], list[Finding]]:
    """Return the cases with their infected fraction, read as one coding of masks, and what is to say of the coding."""
    try:
        coding = decide_coding([mask for one in seen for mask in one.masks], mask_values=mask_values)
    except TrustsegError as error:
        return list(seen), [Finding("error", "mask_values", str(error))]
    notes = [Finding("note", "mask_coding", note) for note in coding.notes]
    return [replace(one, infected=_infected(one, coding)) for one in seen], notes


def _infected(one: DecodedCase, coding: MaskCoding) -> float | None:
    """Return the share of lesion among the counted pixels of a case, None without a mask or without such pixels."""
    if len(one.masks) <= 1:
        return lesion_share(one.masks[0], coding) if one.masks else None
    mask = united([apply_coding(read_mask(path), coding, path) for path in one.case.masks])
    counted = (mask != 255).sum()
    return float((mask == 1).sum() / counted) if counted else None


def _repeated(seen: Sequence[DecodedCase]) -> Iterable[Finding]:
    """Yield images that stand twice: decoded pixels are compared, not bytes, and thumbnails for near-copies."""
    groups: defaultdict[str, list[DecodedCase]] = defaultdict(list)
    for one in seen:
        if one.content:
            groups[one.content].append(one)
    equal = [[one.case for one in group] for group in groups.values() if len(group) > 1]
    first = [group[0] for group in groups.values()]  # near-copies of equal images are told once
    pairs = near_copies(np.stack([one.thumbnail for one in first if one.thumbnail is not None])) if first else []
    near = [[one.case for row in pair for one in groups[first[row].content]] for pair in pairs]
    again = "keep one of each; all images of a picture stay on one side of a split"
    for kind, repeated, what, leak_advice in (
        ("content_leak", equal, "by their content", "take one of each pair out"),
        (
            "near_copy_leak",
            near,
            "as near-copies (re-encoded, resized or re-windowed)",
            "take one of each pair out; training leaves its copies out (data.near_copies)",
        ),
    ):
        across = [group for group in repeated if {"train", "test"} <= {case.split for case in group}]
        if names := _pairs(across):
            yield finding_of("error", kind, names, f"pictures both in train and in test, {what}", leak_advice)
        if names := _pairs([group for group in repeated if group not in across]):
            word = "duplicate" if repeated is equal else "near_copy"
            yield finding_of("warning", word, names, f"pictures that come several times, {what}", again)


def _pairs(groups: Sequence[Sequence[Case]]) -> tuple[str, ...]:
    return tuple(" = ".join(case.name for case in group) for group in groups)


def _remarks(seen: Sequence[DecodedCase]) -> Iterable[Finding]:
    empty = tuple(one.case.name for one in seen if one.infected == 0)
    if empty:
        yield finding_of("note", "empty_mask", empty, "empty masks", "their Dice is undefined or 0, and counted apart")
    told: defaultdict[str, set[bool]] = defaultdict(set)
    for one in seen:
        if one.infected is not None:
            told[one.case.split].add(one.infected == 0)
    for split in sorted(split for split, empties in told.items() if empties == {True} and split != "control"):
        message = f"all masks of {split} are empty: there is nothing to learn or to find there, and Dice is undefined"
        yield Finding("warning", "all_masks_empty", message)
    scans = [one.image for one in seen if one.image]
    for note in decide_scale(scans).notes:
        yield Finding("note", "deep_image", note)
    noted: defaultdict[str, list[str]] = defaultdict(list)
    for one in seen:
        for scan in ([one.image] if one.image else []) + list(one.masks):
            for note in scan.notes:
                noted[note].append(scan.path.name)
    for note, names in sorted(noted.items()):
        yield finding_of("note", "decoding", tuple(names), "files", note)
