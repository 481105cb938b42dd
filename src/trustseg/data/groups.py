"""Groups of files: the images of one folder with the masks next to them, and which of the masks are meant."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from trustseg.data.cases import Case, Declared, Finding, Listing, Split, findings_of
from trustseg.data.folder_names import FolderRole, is_declared, is_mask_word
from trustseg.data.pairing import Pairing, match, stem_of
from trustseg.data.patients import patient_of

__all__ = ["OR_MANIFEST", "Group", "case_of", "grouped", "in_one_folder", "pair_group"]

OR_MANIFEST: Final = "or write them into a manifest (trustseg data manifest FOLDER -o manifest.csv)"


@dataclass(slots=True)
class Group:
    """Files that belong together: first as their folders tell, then as ``pair_group`` pairs them.

    Attributes:
        split: train, validation or test; empty if no folder names one.
        control: whether these are declared controls.
        folders: the folders that they share.
        images: files of a folder of images.
        masks: files of folders of masks, by folder ("" for none of its own).
        certain: whether one of these folders is one of masks even where there are no images.
        unknown: files of other folders, by folder; once paired, those without a partner.
        listing: the cases, and what is wrong with them.
        offered: what ``data.masks`` may name here.
        chosen: whether it does.
    """

    split: str
    control: bool
    folders: tuple[str, ...]
    images: list[Path] = field(default_factory=list)
    masks: dict[str, list[Path]] = field(default_factory=dict)
    certain: bool = False
    unknown: dict[str, list[Path]] = field(default_factory=dict)
    listing: Listing = field(default_factory=Listing)
    offered: set[str] = field(default_factory=set)
    chosen: bool = False

    @property
    def rest(self) -> list[Path]:
        """Files in folders whose names say nothing; once paired, those without a partner."""
        return [file for files in self.unknown.values() for file in files]


def grouped(roles: Mapping[Path, FolderRole]) -> list[Group]:
    """Return the groups of files; a folder without a role belongs to the one around it (``x/infection`` to ``x``)."""
    groups: dict[tuple[str, bool, tuple[str, ...]], Group] = {}
    with_role = {(role.split, role.control, role.shared) for role in roles.values() if role.role}
    for file, role in roles.items():
        shared, name = role.shared, ""
        for cut in reversed(range(0 if role.role else len(role.folders))):
            around = (*role.folders[:cut], *role.folders[cut + 1 :])
            if (role.split, role.control, around) in with_role:
                shared, name = around, role.folders[cut]
                break
        key = (role.split or "", role.control, shared)
        group = groups.setdefault(key, Group(*key))
        if role.role == "images":
            group.images.append(file)
        elif role.role == "masks":
            group.masks.setdefault(role.mask_folder, []).append(file)
            group.certain |= role.certain
        else:
            group.unknown.setdefault(name, []).append(file)
    return [groups[key] for key in sorted(groups)]


def pair_group(group: Group, declared: Declared) -> None:
    """Find the cases of a group; questions to the user become problems."""
    unnamed = _tell_apart(group, declared)
    images, masks = group.images, group.masks
    meant = {name for name in masks if is_declared(declared.masks, name, *name.split("/"))}
    pairings = {name: _paired(group, files, declared) for name, files in masks.items()}
    rivals = {name: pairing for name, pairing in pairings.items() if pairing.masks}
    endings = {ending for pairing in rivals.values() for ending in pairing.endings.values()}
    # data.masks names folders (meant), or else endings of file names.
    wanted = meant or {ending for ending in endings if is_declared(declared.masks, ending)}
    owned: defaultdict[Path, list[Path]] = defaultdict(list)
    for name, pairing in rivals.items():
        for image, found in pairing.masks.items():
            for mask in found:
                if not declared.masks or name in wanted or pairing.endings[mask] in wanted - meant:
                    owned[image].append(mask)
    several = {image: found for image, found in owned.items() if len(found) > 1}
    problems = [problem for pairing in rivals.values() for problem in _pairing_problems(pairing)]
    undecided: Iterable[Path] = ()
    parts = len({name.partition("/")[0] for name in rivals}) == 1  # leftMask and rightMask in one folder of masks
    rivalry = len(rivals) > 1 and not (parts and declared.unite_masks)
    if owned and not declared.masks and (rivalry or rivals.keys() <= unnamed):
        problems.append(_which_folder(owned, rivals, parts=parts))
        undecided = owned
    elif several and not declared.unite_masks:
        problems.append(_several(several, endings))
        undecided = several
    split: Split = "control" if group.control else "test" if group.split == "test" else "train"
    unpaired = [
        mask for name, pairing in pairings.items() if not meant or name in meant for mask in pairing.unpaired_masks
    ]
    used = {*unpaired, *(mask for found in owned.values() for mask in found)}
    group.listing = Listing(
        cases=tuple(case_of(image, split, owned.get(image, ())) for image in images if image in owned or group.control),
        unpaired_images=() if group.control else tuple(image for image in images if image not in owned),
        unpaired_masks=tuple(unpaired),
        undecided=frozenset(undecided),
        passed_over=tuple(file for files in masks.values() for file in files if file not in used),
        problems=tuple(problems),
    )
    group.offered = {*rivals, *(ending.strip("_-. ") for ending in endings)} - {""}
    group.chosen = bool(wanted)


def case_of(image: Path, split: Split, masks: Iterable[Path] = ()) -> Case:
    """Return an image with its masks, called after its file, of the patient that its name tells."""
    return Case(stem_of(image), image, tuple(sorted(masks)), patient_of(stem_of(image)), split)


def in_one_folder(files: Sequence[Path], declared: Declared) -> tuple[list[Path], list[Path]]:
    """Return images and masks that lie in one folder, told apart by words in their names; no masks if none pairs."""
    masks = [file for file in files if is_mask_word(stem_of(file), declared)]
    images = [file for file in files if not is_mask_word(stem_of(file), declared)]
    return (images, masks) if match(images, masks, declared).masks else (list(files), [])


def _tell_apart(group: Group, declared: Declared) -> set[str]:
    """Find images and masks among the files of unknown folders; return the folders of masks whose names say nothing."""
    if group.images and not group.masks:  # the folder images/ may hold both
        group.images, own = in_one_folder(group.images, declared)
        group.masks = {"": own} if own else {}
    if group.masks and not group.images:  # the folder of the images may have any name
        fitting = [
            name
            for name, files in group.unknown.items()
            if any(match(files, part, declared).masks for part in group.masks.values())
        ]
        if len(fitting) == 1:
            group.images = group.unknown.pop(fitting[0])
        elif not group.certain:  # a folder such as lesion/ that holds no masks but a class of images
            group.unknown[""] = [*group.unknown.get("", []), *(file for part in group.masks.values() for file in part)]
            group.masks = {}
    if not group.images and not group.masks:
        group.images, own = in_one_folder(group.unknown.pop("", []), declared)
        if own:
            group.masks[""] = own
        elif not group.control:
            group.images, group.unknown = [], {"": [*group.images, *group.rest]}
            return set()
    unnamed = [name for name, files in group.unknown.items() if match(group.images, files, declared).masks]
    group.masks |= {name: group.unknown.pop(name) for name in unnamed}
    if group.control:
        group.images, group.unknown = [*group.images, *group.rest], {}
    return set(unnamed)


def _paired(group: Group, masks: Sequence[Path], declared: Declared) -> Pairing:
    """Return the pairs; all masks belong to the only image of a folder of its name, as in DSB2018."""
    found, images = match(group.images, masks, declared), group.images
    if not found.masks and len(images) == 1 and stem_of(images[0]) in group.folders[-1:]:
        return Pairing({images[0]: sorted(masks)}, dict.fromkeys(masks, ""))
    return found


def _which_folder(owned: Mapping[Path, Sequence[Path]], rivals: Mapping[str, Pairing], *, parts: bool) -> Finding:
    names = sorted(rivals, key=lambda name: (-len(rivals[name].masks), name))
    shown = [name or "the folder itself" for name in names]
    listed = f"{', '.join(shown[:-1])} and {shown[-1]} could each" if len(shown) > 1 else f"{shown[0]} could"
    message = (
        f"{listed} hold the masks of images: {len(owned)}, such as {next(iter(owned))}. Say which folder does: "
        f"data.masks='{names[0]}' (--masks), {OR_MANIFEST}"
    )
    if len(names) > 1:
        unite = "set data.unite_masks=true (--unite-masks)" if parts else "join them by ; in its column mask"
        message += f"; if they are parts of one reference (left and right lung), {unite}"
    return Finding("error", "which_masks", message, tuple(map(str, owned)))


def _several(several: Mapping[Path, Sequence[Path]], endings: Iterable[str]) -> Finding:
    image, masks = next(iter(several.items()))
    name = next(filter(None, (ending.strip("_-. ") for ending in sorted(endings))), None)
    advice = f"name it: data.masks='{name}' (--masks), {OR_MANIFEST}" if name else OR_MANIFEST.removeprefix("or ")
    message = (
        f"images with several masks: {len(several)}, such as {image}: {', '.join(mask.name for mask in masks[:4])}. "
        "If they are parts of one reference, set data.unite_masks=true (--unite-masks); if one of them is the "
        f"reference, {advice}"
    )
    return Finding("error", "several_masks", message, tuple(map(str, several)))


def _pairing_problems(pairing: Pairing) -> Iterator[Finding]:
    for files in pairing.doubled:
        message = f"{', '.join(map(str, files))} have the same name but for ending or case; rename or delete one"
        yield Finding("error", "same_name", message, tuple(map(str, files)))
    images = next(iter(pairing.claimed.values()), ())
    what = f"masks that may belong to several images ({', '.join(image.name for image in images)})"
    yield from findings_of("error", "ambiguous_mask", pairing.claimed, what, f"rename them, {OR_MANIFEST}")
