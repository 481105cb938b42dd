"""Folders of images and masks, read by what their names say.

1. Every image file at any depth is found (``inventory``).
2. The names of the folders above it say whether it is image, mask or control, and of which split (``folder_names``).
3. Files whose folders differ by their roles only form a group (``groups``).
4. Within a group masks find their images by file name (``pairing``); each pair is a case of the patient that its name
   tells (``patients``).
5. What remains is an error, a question to the user or passed over by name, as the other groups tell (this module).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Final

from trustseg.data.cases import SPLITS, Declared, Finding, Listing, findings_of, joined
from trustseg.data.folder_names import (
    FolderRole,
    accompanied_image,
    folder_role,
    is_declared,
    is_neutral,
    names_test,
    says_more_than_test,
)
from trustseg.data.groups import OR_MANIFEST, Group, case_of, grouped, in_one_folder, pair_group
from trustseg.data.inventory import image_files
from trustseg.data.pairing import match, stem_of
from trustseg.text import first_of

__all__ = ["folder"]

_RIVALS: Final = 4  # folders of which one may hold the masks of another


def folder(path: Path, declared: Declared | None = None) -> Listing:
    """Return the cases below a folder, empty if it holds no image file.

    These names are understood, in any folder above a file:

    * ``images/ masks/`` (or ``img``, ``labels``, ``GroundTruth``, ``1st_manual``, ``infection masks`` ...), files
      paired by name, their subfolders alike; or images and masks in one folder, told apart by their endings;
    * ``train/ test/`` (``training``, ``Test Set``, ``ISIC_Training_Input`` ...) above or below these; ``val/`` joins
      ``train``, since validation cases are drawn by patient; without such a folder every case stands in ``train``;
    * ``control/``: images that are known to lack the target, never trained on;
    * images without any masks: ``unlabelled``, for prediction only.
    """
    declared = declared or Declared()
    files = image_files(path)
    by_folder = _roles(path, {file.parent: None for file in files}, declared)
    roles = {file: by_folder[file.parent] for file in files}
    stems = {(file.parent, stem_of(file)) for file in files}
    used = {
        file: role
        for file, role in roles.items()
        if not (role.other_pictures or (file.parent, accompanied_image(stem_of(file))) in stems)
    }
    groups = grouped(used)
    for group in groups:
        pair_group(group, declared)
    listing = _one_listing(groups, [file for file in files if file not in used], declared)
    questions = [
        *_unknown_controls(by_folder.values(), declared),
        *_unknown_splits(groups, path),
        *_all_test(groups, path),
        *_unnamed_pairs(groups, used, declared),
        *(_unknown_masks(groups, path, declared) if listing else ()),
    ]
    return replace(listing, problems=(*listing.problems, *questions))


def _roles(path: Path, folders: Iterable[Path], declared: Declared) -> dict[Path, FolderRole]:
    """Return what the names of folders say; what a name means may depend on the others."""
    own = Path(path.absolute().name)  # a folder named control holds controls
    above = own if folder_role(own, Declared()).control else Path()
    names = {folder: above / folder.relative_to(path) for folder in folders}
    found = [folder_role(name, declared, tested=True) for name in names.values()]
    tested = any(role.split == "test" for role in found)
    mixed = {parent for role in found if role.role == "images" for parent in role.named_by.parents}
    return {folder: folder_role(name, declared, mixed=mixed, tested=tested) for folder, name in names.items()}


def _one_listing(groups: Sequence[Group], others: Sequence[Path], declared: Declared) -> Listing:
    """Return all groups as one listing; what the images without masks are depends on the other groups."""
    listing = joined(group.listing for group in groups)
    listing = replace(
        listing, problems=_one_per_kind(listing.problems), passed_over=tuple(sorted((*listing.passed_over, *others)))
    )
    if not any(case.masks for case in listing.cases) and not listing.unpaired_masks:
        alone = [*listing.unpaired_images, *(file for group in groups for file in group.rest)]
        return _with_unlabelled(replace(listing, unpaired_images=()), alone)
    unpaired, unplaced = list(listing.unpaired_images), list[Path]()
    for group in groups:
        # In test/ next to test/images/, or pairs next to images/ and masks/.
        (unpaired if group.split or in_one_folder(group.rest, declared)[1] else unplaced).extend(group.rest)
    notes, waiting = [], dict[Path, None]()
    if any(group.split == "validation" and group.listing for group in groups):
        notes.append("validation images are added to the training set; validation cases are drawn from it by patient")
    tests = [group.listing for group in groups if group.split == "test"]
    if not any(test.cases or test.unpaired_masks for test in tests):
        waiting = {image: None for test in tests for image in test.unpaired_images}
    if waiting:
        notes.append(f"no test image has a mask: {len(waiting)} are unlabelled and not used for training or testing")
    listing = replace(
        listing,
        unpaired_images=tuple(image for image in unpaired if image not in waiting),
        passed_over=tuple(sorted((*listing.passed_over, *unplaced))),
        unplaced=tuple(sorted(unplaced)),
        notes=(*listing.notes, *notes),
    )
    return _with_unlabelled(listing, waiting)


def _with_unlabelled(listing: Listing, images: Iterable[Path]) -> Listing:
    cases = [*listing.cases, *(case_of(image, "unlabelled") for image in images)]
    cases.sort(key=lambda case: (SPLITS.index(case.split), str(case.image.parent), case.name))
    return replace(listing, cases=tuple(cases))


def _one_per_kind(problems: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return one finding for each kind, as one folder for each image may mean thousands of equal questions."""
    groups = defaultdict[str, list[Finding]](list)
    for problem in problems:
        groups[problem.kind].append(problem)
    return tuple(
        replace(
            first,
            message=first.message + (f"; {len(more)} more folders are alike" if more else ""),
            names=tuple(name for problem in (first, *more) for name in problem.names),
        )
        for first, *more in groups.values()
    )


