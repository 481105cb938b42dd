"""Folders of images and masks, read by what their names say: which hold images, masks, controls, and which split."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Final

from trustseg.data.cases import EVERYTHING, SPLITS, Case, Declared, Finding, Listing, findings_of, joined
from trustseg.data.frames import TABLE, FrameReading, framed, in_one_folder, read_frame
from trustseg.data.inventory import image_files
from trustseg.data.pairing import match, stem_of
from trustseg.data.patients import patient_of
from trustseg.data.roles import FolderRole, beside, is_neutral, named, names_test, place, says_more_than_test
from trustseg.text import first_of

__all__ = ["folder"]

_RIVALS: Final = 4  # folders of which one may hold the masks of another


def folder(path: Path, declared: Declared | None = None) -> Listing:
    """Return the cases below a folder, empty if it holds no image file.

    Every image file at any depth is placed by the names of the folders above it:

    * ``images/ masks/`` (or ``img``, ``labels``, ``GroundTruth``, ``1st_manual``, ``infection masks`` ...), files
      paired by name, their subfolders alike; or images and masks in one folder, told apart by their endings;
    * ``train/ test/`` (``training``, ``Test Set``, ``ISIC_Training_Input`` ...) above or below these; ``val/`` joins
      ``train``, since validation cases are drawn by patient; without such a folder every case stands in ``train``;
    * ``control/``: images that are known to lack the target, never trained on;
    * images without any masks: ``unlabelled``, for prediction only.

    What is no pair though it looks like one is an error, two possible masks are a question to the user, and image files
    that belong to nothing are listed as passed over.
    """
    declared = declared or Declared()
    own = Path(path.absolute().name)  # a folder named control holds controls
    above = own if place(own, Declared()).control else Path()
    inner = {file: above / file.relative_to(path) for file in image_files(path)}
    folders = {name.parent for name in inner.values()}
    found = [place(folder, declared, tested=True) for folder in folders]
    tested = any(where.side == "test" for where in found)
    mixed = {folder for where in found if where.role == "images" for folder in where.holder.parents}
    by_folder = {folder: place(folder, declared, mixed=mixed, tested=tested) for folder in folders}
    places = {file: by_folder[name.parent] for file, name in inner.items()}
    stems = {(file.parent, stem_of(file)) for file in inner}
    aside = {file for file in inner if places[file].aside or (file.parent, beside(stem_of(file))) in stems}
    used = {file: where for file, where in places.items() if file not in aside}
    read = [read_frame(frame, declared) for frame in framed(used)]
    listing = _summed(read, sorted(aside), declared)
    rest = [file for part in read for file in part.rest]
    if declared.controls in EVERYTHING:
        rest += [file for file, where in used.items() if where.role is None]
    questions = [
        *_unknown_controls(folders, declared.controls),
        *_unknown_sides(read, path),
        *_all_test(read, path),
        *_nameless_pairs(rest, places, declared),
    ]
    listing = replace(listing, problems=(*listing.problems, *questions))
    if declared.masks and listing and not any(part.chosen for part in read):
        offered = ", ".join(sorted({name for part in read for name in part.offered}))
        message = f"data.masks={declared.masks} matches no masks in {path}; found: {offered or 'none'}"
        return replace(listing, problems=(*listing.problems, Finding("error", "which_masks", message)))
    return listing


def _summed(read: Sequence[FrameReading], aside: Iterable[Path], declared: Declared) -> Listing:
    """Return all frames as one listing; what the images without masks are depends on the others."""
    listing = joined(part.listing for part in read)
    listing = replace(listing, problems=_together(listing.problems))
    if not any(case.masks for case in listing.cases) and not listing.lone_masks:
        alone = [*listing.lone_images, *(file for part in read for file in part.rest)]
        cases = (*listing.cases, *_unlabelled(alone))
        return replace(listing, cases=_ordered(cases), lone_images=(), passed_over=(*listing.passed_over, *aside))
    lone, passed_over = list(listing.lone_images), [*listing.passed_over, *aside]
    unplaced: list[Path] = []
    for part in read:
        loose = list(part.rest)
        if part.frame.side or in_one_folder(loose, declared)[1]:
            lone += loose  # in test/ next to test/images/, or pairs next to images/ and masks/
        else:
            unplaced += loose
    notes = []
    if any(part.frame.side == "validation" and part.listing for part in read):
        notes.append("validation images are added to the training set; validation cases are drawn from it by patient")
    cases = listing.cases
    tests = [part for part in read if part.frame.side == "test"]
    waiting = {image for part in tests for image in part.listing.lone_images}
    if waiting and not any(part.listing.cases or part.listing.lone_masks for part in tests):
        lone = [image for image in lone if image not in waiting]
        cases = (*cases, *_unlabelled(waiting))
        notes.append(f"no test image has a mask: {len(waiting)} are unlabelled and not used for training or testing")
    return replace(
        listing,
        cases=_ordered(cases),
        lone_images=tuple(lone),
        passed_over=tuple(sorted((*passed_over, *unplaced))),
        unplaced=tuple(sorted(unplaced)),
        notes=(*listing.notes, *notes),
    )


def _unknown_controls(folders: Iterable[Path], controls: str | None) -> Iterator[Finding]:
    """Yield an error where no folder above an image has the declared name."""
    known = {Path(*folder.parts[: end + 1]) for folder in folders for end in range(len(folder.parts))}
    told = controls is None or controls in EVERYTHING
    if not told and not any(named(controls, folder.name, folder.as_posix()) for folder in known):
        offered = ", ".join(sorted(folder.as_posix() for folder in known)[:10])
        message = f"data.controls={controls} is not a folder of images here; found: {offered or 'none'}"
        yield Finding("error", "which_controls", message)


def _unknown_sides(read: Iterable[FrameReading], path: Path) -> Iterator[Finding]:
    """Return a question where images with masks would be trained on though others have a side, or theirs is unclear.

    Pairs around a folder such as ``test/`` are those to train on, unless there is a ``train/`` as well.
    """
    pairs = [(part, images) for part in read if (images := [case.image for case in part.listing.cases if case.masks])]
    told = [part.frame for part in read if part.frame.side and part.listing]
    trains = any(part.frame.side == "train" for part, _ in pairs)

    def is_unclear(part: FrameReading, images: Sequence[Path]) -> bool:
        if part.frame.side or part.listing.cases[0].split != "train":
            return False
        folders = part.frame.folders
        around = any(one.folders[: len(folders)] == folders for one in told)
        apart = told and (trains or not (around or all(map(is_neutral, folders))))
        return bool(apart) or any(names_test(name) for image in images for name in image.relative_to(path).parts[:-1])

    found = [image for part, images in pairs if is_unclear(part, images) for image in images]
    folders = first_of(sorted({image.relative_to(path).parent.as_posix() for image in found}))
    what = f"images with masks in {folders}, whose names do not say which side of the split they are"
    return findings_of("error", "which_side", found, what, f"rename these folders to train, val or test, {TABLE}")


def _all_test(read: Iterable[FrameReading], path: Path) -> Iterator[Finding]:
    """Yield a warning where every image with masks is a test image, by names that say more, as of a test's result."""
    found = [(part, case.image.relative_to(path)) for part in read for case in part.listing.cases if case.masks]
    folders = {name for _, image in found for name in image.parts[:-1] if says_more_than_test(name)}
    if folders and all(part.frame.side == "test" for part, _ in found):
        what = f"images with masks, all of the test side by the names {first_of(sorted(folders))}"
        advice = "none is left to train on: if these names mean something else, rename the folders"
        yield from findings_of("warning", "all_test", (path / image for _, image in found), what, advice)


