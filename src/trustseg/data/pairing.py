"""Pairing of images and masks by their file names."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from trustseg.data.cases import Declared
from trustseg.data.folder_names import is_mask_word
from trustseg.text import unicode_text

__all__ = ["Pairing", "match", "stem_of"]

# A second suffix that belongs to the file type: x.nii.png, x.ome.tif.
_INNER: Final = re.compile(r"\.(?:nii|ome|dcm|dicom|png|jpe?g|bmp|tiff?|gif|mha|nrrd)$", re.IGNORECASE)
# What may stand before or after the common part of two names: words with a letter in them, each with a separator.
_PREFIX: Final = re.compile(r"(?=.*[A-Za-z])(?:[^_\-. ]+[_\-. ]+)+|(?:mask|seg|gt|label)", re.IGNORECASE)
_SUFFIX: Final = re.compile(r"(?=.*[A-Za-z])(?:[_\-. ]+[^_\-. ]+)+|(?:mask|seg|gt|label)", re.IGNORECASE)
_NUMBER: Final = re.compile(r"[_\-. ]+\d+")

Affix = tuple[str, str]  # prefix and suffix, one of them empty


@dataclass(slots=True)
class Pairing:
    """Which masks belong to which image.

    Attributes:
        masks: the masks of each image, sorted; images without masks are absent.
        endings: of each paired mask, what its name has beyond the image's.
        unpaired_images: images without masks.
        unpaired_masks: masks without an image.
        claimed: masks that two images may claim, with both.
        doubled: files of one kind that share a stem, such as ``a.png`` and ``a.jpg``.
    """

    masks: dict[Path, list[Path]] = field(default_factory=dict)
    endings: dict[Path, str] = field(default_factory=dict)
    unpaired_images: list[Path] = field(default_factory=list)
    unpaired_masks: list[Path] = field(default_factory=list)
    claimed: dict[Path, tuple[Path, ...]] = field(default_factory=dict)
    doubled: list[tuple[Path, ...]] = field(default_factory=list)


def stem_of(path: Path) -> str:
    """Return the name of a file without its extension, or without both of ``x.nii.png`` and ``x.ome.tif``.

    Bytes that are no UTF-8 are written as escapes, since tables hold the name.
    """
    return unicode_text(_INNER.sub("", path.stem) or path.stem)


def match(images: Sequence[Path], masks: Sequence[Path], declared: Declared) -> Pairing:
    """Return which masks belong to which image of one folder.

    Names are compared without case unless that would merge two of them. Found are, in this order: the affix that names
    most images (``x_mask``, ``mask_x``); further words after an image's name (``x_left``, ``x_mask_1``); affixes on
    both sides (``21_training`` and ``21_manual1``). A number alone is an affix only where several masks of one image
    are to be united: else mask ``a_2`` would pass for that of image ``a``.
    """
    fold = _distinct(images) and _distinct(masks)
    pictures, doubled = _by_key(images, fold=fold)
    found = Pairing(doubled=doubled)
    names = {mask: _key(mask, fold=fold) for mask in masks}
    owners = _by_affix(pictures, names, declared, found)
    if not owners and not found.claimed:
        owners = _both_sides(pictures, names)
    for mask, (key, ending) in sorted(owners.items()):
        found.masks.setdefault(pictures[key], []).append(mask)
        found.endings[mask] = ending
    found.unpaired_masks = [mask for mask in masks if mask not in owners and mask not in found.claimed]
    twins = {path for group in doubled for path in group[1:]}
    found.unpaired_images = [image for image in images if image not in found.masks and image not in twins]
    return found


def _candidates(stem: str, images: Collection[str], *, numbers: bool = False) -> Iterator[tuple[str, Affix]]:
    """Yield every image that a mask's name contains, with what the name has beyond it."""
    if stem in images:
        yield stem, ("", "")
    for cut in range(1, len(stem)):
        head, tail = stem[:cut], stem[cut:]
        if tail in images and _PREFIX.fullmatch(head):
            yield tail, (head, "")
        if head in images and (_SUFFIX.fullmatch(tail) or (numbers and _NUMBER.fullmatch(tail))):
            yield head, ("", tail)


