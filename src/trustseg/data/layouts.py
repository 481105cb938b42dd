"""The layouts that a dataset may have, by name, and the search through them.

QaTa-COV19-v2 holds 9,258 chest X-rays with infection masks (7,145 train, 2,113 test) and a control group.

Reference:
    Degerli et al., "OSegNet: Operational Segmentation Network for COVID-19 Detection Using Chest X-Ray Images", ICIP
    2022, arXiv:2202.10185; data: https://www.kaggle.com/datasets/aysendegerli/qatacov19-dataset
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from trustseg.data.cases import Case, Declared, Finding, Listing, findings_of, joined
from trustseg.data.folder import folder
from trustseg.data.inventory import broken_links, files_below, image_files, is_placeholder
from trustseg.data.manifest import manifest
from trustseg.data.patients import with_one_spelling
from trustseg.entries import Entry
from trustseg.errors import DataError, MissingFileError, MissingPackageError
from trustseg.text import first_of, plural

__all__ = ["LAYOUTS", "fetch_qata", "find_cases", "qata", "uniquely_named", "usable_cases"]

_QATA_SIDES: Final = ("Train Set", "Test Set")
_QATA: Final = "aysendegerli/qatacov19-dataset"
_QATA_PAGE: Final = f"https://www.kaggle.com/datasets/{_QATA}"


def qata(path: Path, declared: Declared | None = None) -> Listing:
    """Return the cases of the QaTa-COV19-v2 layout, empty if the path does not have it.

    ``path`` may be the folder that holds ``Train Set`` and ``Test Set``, or one of those above it:

        QaTa-COV19/QaTa-COV19-v2/Train Set/Images/<name>.png    .../Train Set/Ground-truths/mask_<name>.png
        QaTa-COV19/QaTa-COV19-v2/Test Set/Images/<name>.png     .../Test Set/Ground-truths/mask_<name>.png
        QaTa-COV19/Control_Group/Control_Group_I/*              normal images, without masks (optional)

    Of phantoms, which have this layout too, the maps in ``Ambiguity`` are known and not mentioned.
    ``Control_Group_II`` is passed over: its pneumonia images show opacities without masks and are no empty controls.
    """
    tails = ("", "QaTa-COV19-v2", "QaTa-COV19/QaTa-COV19-v2")
    base = next((path / tail for tail in tails if any((path / tail / side).is_dir() for side in _QATA_SIDES)), None)
    if base is None:
        return Listing()
    parts = [folder(path, declared)]
    # Absolute, so that a path of "." finds the control group next to it as well.
    group = base.absolute().parent / "Control_Group"
    if base == path and base.absolute().name == "QaTa-COV19-v2" and (group / "Control_Group_I").is_dir():
        parts.append(replace(folder(group / "Control_Group_I"), notes=()))
    listing = joined(parts)
    if (base / "phantoms.json").is_file():
        maps = {base / side / "Ambiguity" for side in _QATA_SIDES}
        listing = replace(listing, passed_over=tuple(file for file in listing.passed_over if file.parent not in maps))
    if any("Control_Group_II" in file.parts for file in listing.passed_over) or (group / "Control_Group_II").is_dir():
        note = "Control_Group_II is left out: its pneumonia images show opacities without masks"
        return replace(listing, notes=(*listing.notes, note))
    return listing


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
                cases=with_one_spelling(uniquely_named(listing.cases, root)),
                passed_over=(*listing.passed_over, *hidden),
                problems=(*listing.problems, *_without_content(listing, links)),
                root=root,
                layout=name,
            )
    kinds = Counter(file.suffix.lower() or "no suffix" for file, hidden in files_below(path) if not hidden)
    found = first_of([f"{count:,} {kind}" for kind, count in kinds.most_common()], 5)
    raise DataError(
        f"{path} holds no images (files found: {found or 'none'}); check the path, or list the images in a "
        "manifest.csv with the columns image, mask, patient, split"
    )


def usable_cases(path: Path | str, declared: Declared | None = None) -> Listing:
    """Return the cases under a path as ``find_cases`` does, refusing files without a partner and open questions."""
    listing = find_cases(path, declared)
    if listing.problems:
        raise DataError(f"{listing.problems[0].message}; list all problems with: trustseg data check {path}")
    if unpaired := [*listing.unpaired_images, *listing.unpaired_masks]:
        images, masks = plural(len(listing.unpaired_images), "image"), plural(len(listing.unpaired_masks), "mask")
        raise DataError(
            f"{path} has {images} without a mask and {masks} without an image, such as {unpaired[0]}; "
            f"list them all with: trustseg data check {path}"
        )
    return listing


def _without_content(listing: Listing, links: list[Path]) -> Iterator[Finding]:
    files = [file for case in listing.cases for file in (case.image, *case.masks)]
    empty = [file for file in (*files, *listing.unpaired_images, *listing.unpaired_masks) if is_placeholder(file)]
    advice = "get their content (git annex get, datalad get, git lfs pull) or remove them"
    what = "files whose content is missing (broken links)"
    return findings_of("error", "broken_link", dict.fromkeys((*empty, *links)), what, advice)


def uniquely_named(cases: Sequence[Case], root: Path) -> tuple[Case, ...]:
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
    clashing = [case.image for case in named if case.name == again]
    files = ", ".join(map(str, clashing))
    if len({image.with_suffix("") for image in clashing}) > 1:
        raise DataError(f"{files} would be called '{again}', folders in front of names that come twice; rename one")
    raise DataError(f"{files} have the same name but for ending or case; rename or delete one")


def fetch_qata(target: Path | None = None) -> Path:
    """Download QaTa-COV19 through kagglehub, to ``target`` or its own cache, and return the folder.

    Read the licence on Kaggle's page first; it is said to allow non-commercial use only.
    """
    try:
        import kagglehub
    except ImportError as error:
        raise MissingPackageError(f"run: pip install 'trustseg[qata]', or download {_QATA_PAGE} by hand") from error
    try:
        found = kagglehub.dataset_download(_QATA, output_dir=None if target is None else str(target))
    except Exception as error:  # kagglehub lets errors of several network libraries through
        raise DataError(
            f"the download of {_QATA} failed ({type(error).__name__}: {error}); download {_QATA_PAGE} elsewhere, "
            "unpack it and name its folder"
        ) from error
    return Path(found)
