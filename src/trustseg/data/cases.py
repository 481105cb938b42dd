"""What a dataset holds: cases (image, mask, patient, split), and how masks find their images."""

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from trustseg.errors import DataError

__all__ = [
    "SUFFIXES",
    "Case",
    "Listing",
    "Split",
    "image_files",
    "is_lateral",
    "joined",
    "known_name",
    "mask_affix",
    "pair",
    "patient_of",
    "subfolder",
]

Split = Literal["train", "test", "control"]

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".dcm", ".dicom"})

# QaTa-COV19-v2: pooled sources (covid_<n>, no patient) or BIMCV names (sub-S...).
_QATA_NAME: Final = re.compile(
    r"^(?:covid_(?P<number>\d+)|sub-(?P<subject>[A-Za-z0-9]+)(?:_ses-(?P<session>[A-Za-z0-9]+))?"
    r"(?:_acq-(?P<acquisition>[A-Za-z0-9]+))?(?:_run-(?P<run>\d+))?(?:_bp-(?P<body_part>[a-z]+))?"
    r"(?:_vp-(?P<view>[a-z]+))?(?:_(?P<modality>cr|dx))?)$"
)
_SUBJECT: Final = re.compile(r"^sub-([A-Za-z0-9]+)(?:_|$)")
_NIH_NAME: Final = re.compile(r"^(\d{8})_\d{3}$")

# What may stand before or after an image's stem in its mask's name: words of letters, each with a separator.
_PREFIX: Final = re.compile(r"(?:[A-Za-z]+[_\-. ])+")
_SUFFIX: Final = re.compile(r"(?:[_\-. ][A-Za-z]+)+")


@dataclass(frozen=True, slots=True)
class Case:
    """One image of a dataset.

    Attributes:
        name: file name of the image without its extension.
        image: the image file.
        masks: the reference mask files, several of which are united; empty if there is no reference.
        patient: the patient as the name tells it, None if unknown.
        split: the side on which the dataset itself puts the case; ``control`` is never trained on.
        columns: further columns of the manifest, such as ``sex`` or ``site``.
    """

    name: str
    image: Path
    masks: tuple[Path, ...]
    patient: str | None
    split: Split
    columns: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Listing:
    """What was found under a path: nothing has been decoded yet.

    Attributes:
        cases: the images that have a mask or need none.
        lone_images: images whose mask is missing.
        lone_masks: masks whose image is missing.
        notes: sentences on how the folders were read.
        layout: name of the layout in ``LAYOUTS``.
    """

    cases: tuple[Case, ...] = ()
    lone_images: tuple[Path, ...] = ()
    lone_masks: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    layout: str = ""

    def __bool__(self) -> bool:
        return bool(self.cases or self.lone_images or self.lone_masks)


def joined(listings: Iterable[Listing]) -> Listing:
    """Return the listings as one, in their order."""
    parts = list(listings)
    return Listing(
        cases=tuple(case for part in parts for case in part.cases),
        lone_images=tuple(path for part in parts for path in part.lone_images),
        lone_masks=tuple(path for part in parts for path in part.lone_masks),
        notes=tuple(note for part in parts for note in part.notes),
    )


def patient_of(name: str) -> str | None:
    """Return the patient that an image name tells, None if it tells none.

    Args:
        name: file name without its extension; understood are the names of BIMCV and QaTa (``sub-S09603_...``) and
            those of NIH (``00001281_000``). ``covid_<n>`` names a pooled source and no patient.

    Example:
        >>> patient_of("sub-S09611_ses-E17966_acq-1_run-1_bp-chest_vp-ll_dx"), patient_of("00001281_000")
        ('S09611', '00001281')
        >>> patient_of("covid_12") is None
        True
    """
    match = _SUBJECT.match(name) or _NIH_NAME.match(name)
    return match[1] if match else None


def known_name(name: str) -> bool:
    """Return whether an image name follows one of the patterns that ``patient_of`` understands.

    Example:
        >>> known_name("covid_12"), known_name("holiday")
        (True, False)
    """
    return bool(_QATA_NAME.match(name) or _NIH_NAME.match(name))