def _by_affix(
    pictures: Mapping[str, Path], names: Mapping[Path, str], declared: Declared, found: Pairing
) -> dict[Path, tuple[str, str]]:
    """Return the image of each mask whose name contains the image's, and note masks that two images may claim."""
    votes: Counter[Affix] = Counter({("", ""): 0})
    votes.update(affix for name in names.values() for _, affix in _candidates(name, pictures))
    # With which most masks name an image.
    prefix, suffix = main = max(votes, key=lambda affix: (votes[affix], -len("".join(affix)), affix))
    owners: dict[Path, tuple[str, str]] = {}
    rest: dict[Path, list[tuple[str, Affix]]] = {}
    for mask, name in names.items():
        bare = name.removeprefix(prefix).removesuffix(suffix)
        if bare in pictures and name == prefix + bare + suffix:
            rivals = {key for key, affix in _candidates(name, pictures) if votes[affix] >= votes[main]}
            if name not in pictures and len(rivals) > 1 and not is_mask_word(prefix + suffix, declared):
                found.claimed[mask] = tuple(pictures[key] for key in sorted(rivals))
            else:
                owners[mask] = (bare, prefix + suffix)
        elif name in pictures:
            owners[mask] = (name, "")
        elif candidates := list(_candidates(name, pictures, numbers=declared.unite_masks)):
            rest[mask] = candidates
    usual = Counter(affix for candidates in rest.values() for _, affix in candidates)
    most, named = len(owners), {key for key, _ in owners.values()}
    for mask, candidates in rest.items():
        trusted = [
            (key, affix)
            for key, affix in candidates
            if key in named  # a further mask of an image that has one: a question, no guess
            or usual[affix] > 1
            or usual[affix] >= most
            or is_mask_word("".join(affix), declared)
            or (declared.unite_masks and _NUMBER.fullmatch(affix[1]))
        ]
        best = max(trusted, key=lambda candidate: (usual[candidate[1]], len(candidate[0])), default=None)
        if best is None:
            continue
        if len({key for key, _ in trusted}) > 1 and sum(usual[affix] == usual[best[1]] for _, affix in trusted) > 1:
            found.claimed[mask] = tuple(pictures[key] for key, _ in trusted)
        else:
            owners[mask] = (best[0], "".join(best[1]))
    return owners


def _both_sides(pictures: Mapping[str, Path], names: Mapping[Path, str]) -> dict[Path, tuple[str, str]]:
    """Return the image of each mask where images have an affix of their own, if all images or all masks pair."""
    best: dict[Path, tuple[str, str]] = {}
    for mine in _common_affixes(list(pictures)):
        bare = {_stripped(stem, mine): stem for stem in pictures}
        if len(bare) < len(pictures) or "" in bare:
            continue
        for theirs in _common_affixes(list(names.values())):
            pairs = {
                mask: (bare[key], "".join(theirs))
                for mask, name in names.items()
                if (key := _stripped(name, theirs)) in bare
            }
            if len(pairs) > len(best) and (len(pairs) == len(names) or len(set(pairs.values())) == len(pictures)):
                best = pairs
    return best


def _common_affixes(stems: Sequence[str]) -> list[Affix]:
    """Return the affixes that all of the stems share, none first, then the shortest.

    Letters before a number count, and so does a number that all of several stems end with (nnU-Net's ``_0000``).
    """
    if not stems:
        return []
    first, shared = stems[0], [("", "")]
    cuts = range(1, len(first))
    heads = [first[:cut] for cut in cuts if _PREFIX.fullmatch(first[:cut])]
    if leading := re.match(r"[A-Za-z]+(?=\d)", first):
        heads.append(leading[0])
    ends = [_SUFFIX, _NUMBER] if len(stems) > 1 else [_SUFFIX]
    tails = [first[cut:] for cut in reversed(cuts) if any(end.fullmatch(first[cut:]) for end in ends)]
    shared += [(head, "") for head in heads if all(stem.startswith(head) for stem in stems)]
    shared += [("", tail) for tail in tails if all(stem.endswith(tail) for stem in stems)]
    return shared


def _stripped(stem: str, affix: Affix) -> str:
    return stem.removeprefix(affix[0]).removesuffix(affix[1])


def _key(path: Path, *, fold: bool) -> str:
    name = unicodedata.normalize("NFC", stem_of(path))
    return name.casefold() if fold else name


def _distinct(paths: Sequence[Path]) -> bool:
    """Return whether the names differ by more than case."""
    exact = {_key(path, fold=False) for path in paths}
    return len({name.casefold() for name in exact}) == len(exact)


def _by_key(paths: Sequence[Path], *, fold: bool) -> tuple[dict[str, Path], list[tuple[Path, ...]]]:
    groups: defaultdict[str, list[Path]] = defaultdict(list)
    for path in sorted(paths):
        groups[_key(path, fold=fold)].append(path)
    doubled = [tuple(group) for group in groups.values() if len(group) > 1]
    return {key: group[0] for key, group in groups.items()}, doubled
