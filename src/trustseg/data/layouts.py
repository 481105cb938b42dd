"""The layouts that a dataset may have, by name, and the search through them."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from trustseg.data.cases import Case, Declared, Finding, Listing, findings_of
from trustseg.data.folder import folder
from trustseg.data.inventory import broken_links, image_files, is_placeholder
from trustseg.data.manifest import manifest
from trustseg.data.patients import one_spelling
from trustseg.data.qata import qata
from trustseg.entries import Entry
from trustseg.errors import DataError, MissingFileError

__all__ = ["LAYOUTS", "find_cases", "usable_cases"]

LAYOUTS: Final[Mapping[str, Entry[Listing, None]]] = {
    "manifest": Entry(manifest, "manifest", None),
    "qata": Entry(qata, "QaTa-COV19", None),
    "folder": Entry(folder, "folder of images and masks", None),
}


def find_cases(path: Path | str, declared: Declared | None = None) -> Listing:
    """Return the cases under a path, read by the first layout of ``LAYOUTS`` that finds any, and what is wrong.

    They come in the order train, test, control, unlabelled, sorted by folder and name. A name that comes twice
    (``train/images/1.png``, ``test/images/1.png``) gets its split in front (``train-1``, ``test-1``), or where that is
    not enough the folders above it. Patients whose names differ only in case are one.
    """
    path = Path(path)
    if not path.is_dir() and path.suffix.lower() not in (".csv", ".tsv"):
        kind = "is a file" if path.is_file() else "does not exist"
        raise MissingFileError(f"{path} {kind}; give a dataset folder or a manifest.csv (data.path)")
    if (path / "pack.json").is_file():
        raise DataError(f"{path} is a pack; give the folder of images that it was made from")
    root = path if path.is_dir() else path.parent
    for name, find in LAYOUTS.items():
        if listing := find(path, declared):
            hidden = image_files(path, hidden=True) if path.is_dir() else []
            links = broken_links(path) if path.is_dir() and name != "manifest" else []
            return replace(
                listing,
                cases=one_spelling(_unique(listing.cases, root)),
                passed_over=(*listing.passed_over, *hidden),
                problems=(*listing.problems, *_without_content(listing, links)),
                root=root,
                layout=name,
            )
    raise DataError(
        f"{path} holds no images in a known layout, such as images/ and masks/; check the path, or write a "
        "manifest.csv with the columns image, mask, patient, split"
    )


def usable_cases(path: Path | str, declared: Declared | None = None) -> Listing:
    """Return the cases under a path as ``find_cases`` does, refusing files without a partner and open questions."""
    listing = find_cases(path, declared)
    if listing.problems:
        raise DataError(f"{listing.problems[0].message}; list all problems with: trustseg data check {path}")
    if lone := [*listing.lone_images, *listing.lone_masks]:
        raise DataError(
            f"{path} has {len(listing.lone_images)} images without a mask and {len(listing.lone_masks)} masks without "
            f"an image, such as {lone[0]}; list them all with: trustseg data check {path}"
        )
    return listing


def _without_content(listing: Listing, links: list[Path]) -> Iterator[Finding]:
    files = [file for case in listing.cases for file in (case.image, *case.masks)]
    empty = [file for file in (*files, *listing.lone_images, *listing.lone_masks) if is_placeholder(file)]
    advice = "get their content (git annex get, datalad get, git lfs pull) or remove them"
    what = "files whose content is missing (broken links)"
    return findings_of("error", "broken_link", dict.fromkeys((*empty, *links)), what, advice)


def _unique(cases: tuple[Case, ...], root: Path) -> tuple[Case, ...]:
    """Return the cases with the split, or else the folders, in front of every name that comes twice."""
    counts = Counter(case.name for case in cases)
    fronts: tuple[Callable[[Case], str], ...] = (
        lambda case: "",
        lambda case: f"{case.split}-",
        lambda case: "-".join((*Path(os.path.relpath(case.image.parent, root)).parts, "")),
    )
    for front in fronts:
        named = tuple(replace(case, name=front(case) + case.name) if counts[case.name] > 1 else case for case in cases)
        if len({case.name for case in named}) == len(cases):
            return named
    again = Counter(case.name for case in named).most_common(1)[0][0]
    files = ", ".join(str(case.image) for case in named if case.name == again)
    raise DataError(f"{files} have the same name but for ending or case; rename or delete one")
