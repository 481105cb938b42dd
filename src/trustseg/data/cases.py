"""The cases of a dataset (image, masks, patient, split), the files that belong to none, and what is wrong with them."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final, Literal

from trustseg.text import first_of

__all__ = ["SPLITS", "Case", "Declared", "Finding", "Listing", "Severity", "Split", "findings_of", "joined"]

Severity = Literal["error", "warning", "note"]
Split = Literal["train", "test", "control", "unlabelled"]
SPLITS: Final[tuple[Split, ...]] = ("train", "test", "control", "unlabelled")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a dataset's owner should know.

    Attributes:
        severity: ``error`` (training refuses or its numbers would lie), ``warning`` (look at it) or ``note``.
        kind: a fixed word for programs, e.g. ``patient_leak``.
        message: a sentence with what was found and what to do.
        names: the files, cases or patients concerned.
    """

    severity: Severity
    kind: str
    message: str
    names: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """The message without names, for a pack."""
        return self.message.replace(f" ({first_of(self.names)})", "")


def findings_of(severity: Severity, kind: str, names: Iterable[object], what: str, advice: str) -> Iterator[Finding]:
    """Yield a finding that says what there is, how many and the first names, and what to do; none without names."""
    if found := tuple(map(str, names)):
        yield Finding(severity, kind, f"{what}: {len(found):,} ({first_of(found)}); {advice}", found)


@dataclass(frozen=True, slots=True)
class Case:
    """One image of a dataset.

    Attributes:
        name: file name of the image without its extension.
        image: the image file.
        masks: the reference mask files, several of which are united; empty if there is no reference.
        patient: the patient as the manifest or the name tells it, None if unknown.
        split: the side on which the dataset itself puts the case. ``control`` is declared to lack the target and never
            trained on; ``unlabelled`` has no reference and is only predicted.
        columns: further columns of the manifest, such as ``sex`` or ``site``.
    """

    name: str
    image: Path
    masks: tuple[Path, ...]
    patient: str | None
    split: Split
    columns: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def usable(self) -> bool:
        """Whether it can be trained or tested on."""
        return bool(self.masks) and self.split != "control"


@dataclass(frozen=True, slots=True)
class Declared:
    """What the user declares about a folder, where its names leave it open.

    Attributes:
        masks: folder (or, where images and masks share one, ending of file names) that holds the reference masks.
        controls: folder whose images are known to lack the target; ``.`` for all.
        unite_masks: whether several masks of one image are united.
    """

    masks: str | None = None
    controls: str | None = None
    unite_masks: bool = False

    @property
    def all_controls(self) -> bool:
        """Whether every image is a control."""
        return self.controls in (".", "./")


@dataclass(frozen=True, slots=True)
class Listing:
    """What was found under a path: nothing has been decoded yet.

    Attributes:
        cases: the images that have masks or need none.
        unpaired_images: images whose mask is missing.
        unpaired_masks: masks whose image is missing.
        undecided: images of ``cases`` whose masks are candidates that the user has to choose from.
        passed_over: other image files below the path, which belong to no case.
        unplaced: those of ``passed_over`` that no name of a folder says anything of; they may be controls.
        problems: errors on the way the files are arranged; data with errors are not used.
        notes: sentences on how the folders were read; they are stored with models and name no file or folder.
        root: the folder that was searched.
        layout: name of the layout in ``LAYOUTS``.
    """

    cases: tuple[Case, ...] = ()
    unpaired_images: tuple[Path, ...] = ()
    unpaired_masks: tuple[Path, ...] = ()
    undecided: frozenset[Path] = frozenset()
    passed_over: tuple[Path, ...] = ()
    unplaced: tuple[Path, ...] = ()
    problems: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    root: Path = Path()
    layout: str = ""

    def __bool__(self) -> bool:
        return bool(self.cases or self.unpaired_images or self.unpaired_masks)

    def below(self, files: Iterable[Path]) -> tuple[str, ...]:
        """Return files as paths relative to the folder that was searched."""
        return tuple(Path(os.path.relpath(file, self.root)).as_posix() for file in files)


def joined(listings: Iterable[Listing]) -> Listing:
    """Return the listings as one, in their order."""
    parts = list(listings)
    names = ("cases", "unpaired_images", "unpaired_masks", "passed_over", "unplaced", "problems", "notes")
    together: dict[str, Any] = {
        name: tuple(chain.from_iterable(getattr(part, name) for part in parts)) for name in names
    }
    return Listing(**together, undecided=frozenset().union(*(part.undecided for part in parts)))
