"""Changed files: those of a folder of predictions that are no longer as they were when the review began."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from trustseg.data.decode import in_threads
from trustseg.prediction_folder import ABOUT, TABLE
from trustseg.review.cases import Case, CaseFolder
from trustseg.review.chain import canonical
from trustseg.text import first_of

__all__ = ["changed_images", "changed_predictions", "fingerprints"]

_DIGITS: Final = 16  # of a hash: it tells which file changed; that one did is told by the hash of all cases


def fingerprints(cases: Sequence[Case]) -> dict[str, list[str]]:
    """Return short hashes of the row, image and mask of each case, by the hash of its name."""
    return {_short(case.image): _fingerprint(case) for case in cases}


def changed_predictions(opened: Mapping[str, Any], folder: CaseFolder) -> list[str]:
    """Return what differs between the predictions and those that a review began with, a sentence for each file.

    Args:
        opened: content of the first entry of the log.
        folder: the predictions as they are now.
    """
    whole = opened.get("digest") == folder.digest
    if "files" not in opened:  # a review that an older version began
        parts = f"{TABLE}, {ABOUT} or masks/"
        return [] if whole else [f"{parts} in '{folder.folder}' are not those that the review is about"]
    before, now = opened["files"], {_short(case.image): case for case in folder.cases}
    faults = []
    if gone := len(before.keys() - now.keys()):
        faults.append(f"'{folder.folder / TABLE}' lacks {gone} of the {len(before)} images that the review is about")
    kept = [(case, before[name], _fingerprint(case)) for name, case in now.items() if name in before]
    added = [f"'{case.image}'" for name, case in now.items() if name not in before]
    rows = [f"'{case.image}'" for case, old, new in kept if old[0] != new[0]]
    sources = [f"'{case.image}'" for case, old, new in kept if old[1] != new[1]]
    masks = [f"'{case.mask}'" for case, old, new in kept if old[2] != new[2]]
    for start, names in (
        (f"'{folder.folder / TABLE}' has images that the review is not about", added),
        (f"'{folder.folder / TABLE}' has other rows than when the review began", rows),
        (f"'{folder.folder / ABOUT}' has the SHA-256 of other images", sources),
        ("masks are not those that the review is about", masks),
    ):
        if names:
            faults.append(f"{start}: {first_of(names)}")
    if not faults and not whole:
        faults.append(f"'{folder.folder / TABLE}' or masks/ is not what the review is about")
    return faults


def changed_images(folder: CaseFolder) -> list[str]:
    """Return which images are not those that were predicted, in one sentence; none if all are."""
    digests = in_threads(_sha256, folder.cases, progress=None)
    wrong = [
        f"'{case.file}'" for case, digest in zip(folder.cases, digests, strict=True) if digest != case.image_sha256
    ]
    return [f"images are not those that were predicted: {first_of(wrong)}"] if wrong else []


def _fingerprint(case: Case) -> list[str]:
    numbers = (case.score, case.predicted_fraction, case.largest_probability)
    row = [case.number, *(None if math.isnan(number) else number for number in numbers), case.flagged]
    return [_short(canonical([*row, case.width, case.height])), case.image_sha256[:_DIGITS], case.mask_sha256[:_DIGITS]]


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _sha256(case: Case) -> str:
    with case.file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
