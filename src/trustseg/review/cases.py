"""The cases of a review: the rows of a folder of predictions, in its order, with a number each that never changes."""

import hashlib
import math
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from trustseg.data.decode import in_threads
from trustseg.deferral import CertifiedPolicy
from trustseg.deferral.policy import Policy
from trustseg.deferral.policy_files import parse_any_policy
from trustseg.errors import DataError, MissingFileError
from trustseg.prediction_folder import ABOUT, mask_file, read_prediction_folder, uncertainty_file
from trustseg.review.chain import canonical
from trustseg.text import first_of

__all__ = ["Case", "CaseFolder", "open_cases", "sha256_of"]

_RESTORE: Final = "restore them from a backup; predict again only if no review of them has begun"


@dataclass(frozen=True, slots=True)
class Case:
    """One predicted image.

    Attributes:
        number: 1, 2, 3 ... in the order of the table, the least sure image first.
        image: its name, which may identify a patient: never in an address or a log of the server.
        file: where it lies.
        mask: the predicted mask (PNG).
        uncertainty: the uncertainty map (PNG).
        score: image score, higher = less sure; NaN if the model gave none.
        flagged: whether the policy sends it to a human; None without a policy.
        predicted_fraction: share of the image that the mask covers.
        largest_probability: of all pixels.
        width: of the image in pixels.
        height: likewise.
        image_sha256: of the image's file, as it was predicted.
        mask_sha256: of the mask's file.
    """

    number: int
    image: str
    file: Path
    mask: Path
    uncertainty: Path
    score: float
    flagged: bool | None
    predicted_fraction: float
    largest_probability: float
    width: int
    height: int
    image_sha256: str
    mask_sha256: str


class CaseFolder(NamedTuple):
    """Everything that is reviewed.

    Attributes:
        folder: what ``trustseg predict`` wrote.
        cases: in order, ``cases[number - 1]``.
        model: hash of the model.
        config: SHA-256 of ``prediction.json``.
        measure: pixel measure of uncertainty.
        aggregation: map to image score.
        policy: what chose the flagged cases; None without.
        guarantee: whether the policy's promise may hold for these images, as ``predict`` found; None if it did not say.
        white: value of deep images that becomes 255.
        digest: hash of all cases, their images and masks, to tell whether they are still the same.
    """

    folder: Path
    cases: Sequence[Case]
    model: str
    config: str
    measure: str
    aggregation: str
    policy: Policy | CertifiedPolicy | None
    guarantee: str | None
    white: int | None
    digest: str

    def case(self, number: int) -> Case:
        """Return a case by its number; a MissingFileError if there is none."""
        if not 1 <= number <= len(self.cases):
            raise MissingFileError(f"no case {number}; there are {len(self.cases)}")
        return self.cases[number - 1]


def open_cases(folder: Path, *, images: Path | None = None) -> CaseFolder:
    """Return the cases in a folder that ``trustseg predict`` has written.

    Args:
        folder: with ``predictions.csv``, ``prediction.json``, and ``masks/`` and ``uncertainty/`` of every image.
        images: folder in which the images lie, at any depth, if not where ``predict`` found them; they are found by
            name, and those that share a name with other files by their SHA-256.

    Raises:
        MissingFileError: if files are not there; the first ones are named.
        DataError: if one is damaged.
    """
    about, table = read_prediction_folder(folder)
    images_by_name = {each.image: each for each in about.images}
    if images is not None and not images.is_dir():
        raise MissingFileError(f"no folder '{images}'; --images is the folder of the images")
    sources = [Path(images_by_name[name].file) for name in table["image"]]
    digests = [images_by_name[name].sha256 for name in table["image"]]
    files = [folder / source for source in sources] if images is None else _found_in(images, sources, digests)
    named = [images_by_name[name].named for name in table["image"]]
    masks = [mask_file(folder, name) for name in named]
    maps = [uncertainty_file(folder, name) for name in named]
    _require(masks, "masks", _RESTORE)
    _require(maps, "uncertainty maps", _RESTORE)
    _require(files, "images", "name their folder with --images" if images is None else "--images is another folder?")
    places = zip(files, masks, maps, digests, in_threads(sha256_of, masks, progress=None), strict=True)
    cases = [
        Case(
            number=number,
            image=row["image"],
            file=file,
            mask=mask,
            uncertainty=shown,
            score=row["uncertainty"],
            flagged=row["review"] == "yes" if "review" in table.columns else None,
            **{name: row[name] for name in ("predicted_fraction", "largest_probability", "width", "height")},
            image_sha256=image_digest,
            mask_sha256=mask_digest,
        )
        for number, (row, (file, mask, shown, image_digest, mask_digest)) in enumerate(
            zip(table.iter_rows(named=True), places, strict=True), start=1
        )
    ]
    policy = None if about.policy is None else parse_any_policy(about.policy, folder / ABOUT)
    if (policy is None) != (cases[0].flagged is None):
        raise DataError(f"'{folder}': the table and {ABOUT} differ on whether there is a policy; predict again")
    rows = [
        (
            *(case.number, case.image, None if math.isnan(case.score) else case.score),
            *(case.flagged, case.image_sha256, case.mask_sha256),
        )
        for case in cases
    ]
    return CaseFolder(
        folder=folder,
        cases=cases,
        model=about.model,
        config=sha256_of(folder / ABOUT),
        measure=about.measure,
        aggregation=about.aggregation,
        policy=policy,
        guarantee=table["guarantee"][0] if "guarantee" in table.columns else None,
        white=about.white,
        digest=hashlib.sha256(canonical(rows).encode()).hexdigest(),
    )


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _found_in(images: Path, sources: Sequence[Path], digests: Sequence[str]) -> list[Path]:
    """Return the file of each image in a folder or below it; where none has its name, a path that is not there."""
    files = [images / source.name for source in sources]
    if all(file.is_file() for file in files):
        return files
    places: dict[str, list[Path]] = defaultdict(list)
    for folder, _, names in os.walk(images):
        for name in names:
            places[name].append(Path(folder, name))
    return [
        next((place for place in found if len(found) == 1 or sha256_of(place) == digest), file)
        for file, digest, found in zip(files, digests, (places[file.name] for file in files), strict=True)
    ]


def _require(files: Sequence[Path], what: str, remedy: str) -> None:
    missing = [file for file in files if not file.is_file()]
    if missing:
        names = first_of([f"'{file}'" for file in missing])
        raise MissingFileError(f"{len(missing):,} of {len(files):,} {what} are not there ({names}); {remedy}")