def _nameless_pairs(files: Iterable[Path], places: Mapping[Path, FolderRole], declared: Declared) -> Iterator[Finding]:
    """Yield a question where files of two folders pair by name, as in ``X`` and ``Y``, and no name tells them apart.

    Many folders alike are rather patients or classes.
    """
    groups: defaultdict[object, defaultdict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for file in files:
        where = places[file]
        for cut, name in enumerate(where.folders):
            groups[where.side, where.folders[:cut], where.folders[cut + 1 :]][name].append(file)
    for folders in groups.values():
        for images, masks in permutations(sorted(folders) if len(folders) <= _RIVALS else [], 2):
            found = match(folders[images], folders[masks], declared)
            if not (found.lone_masks or found.claimed or named(images, masks)):
                message = (
                    f"the files of {images} and {masks} have matching names, such as {folders[images][0]}; if one "
                    f"holds masks, say which: data.masks='{masks}' or data.masks='{images}' (--masks), {TABLE}"
                )
                if declared.controls in EVERYTHING:
                    message += f"; if only one holds controls, name it: data.controls='{images}'"
                yield Finding("error", "which_masks", message, tuple(map(str, folders[masks])))
                return


def _together(problems: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return one finding for each kind, as one folder for each image may mean thousands of equal questions."""
    groups = {kind: [problem for problem in problems if problem.kind == kind] for kind in {p.kind: p for p in problems}}
    return tuple(
        replace(
            first,
            message=first.message + (f"; {len(more)} more folders are alike" if more else ""),
            names=tuple(name for problem in (first, *more) for name in problem.names),
        )
        for first, *more in groups.values()
    )


def _unlabelled(images: Iterable[Path]) -> list[Case]:
    return [Case(stem_of(image), image, (), patient_of(stem_of(image)), "unlabelled") for image in images]


def _ordered(cases: Iterable[Case]) -> tuple[Case, ...]:
    return tuple(sorted(cases, key=lambda case: (SPLITS.index(case.split), str(case.image.parent), case.name)))
