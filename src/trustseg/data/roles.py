"""Roles of folders by their names: images, masks, controls, and the side of a split."""

import re
import unicodedata
from collections.abc import Container
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final, Literal

from trustseg.data.cases import EVERYTHING, Declared
from trustseg.text import word_set

__all__ = ["FolderRole", "beside", "is_mask_word", "is_neutral", "named", "names_test", "place", "says_more_than_test"]

Role = Literal["images", "masks"]
Side = Literal["train", "validation", "test"]


_IMAGES: Final = word_set("image images img imgs input inputs")
_MASKS: Final = word_set(
    "mask masks labelcol label labels annot annots annotation annotations groundtruth groundtruths truth truths gt gts "
    "segmentation segmentations"
)
# These name masks next to images; alone they may as well be a class of images.
_PERHAPS_MASKS: Final = word_set(
    "seg segs segm manual manuals lesion lesions contour contours delineation delineations reference "
    "references target targets roi rois"
)
_AXES: Final[dict[str, Role]] = {"x": "images", "y": "masks"}
_SIDES: Final[dict[str, Side]] = {
    **dict.fromkeys(("train", "training", "trainset", "trainingset", "trn", "tr"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "valset", "validset", "validationset", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "testset", "tst", "ts"), "test"),
    # Whatever their owner calls them, images set aside are never trained on.
    **dict.fromkeys(("holdout", "heldout", "external", "eval", "evaluation"), "test"),
}
_PERHAPS_TEST: Final = word_set("external eval evaluation")  # beside a test side: test, or validation?
_OWN: Final = word_set("internal isic")  # internal_val, ISIC2018_Validation
# Words that never name training data, whatever stands around them: site_test, Testing Set B, hold-out 2.
_HELD_OUT: Final = re.compile(
    r"(?<![a-z])(?:tests?(?:ing|set|data|dataset|images?|masks?)?|(?:hold|held)[^a-z]?out)(?![a-z])"
)
_NEUTRAL: Final = word_set("set sets folder folders data dataset split splits stage part v")
_CONTROLS: Final = frozenset(("control", "controls", "controlgroup", "controlgroupi"))
# Neither images to segment nor reference masks; QaTa's Control_Group_II holds opacities without masks.
_ASIDE: Final = word_set(
    "controlgroupii ambiguity uncertainty overlay overlays preview previews thumbnail thumbnails thumbs "
    "visualisation visualisations visualization visualizations superpixels"
)
_ASIDE_FILE: Final = re.compile(r"(?<=.)[_-]superpixels?$", re.IGNORECASE)  # of ISIC, next to the image itself
_PREDICTED: Final = word_set("pred preds prediction predictions predicted")
_GLUED: Final = re.compile(r"^(train|val|test)(?=(?:annot|annotation|groundtruth|gt|image|img|label|mask)s?$)")
_ORDINAL: Final = re.compile(r"^\d+(?:st|nd|rd|th)(?=[a-z])")


@dataclass(frozen=True, slots=True)
class FolderRole:
    """What a folder and those above it say of a file in it.

    Attributes:
        role: whether its folder holds images or masks; None if it does not say.
        certain: whether ``masks`` is meant whatever lies next to it.
        source: the mask folder, empty for other files.
        side: the side of a split; None if no folder names one.
        control: whether it lies among declared controls.
        aside: whether it lies in a folder of pictures that are no images of a data set, such as ``previews``.
        holder: the folder that gives the role, the nearest one if none does.
        folders: the folders above it, without those that name a side.
        frame: the folders above and below the one that gives the role: an image and its masks share a frame.
    """

    role: Role | None
    certain: bool
    source: str
    side: Side | None
    control: bool
    aside: bool
    holder: PurePath
    folders: tuple[str, ...]
    frame: tuple[str, ...]


def place(folder: PurePath, declared: Declared, *, mixed: Container[PurePath] = (), tested: bool = False) -> FolderRole:
    """Return what a folder and those above it say of the files in it; the last word counts.

    Args:
        folder: the folder, relative to the data set.
        declared: what the user says of the folders.
        mixed: folders above those of images without a role of their own: ``Kvasir-SEG`` of ``Kvasir-SEG/images``.
        tested: whether the data set has a test side by name, beside which ``eval`` and ``external`` name no side.
    """
    above = [folder, *folder.parents][-2::-1]  # without the data set's own
    roles = [None if one in mixed else _role(one.name, one.as_posix(), declared) for one in above]
    all_sides = [_side(one.name, tested=tested) for one in above]
    sides = [side for side in all_sides if side]
    kept = [(one.name, role) for one, role, side in zip(above, roles, all_sides, strict=True) if role or not side]
    folders = tuple(name for name, _ in kept)
    ends = [number for number, (_, role) in enumerate(kept) if role]
    first = last = ends[-1] if ends else len(kept)
    role = kept[last][1] if ends else None
    while ends and first and kept[first - 1][1] == role:
        first -= 1
    below = folders[last + 1 :] if ends else ()
    block = folders[first : last + 1]
    return FolderRole(
        role=role,
        certain=any(_said(name) & _MASKS or named(declared.masks, name) for name in block),
        source="/".join(block) if role == "masks" else "",
        side=sides[-1] if sides else None,
        control=declared.controls in EVERYTHING
        or any(_squeezed(one.name) in _CONTROLS or named(declared.controls, one.name, one.as_posix()) for one in above),
        aside=any(_aside(name, declared) for name in folders),
        holder=next((one for one, own in zip(reversed(above), reversed(roles), strict=True) if own), folder),
        folders=folders,
        frame=folders[:first] + below,
    )


