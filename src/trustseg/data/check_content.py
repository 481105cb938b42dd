"""What the decoded images and masks of a dataset tell."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from trustseg.data.cases import Case
from trustseg.data.decode import check_sizes, foreground, read_image, read_mask
from trustseg.data.findings import Finding, finding_of
from trustseg.errors import TrustsegError

__all__ = ["DecodedCase", "content_findings", "decode_case"]


@dataclass(frozen=True, slots=True, eq=False)
class DecodedCase:
    """What decoding one case told."""

    case: Case
    error: Finding | None = None
    content: str = ""
    size: str = ""
    white: int = 255
    histogram: npt.NDArray[np.int64] | None = None
    infected: float | None = None


def content_findings(seen: Sequence[DecodedCase]) -> Iterable[Finding]:
    """Yield what is wrong or remarkable with the pixels of decoded cases."""
    yield from (one.error for one in seen if one.error)
    yield from _repeated(seen)
    yield from _mask_values(seen)
    yield from _remarks(seen)


def decode_case(case: Case) -> DecodedCase:
    """Decode one case; whatever is wrong with it becomes a finding."""
    try:
        image = read_image(case.image)
        masks = [read_mask(path) for path in case.masks]
    except TrustsegError as error:
        return DecodedCase(case, Finding("error", "unreadable", str(error), (case.name,)))
    # Decoded pixels, not bytes: the same image saved twice with other settings is still the same image.
    content = hashlib.sha256(repr(image.size).encode() + image.pixels.tobytes()).hexdigest()
    seen = DecodedCase(case, None, content, f"{image.size[0]}x{image.size[1]}", image.white)
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


def _repeated(seen: Sequence[DecodedCase]) -> Iterable[Finding]:
    groups: defaultdict[str, list[Case]] = defaultdict(list)
    for one in seen:
        if one.content:
            groups[one.content].append(one.case)
    repeated = [group for group in groups.values() if len(group) > 1]
    across = [group for group in repeated if {"train", "test"} <= {case.split for case in group}]
    within = [group for group in repeated if group not in across]
    if across:
        yield finding_of(
            "error",
            "content_leak",
            tuple(" = ".join(case.name for case in group) for group in across),
            "images both in train and in test, by their content",
            "take one of each pair out",
        )
    if within:
        yield finding_of(
            "warning",
            "duplicate",
            tuple(" = ".join(case.name for case in group) for group in within),
            "images that come several times, by their content",
            "keep one of each",
        )


def _mask_values(seen: Sequence[DecodedCase]) -> Iterable[Finding]:
    masks = [(one.case.name, set(np.flatnonzero(one.histogram).tolist())) for one in seen if one.histogram is not None]
    zero_one = tuple(name for name, values in masks if max(values) == 1)
    if zero_one:
        advice = "1 is read as infection; see whether that is meant"
        yield finding_of("warning", "zero_one_mask", zero_one, "masks that hold 0 and 1 only", advice)
    grey = tuple(name for name, values in masks if max(values) > 127 and not values <= {0, 255})
    if grey:
        what = "masks with other values than 0 and 255 (resized or JPEG-compressed?), cut above 127"
        yield finding_of("warning", "non_binary_mask", grey, what, "export these anew")


def _remarks(seen: Sequence[DecodedCase]) -> Iterable[Finding]:
    empty = tuple(one.case.name for one in seen if one.infected == 0)
    if empty:
        yield finding_of("note", "empty_mask", empty, "empty masks", "their Dice is undefined or 0, and counted apart")
    deep = tuple(one.case.name for one in seen if one.white != 255)
    if deep:
        whites = ", ".join(f"0 to {white}" for white in sorted({one.white for one in seen if one.white != 255}))
        yield finding_of("note", "deep_image", deep, "images of more than 8 bits", f"{whites} becomes 0 to 255")