def is_lateral(name: str) -> bool:
    """Return whether an image name says that the view is lateral (``vp-ll``)."""
    match = _QATA_NAME.match(name)
    return bool(match and match["view"] == "ll")


def image_files(folder: Path) -> dict[str, Path]:
    """Return the image files of a folder by stem, sorted; hidden files and other kinds are passed over.

    Raises:
        DataError: if two files have the same stem, such as ``a.png`` and ``a.jpg``.
    """
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file())
    return _by_stem((path.stem, path) for path in map(folder.joinpath, names) if path.suffix.lower() in SUFFIXES)


def subfolder(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the first of the named folders that exists inside ``folder``, whatever its case; None if none does."""
    if not folder.is_dir():
        return None
    found = {child.name.lower(): child for child in sorted(folder.iterdir(), reverse=True) if child.is_dir()}
    return next((found[name.lower()] for name in names if name.lower() in found), None)


def pair(folder: Path, split: Split, *, images: Sequence[str], masks: Sequence[str]) -> Listing:
    """Return the cases of one folder that holds an image folder and a mask folder.

    A mask belongs to the image with the same stem, after taking off the prefix or suffix that fits most masks
    (``mask_x``, ``x_mask``, ``x_seg``, ...).

    Args:
        folder: the folder that holds both.
        split: the side on which its cases stand.
        images: names that the image folder may have.
        masks: names that the mask folder may have; if none of them exists, every image is lone.

    Returns:
        The listing, empty if there is no image folder.
    """
    image_folder, mask_folder = subfolder(folder, images), subfolder(folder, masks)
    if image_folder is None:
        return Listing()
    pictures = image_files(image_folder)
    files = image_files(mask_folder) if mask_folder else {}
    prefix, suffix = mask_affix(pictures.keys(), files.keys())
    references = _by_stem((_bare(stem, prefix, suffix), path) for stem, path in files.items())
    return Listing(
        cases=tuple(
            Case(name=name, image=path, masks=(references[name],), patient=patient_of(name), split=split)
            for name, path in pictures.items()
            if name in references
        ),
        lone_images=tuple(path for name, path in pictures.items() if name not in references),
        lone_masks=tuple(path for name, path in references.items() if name not in pictures),
    )


def mask_affix(images: Collection[str], masks: Iterable[str]) -> tuple[str, str]:
    """Return the prefix and the suffix (one of them empty) with which most masks name an image.

    Args:
        images: stems of the images.
        masks: stems of the masks.

    Example:
        >>> mask_affix({"a", "mask_a"}, ["mask_a", "mask_mask_a"])
        ('mask_', '')
        >>> mask_affix({"1", "11"}, ["1_seg", "11_seg"])
        ('', '_seg')
    """
    votes: Counter[tuple[str, str]] = Counter({("", ""): 0})
    for stem in masks:
        votes["", ""] += stem in images
        for cut in range(1, len(stem)):
            if stem[cut:] in images and _PREFIX.fullmatch(stem[:cut]):
                votes[stem[:cut], ""] += 1
            if stem[:cut] in images and _SUFFIX.fullmatch(stem[cut:]):
                votes["", stem[cut:]] += 1
    return max(votes, key=lambda affix: (votes[affix], -len(affix[0] + affix[1]), affix))


def _bare(stem: str, prefix: str, suffix: str) -> str:
    """Return the stem without its affix, or as it is where it lacks the affix."""
    if stem.startswith(prefix) and stem.endswith(suffix):
        return stem[len(prefix) : len(stem) - len(suffix)]
    return stem


def _by_stem(files: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    """Return the pairs as a dictionary sorted by stem, refusing a stem that comes twice."""
    found: dict[str, Path] = {}
    for stem, path in sorted(files):
        if stem in found:
            raise DataError(
                f"{found[stem]} and {path.name} stand for the same case '{stem}', expected one file a case; "
                "rename or delete one of them"
            )
        found[stem] = path
    return found