def named(wanted: str | None, *names: str) -> bool:
    """Return whether a declared name is one of these, whatever its case, its separators and the side it names.

    Example:
        >>> named("masks", "Train_Masks"), named("manual1", "manual2")
        (True, False)
    """
    return wanted is not None and _plain(wanted) in {_plain(name) for name in names}


def beside(stem: str) -> str | None:
    """Return the image that a file of this name accompanies without being image or mask, None for other names.

    Example:
        >>> beside("ISIC_0001_superpixels"), beside("ISIC_0001")
        ('ISIC_0001', None)
    """
    image = _ASIDE_FILE.sub("", stem)
    return None if image == stem else image


def words(name: str) -> list[str]:
    """Return the words of a name in lower case, without numbers at their ends.

    Example:
        >>> words("ISIC2018_Task1_Training_GroundTruth"), words("trainannot")
        (['isic', 'task', 'training', 'ground', 'truth'], ['train', 'annot'])
    """
    parts = [part.lower().strip("0123456789") for part in re.split(r"[^0-9A-Za-z]+", _spaced(name))]
    return [word for part in parts for word in _GLUED.sub(r"\1 ", part).split()]


def is_mask_word(part: str, declared: Declared) -> bool:
    """Return whether a part of a file name says that the file is a mask: ``_mask_1``, ``manual1``, ``1stHO``."""
    ho = any(_ORDINAL.sub("", piece) == "ho" != piece for piece in re.split(r"[^0-9a-z]+", part.lower()))
    return ho or named(declared.masks, part.strip("_-. ")) or not (_MASKS | _PERHAPS_MASKS).isdisjoint(words(part))


def is_neutral(name: str) -> bool:
    """Return whether the name of a folder says nothing of what it holds: ``data``, ``dataset_2``."""
    return set(words(name)) <= _NEUTRAL


def names_test(name: str) -> bool:
    """Return whether a name holds a word for images set aside.

    Example:
        >>> names_test("siteTest_2"), names_test("hold-out"), names_test("contest")
        (True, True, False)
    """
    return _HELD_OUT.search(_spaced(name).lower()) is not None


def says_more_than_test(name: str) -> bool:
    """Return whether a name holds a word for images set aside, and others of unknown meaning.

    Example:
        >>> says_more_than_test("pcr_test_positive"), says_more_than_test("Test Set 2")
        (True, False)
    """
    rest = {word for word in words(name) if not (word in _SIDES or names_test(word))}
    plain = _NEUTRAL | _OWN | _IMAGES | _MASKS | _PERHAPS_MASKS
    return names_test(name) and _squeezed(name) not in _SIDES and not rest <= plain


def _spaced(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)


def _role(name: str, path: str, declared: Declared) -> Role | None:
    if named(declared.masks, name, path):
        return "masks"
    parts = set(words(name))
    if len(parts) == 2 and not parts.isdisjoint(_SIDES) and (axis := parts & _AXES.keys()):  # X_train with y_train
        return _AXES[axis.pop()]
    found = _said(name)
    if found & {"and", "with", "dataset"}:
        return None  # a folder of both
    if found & _MASKS and not (found & {"data", "challenge"} and not found & {"mask", "masks", "truth", "gt"}):
        return "masks"
    if found & _PERHAPS_MASKS and "data" not in found:
        return "masks"
    if found & _IMAGES or ("data" in found and not _SIDES.keys().isdisjoint(found) and len(found) > 3):
        return "images"  # the last is ISIC-2017_Training_Data
    return None


def _side(name: str, *, tested: bool) -> Side | None:
    found = words(name)
    if tested and not names_test(name) and not _PERHAPS_TEST.isdisjoint(found):
        return None
    if _squeezed(name) in _SIDES:  # hold-out
        return _SIDES[_squeezed(name)]
    sides = {_SIDES[word] for word in found if word in _SIDES}
    if "external" in found and sides == {"validation", "test"}:
        return "test"  # as clinicians say external validation
    if sides <= {"test"} and names_test(name):
        return "test"
    rest = {word for word in found if word not in _SIDES}
    roles = _IMAGES | _MASKS | _PERHAPS_MASKS | _AXES.keys()
    if len(sides) == 1 and (rest <= _NEUTRAL | _OWN or rest & roles or ("data" in rest)):
        return sides.pop()
    return None


def _aside(name: str, declared: Declared) -> bool:
    predicted = not _PREDICTED.isdisjoint(words(name)) and not named(declared.masks, name)
    return predicted or _squeezed(name) in _ASIDE


def _said(name: str) -> set[str]:
    return {*words(name), _squeezed(name)}


def _squeezed(name: str) -> str:
    return re.sub(r"[^0-9a-z]", "", name.lower())


def _plain(name: str) -> tuple[str, ...]:
    parts = re.split(r"[_\-. ]+", unicodedata.normalize("NFC", name).casefold().strip("/_-. "))
    return tuple(part for part in parts if part not in _SIDES) or tuple(parts)