def _unknown_controls(roles: Iterable[FolderRole], declared: Declared) -> Iterator[Finding]:
    known = {folder for role in roles for folder in (role.path, *role.path.parents)}
    if declared.controls is None or declared.all_controls:
        return
    if not any(is_declared(declared.controls, folder.name, folder.as_posix()) for folder in known if folder.name):
        offered = ", ".join(sorted(folder.as_posix() for folder in known if folder.name)[:10])
        message = f"data.controls={declared.controls} is not a folder of images here; found: {offered or 'none'}"
        yield Finding("error", "which_controls", message)


def _unknown_masks(groups: Iterable[Group], path: Path, declared: Declared) -> Iterator[Finding]:
    if declared.masks and not any(group.chosen for group in groups):
        offered = ", ".join(sorted({name for group in groups for name in group.offered}))
        message = f"data.masks={declared.masks} matches no masks in {path}; found: {offered or 'none'}"
        yield Finding("error", "which_masks", message)


def _unknown_splits(groups: Iterable[Group], path: Path) -> Iterator[Finding]:
    """Yield a question where images with masks would be trained on though others have a split, or theirs is unclear.

    Pairs around a folder such as ``test/`` are those to train on, unless there is a ``train/`` as well.
    """
    pairs = {id(group): [case.image for case in group.listing.cases if case.masks] for group in groups}
    named = [group for group in groups if group.split and group.listing]
    trains = any(group.split == "train" and pairs[id(group)] for group in groups)

    def is_unclear(group: Group, images: Sequence[Path]) -> bool:
        if not images or group.split or group.listing.cases[0].split != "train":
            return False
        if any(names_test(name) for image in images for name in image.relative_to(path).parts[:-1]):
            return True
        if not named or trains:  # no split is named; or train/ is, and these images lie elsewhere
            return bool(named)
        surrounds = any(other.folders[: len(group.folders)] == group.folders for other in named)
        return not (surrounds or all(map(is_neutral, group.folders)))

    unclear = [image for group in groups if is_unclear(group, pairs[id(group)]) for image in pairs[id(group)]]
    folders = sorted({image.relative_to(path).parent.as_posix() for image in unclear})
    shown = first_of(["the folder itself" if name == "." else name for name in folders])
    what = f"images with masks in {shown}, whose names do not say which split they belong to"
    advice = f"put them into folders named train, val or test, {OR_MANIFEST}"
    return findings_of("error", "which_side", unclear, what, advice)


def _all_test(groups: Iterable[Group], path: Path) -> Iterator[Finding]:
    """Yield a warning where every image with masks is a test image, by names that say more, as of a test's result."""
    found = [(group, case.image.relative_to(path)) for group in groups for case in group.listing.cases if case.masks]
    folders = {name for _, image in found for name in image.parts[:-1] if says_more_than_test(name)}
    if folders and all(group.split == "test" for group, _ in found):
        what = f"images with masks, all of the test set by the names {first_of(sorted(folders))}"
        advice = "none is left to train on: if these names mean something else, rename the folders"
        yield from findings_of("warning", "all_test", (path / image for _, image in found), what, advice)


def _unnamed_pairs(groups: Iterable[Group], roles: Mapping[Path, FolderRole], declared: Declared) -> Iterator[Finding]:
    """Yield a question where files of two folders pair by name, as in ``X`` and ``Y``, and no name tells them apart.

    Many folders alike are rather patients or classes.
    """
    files = [file for group in groups for file in group.rest]
    if declared.all_controls:
        files += [file for file, role in roles.items() if role.role is None]
    alike = defaultdict[object, defaultdict[str, list[Path]]](lambda: defaultdict(list))
    for file in files:
        role = roles[file]
        for cut, name in enumerate(role.folders):
            alike[role.split, role.folders[:cut], role.folders[cut + 1 :]][name].append(file)
    for folders in alike.values():
        for images, masks in permutations(sorted(folders) if len(folders) <= _RIVALS else [], 2):
            found = match(folders[images], folders[masks], declared)
            if not (found.unpaired_masks or found.claimed or is_declared(images, masks)):
                message = (
                    f"the files of {images} and {masks} have matching names, such as {folders[images][0]}; if one "
                    f"holds masks, say which: data.masks='{masks}' or data.masks='{images}' (--masks), {OR_MANIFEST}"
                )
                if declared.all_controls:
                    message += f"; if only one holds controls, name it: data.controls='{images}'"
                yield Finding("error", "which_masks", message, tuple(map(str, folders[masks])))
                return
