"""What the names of folders say: images, masks or controls, of which split, or pictures of another kind."""

import re
import unicodedata
from collections.abc import Container
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final, Literal

from trustseg.data.cases import Declared
from trustseg.text import word_set

__all__ = [
    "FolderRole",
    "accompanied_image",
    "folder_role",
    "is_declared",
    "is_mask_word",
    "is_neutral",
    "names_test",
    "says_more_than_test",
]

Role = Literal["images", "masks"]
NamedSplit = Literal["train", "validation", "test"]

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
_SPLITS: Final[dict[str, NamedSplit]] = {
    **dict.fromkeys(("train", "training", "trainset", "trainingset", "trn", "tr"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "valset", "validset", "validationset", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "testset", "tst", "ts"), "test"),
    # Whatever their owner calls them, images set aside are never trained on.
    **dict.fromkeys(("holdout", "heldout", "external", "eval", "evaluation"), "test"),
}
_PERHAPS_TEST: Final = word_set("external eval evaluation")  # next to a test split: test, or validation?
_OWN: Final = word_set("internal isic")  # internal_val, ISIC2018_Validation
# Words that never name training data, whatever stands around them: site_test, Testing Set B, hold-out 2.
_HELD_OUT: Final = re.compile(
    r"(?<![a-z])(?:tests?(?:ing|set|data|dataset|images?|masks?)?|(?:hold|held)[^a-z]?out)(?![a-z])"
)
_NEUTRAL: Final = word_set("set sets folder folders data dataset split splits stage part v")
_CONTROLS: Final = frozenset(("control", "controls", "controlgroup", "controlgroupi"))
# Neither images to segment nor reference masks; QaTa's Control_Group_II holds opacities without masks.
_OTHER_PICTURES: Final = word_set(
    "controlgroupii ambiguity uncertainty overlay overlays preview previews thumbnail thumbnails thumbs "
    "visualisation visualisations visualization visualizations superpixels"
)
_SUPERPIXELS: Final = re.compile(r"(?<=.)[_-]superpixels?$", re.IGNORECASE)  # of ISIC, next to the image itself
_PREDICTED: Final = word_set("pred preds prediction predictions predicted")
_GLUED: Final = re.compile(r"^(train|val|test)(?=(?:annot|annotation|groundtruth|gt|image|img|label|mask)s?$)")
_ORDINAL: Final = re.compile(r"^\d+(?:st|nd|rd|th)(?=[a-z])")


@dataclass(frozen=True, slots=True)
class FolderRole:
    """What the names of a folder and of those above it say of the files in it.

    Attributes:
        path: the folder, relative to the data set.
        role: whether it holds images or masks; None if no name says.
        certain: whether ``masks`` is meant whatever lies next to it.
        mask_folder: the folder of masks, empty for other files.
        split: train, validation or test; None if no folder names one.
        control: whether it lies among declared controls.
        other_pictures: whether it holds pictures that are no images of a data set, such as ``previews``.
        named_by: the folder whose name gives the role, this one if none does.
        folders: the folders on the path, without those that name a split.
        shared: the folders above and below those that give the role: what an image has in common with its masks.
    """

    path: PurePath
    role: Role | None
    certain: bool
    mask_folder: str
    split: NamedSplit | None
    control: bool
    other_pictures: bool
    named_by: PurePath
    folders: tuple[str, ...]
    shared: tuple[str, ...]


def folder_role(
    path: PurePath, declared: Declared, *, mixed: Container[PurePath] = (), tested: bool = False
) -> FolderRole:
    """Return what the names of a folder and of those above it say of the files in it; the last word counts.

    Args:
        path: the folder, relative to the data set.
        declared: what the user says of the folders.
        mixed: folders above those of images, without a role of their own: ``Kvasir-SEG`` of ``Kvasir-SEG/images``.
        tested: whether the data set has a test set by name, next to which ``eval`` and ``external`` name no split.
    """
    above = [path, *path.parents][-2::-1]  # without the data set's own
    roles = [None if folder in mixed else _role(folder, declared) for folder in above]
    splits = [_split(folder.name, tested=tested) for folder in above]
    named = [(folder.name, role) for folder, role, split in zip(above, roles, splits, strict=True) if role or not split]
    folders = tuple(name for name, _ in named)
    first = end = len(named)  # of the folders that give the role
    role = next((role for _, role in reversed(named) if role), None)
    if role:
        end = max(number for number, (_, own) in enumerate(named, 1) if own)
        first = end - 1
        while first and named[first - 1][1] == role:
            first -= 1
    block = folders[first:end]
    return FolderRole(
        path=path,
        role=role,
        certain=any(_words_and_whole(name) & _MASKS or is_declared(declared.masks, name) for name in block),
        mask_folder="/".join(block) if role == "masks" else "",
        split=next((split for split in reversed(splits) if split), None),
        control=declared.all_controls
        or any(
            _letters(folder.name) in _CONTROLS or is_declared(declared.controls, folder.name, folder.as_posix())
            for folder in above
        ),
        other_pictures=any(_holds_other_pictures(name, declared) for name in folders),
        named_by=next((folder for folder, own in zip(reversed(above), reversed(roles), strict=True) if own), path),
        folders=folders,
        shared=folders[:first] + folders[end:],
    )


