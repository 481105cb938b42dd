"""A frame: the images of one folder with the masks next to them, and which of the masks are meant."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from trustseg.data.cases import Case, Declared, Finding, Listing, Split, findings_of
from trustseg.data.pairing import Pairing, match, stem_of
from trustseg.data.patients import patient_of
from trustseg.data.roles import FolderRole, is_mask_word, named

__all__ = ["TABLE", "Frame", "FrameReading", "framed", "in_one_folder", "read_frame"]

TABLE: Final = "or write them into a manifest (trustseg data manifest FOLDER -o manifest.csv)"


@dataclass(slots=True)
class Frame:
    """Files that belong together.

    Attributes:
        side: the side of a split, empty if no folder names one.
        control: whether these are declared controls.
        folders: the folders that they share.
        images: files of a folder of images.
        masks: files of folders of masks, by folder ("" for none of its own).
        certain: whether one of these folders is one of masks even where there are no images.
        nameless: files of other folders, by folder.
    """

    side: str
    control: bool
    folders: tuple[str, ...]
    images: list[Path] = field(default_factory=list)
    masks: defaultdict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    certain: bool = False
    nameless: defaultdict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))


class FrameReading(NamedTuple):
    """What was read of one frame.

    Attributes:
        frame: its files.
        listing: its cases and what is wrong with them.
        rest: files without a partner in folders whose names say nothing.
        offered: what ``data.masks`` may name here.
        chosen: whether it does.
    """

    frame: Frame
    listing: Listing
    rest: tuple[Path, ...]
    offered: frozenset[str]
    chosen: bool


def framed(places: Mapping[Path, FolderRole]) -> list[Frame]:
    """Return the frames of files; a folder without a role belongs to the one around it (``x/infection`` to ``x``)."""
    frames: dict[tuple[str, bool, tuple[str, ...]], Frame] = {}
    told = {(where.side, where.control, where.frame) for where in places.values() if where.role}
    for file, where in places.items():
        shared, name = where.frame, ""
        for cut in reversed(range(0 if where.role else len(where.folders))):
            around = (*where.folders[:cut], *where.folders[cut + 1 :])
            if (where.side, where.control, around) in told:
                shared, name = around, where.folders[cut]
                break
        key = (where.side or "", where.control, shared)
        frame = frames.setdefault(key, Frame(*key))
        if where.role == "images":
            frame.images.append(file)
        elif where.role == "masks":
            frame.masks[where.source].append(file)
            frame.certain |= where.certain
        else:
            frame.nameless[name].append(file)
    return [frames[key] for key in sorted(frames)]


def read_frame(frame: Frame, declared: Declared) -> FrameReading:
    """Return the cases of one frame; questions to the user become problems."""
    images, masks, unnamed, rest = _parted(frame, declared)
    meant = {name for name in masks if named(declared.masks, name, *name.split("/"))}
    pairings = {name: _paired(frame, images, files, declared) for name, files in masks.items()}
    rivals = {name: one for name, one in pairings.items() if one.masks}
    endings = {ending for one in rivals.values() for ending in one.endings.values()}
    wanted = meant or {ending for ending in endings if named(declared.masks, ending)}
    owned: defaultdict[Path, list[Path]] = defaultdict(list)
    for name, one in rivals.items():
        for image, found in one.masks.items():
            for mask in found:
                if not declared.masks or name in wanted or one.endings[mask] in wanted - meant:
                    owned[image].append(mask)
    several = {image: found for image, found in owned.items() if len(found) > 1}
    problems = [problem for one in rivals.values() for problem in _pairing_problems(one)]
    undecided: Iterable[Path] = ()
    parts = len({name.partition("/")[0] for name in rivals}) == 1  # leftMask and rightMask in one folder of masks
    rivalry = len(rivals) > 1 and not (parts and declared.unite_masks)
    if owned and not declared.masks and (rivalry or rivals.keys() <= unnamed):
        problems.append(_which_folder(owned, rivals, parts=parts))
        undecided = owned
    elif several and not declared.unite_masks:
        problems.append(_several(several, endings))
        undecided = several
    split: Split = "control" if frame.control else "test" if frame.side == "test" else "train"
    taken = {mask for found in owned.values() for mask in found}
    lone = [mask for name, one in pairings.items() if not meant or name in meant for mask in one.lone_masks]
    used = taken.union(lone)
    listing = Listing(
        cases=tuple(
            Case(stem_of(image), image, tuple(sorted(owned.get(image, ()))), patient_of(stem_of(image)), split)
            for image in images
            if image in owned or frame.control
        ),
        lone_images=() if frame.control else tuple(image for image in images if image not in owned),
        lone_masks=tuple(lone),
        undecided=frozenset(undecided),
        passed_over=tuple(file for files in masks.values() for file in files if file not in used),
        problems=tuple(problems),
    )
    offered = frozenset(rivals) | {ending.strip("_-. ") for ending in endings}
    return FrameReading(frame, listing, tuple(rest), offered - {""}, bool(wanted))


def in_one_folder(files: Sequence[Path], declared: Declared) -> tuple[list[Path], list[Path]]:
    """Return images and masks that lie in one folder, told apart by words in their names; no masks if none pairs."""
    masks = [file for file in files if is_mask_word(stem_of(file), declared)]
    images = [file for file in files if file not in set(masks)]
    return (images, masks) if match(images, masks, declared).masks else (list(files), [])


def _parted(frame: Frame, declared: Declared) -> tuple[list[Path], dict[str, list[Path]], set[str], list[Path]]:
    """Return the images; the masks by folder; those folders whose names say nothing; and files of no known use."""
    images, masks = list(frame.images), dict(frame.masks)
    nameless = {name: list(files) for name, files in frame.nameless.items()}
    if images and not masks:  # the folder images/ may hold both
        images, own = in_one_folder(images, declared)
        masks = {"": own} if own else {}
    if masks and not images:  # the folder of the images may have any name
        fitting = [
            name
            for name, files in nameless.items()
            if any(match(files, part, declared).masks for part in masks.values())
        ]
        if len(fitting) == 1:
            images = nameless.pop(fitting[0])
        elif not frame.certain:  # a folder such as lesion/ that holds no masks but a class of images
            nameless[""] = [*nameless.get("", []), *(file for part in masks.values() for file in part)]
            masks = {}
    if not images and not masks:
        images, own = in_one_folder(nameless.pop("", []), declared)
        if own:
            masks[""] = own
        elif not frame.control:
            return [], {}, set(), [*images, *(file for files in nameless.values() for file in files)]
    unnamed = {name for name, files in nameless.items() if match(images, files, declared).masks}
    masks |= {name: nameless.pop(name) for name in unnamed}
    rest = [file for files in nameless.values() for file in files]
    return ([*images, *rest], masks, unnamed, []) if frame.control else (images, masks, unnamed, rest)


def _paired(frame: Frame, images: Sequence[Path], masks: Sequence[Path], declared: Declared) -> Pairing:
    """Return the pairs; all masks belong to the only image of a folder of its name, as in DSB2018."""
    found = match(images, masks, declared)
    if not found.masks and len(images) == 1 and stem_of(images[0]) in frame.folders[-1:]:
        return Pairing({images[0]: sorted(masks)}, dict.fromkeys(masks, ""))
    return found


def _which_folder(owned: Mapping[Path, Sequence[Path]], rivals: Mapping[str, Pairing], *, parts: bool) -> Finding:
    names = sorted(rivals, key=lambda name: (-len(rivals[name].masks), name))
    shown = [name or "the folder itself" for name in names]
    listed = f"{', '.join(shown[:-1])} and {shown[-1]} could each" if len(shown) > 1 else f"{shown[0]} could"
    message = (
        f"{listed} hold the masks of images: {len(owned)}, such as {next(iter(owned))}. Say which folder does: "
        f"data.masks='{names[0]}' (--masks), {TABLE}"
    )
    if len(names) > 1:
        unite = "set data.unite_masks=true (--unite-masks)" if parts else "join them by ; in its column mask"
        message += f"; if they are parts of one reference (left and right lung), {unite}"
    return Finding("error", "which_masks", message, tuple(map(str, owned)))


def _several(several: Mapping[Path, Sequence[Path]], endings: Iterable[str]) -> Finding:
    image, masks = next(iter(several.items()))
    names = [ending.strip("_-. ") for ending in sorted(endings)]
    one = next(
        (f"name it: data.masks='{name}' (--masks), {TABLE}" for name in names if name), TABLE.removeprefix("or ")
    )
    message = (
        f"images with several masks: {len(several)}, such as {image}: {', '.join(mask.name for mask in masks[:4])}. "
        "If they are parts of one reference, set data.unite_masks=true (--unite-masks); if one of them is the "
        f"reference, {one}"
    )
    return Finding("error", "several_masks", message, tuple(map(str, several)))


def _pairing_problems(pairing: Pairing) -> Iterable[Finding]:
    for files in pairing.doubled:
        message = f"{', '.join(map(str, files))} have the same name but for ending or case; rename or delete one"
        yield Finding("error", "same_name", message, tuple(map(str, files)))
    images = next(iter(pairing.claimed.values()), ())
    what = f"masks that may belong to several images ({', '.join(image.name for image in images)})"
    yield from findings_of("error", "ambiguous_mask", pairing.claimed, what, f"rename them, {TABLE}")