def is_declared(wanted: str | None, *names: str) -> bool:
    """Return whether a declared name is one of these, whatever its case, its separators and the split it names.

    Example:
        >>> is_declared("masks", "Train_Masks"), is_declared("manual1", "manual2")
        (True, False)
    """
    return wanted is not None and _comparable(wanted) in {_comparable(name) for name in names}


def accompanied_image(stem: str) -> str | None:
    """Return the image that a file of this name accompanies without being image or mask, None for other names.

    Example:
        >>> accompanied_image("ISIC_0001_superpixels"), accompanied_image("ISIC_0001")
        ('ISIC_0001', None)
    """
    image = _SUPERPIXELS.sub("", stem)
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
    observer = any(_ORDINAL.sub("", piece) == "ho" != piece for piece in re.split(r"[^0-9a-z]+", part.lower()))
    named = is_declared(declared.masks, part.strip("_-. "))
    return observer or named or not (_MASKS | _PERHAPS_MASKS).isdisjoint(words(part))


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
    rest = {word for word in words(name) if not (word in _SPLITS or names_test(word))}
    plain = _NEUTRAL | _OWN | _IMAGES | _MASKS | _PERHAPS_MASKS
    return names_test(name) and _letters(name) not in _SPLITS and not rest <= plain


def _role(folder: PurePath, declared: Declared) -> Role | None:
    if is_declared(declared.masks, folder.name, folder.as_posix()):
        return "masks"
    parts = set(words(folder.name))
    if len(parts) == 2 and not parts.isdisjoint(_SPLITS) and (axis := parts & _AXES.keys()):  # X_train with y_train
        return _AXES[axis.pop()]
    found = _words_and_whole(folder.name)
    if found & {"and", "with", "dataset"}:
        return None  # a folder of both
    # "Segmentation Challenge Data" names the task; only a plain word for masks makes it a folder of masks.
    names_task = found & {"data", "challenge"} and not found & {"mask", "masks", "truth", "gt"}
    if found & _MASKS and not names_task:
        return "masks"
    if found & _PERHAPS_MASKS and "data" not in found:
        return "masks"
    # ISIC-2017_Training_Data holds images; Training_Data alone may hold both.
    data_of_split = "data" in found and not _SPLITS.keys().isdisjoint(found) and len(found) > 3
    return "images" if found & _IMAGES or data_of_split else None


def _split(name: str, *, tested: bool) -> NamedSplit | None:
    found = set(words(name))
    if tested and not names_test(name) and not _PERHAPS_TEST.isdisjoint(found):
        return None
    if _letters(name) in _SPLITS:  # hold-out
        return _SPLITS[_letters(name)]
    splits, rest = {_SPLITS[word] for word in found if word in _SPLITS}, found - _SPLITS.keys()
    if "external" in found and splits == {"validation", "test"}:
        return "test"  # as clinicians say external validation
    if splits <= {"test"} and names_test(name):
        return "test"
    roles = _IMAGES | _MASKS | _PERHAPS_MASKS | _AXES.keys()
    if len(splits) == 1 and (rest <= _NEUTRAL | _OWN or rest & roles or "data" in rest):
        return splits.pop()
    return None


def _holds_other_pictures(name: str, declared: Declared) -> bool:
    predicted = not _PREDICTED.isdisjoint(words(name)) and not is_declared(declared.masks, name)
    return predicted or _letters(name) in _OTHER_PICTURES


def _spaced(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)


def _words_and_whole(name: str) -> set[str]:
    """Return the words of a name and the whole of it, as ``Ground Truth`` may be written as one word."""
    return {*words(name), _letters(name)}


def _letters(name: str) -> str:
    """Return a name in lower case without what separates its words."""
    return re.sub(r"[^0-9a-z]", "", name.lower())


def _comparable(name: str) -> tuple[str, ...]:
    parts = re.split(r"[_\-. ]+", unicodedata.normalize("NFC", name).casefold().strip("/_-. "))
    return tuple(part for part in parts if part not in _SPLITS) or tuple(parts)
