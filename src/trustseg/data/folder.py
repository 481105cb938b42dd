"""Any two folders, ``images/`` and ``masks/``, or one folder of images without masks."""

from pathlib import Path
from typing import Final

from trustseg.data.cases import Case, Listing, Split, image_files, joined, mask_affix, pair, patient_of, subfolder
from trustseg.errors import DataError

__all__ = ["folder"]

_IMAGES: Final = ("images", "image", "imgs", "img")
_MASKS: Final = ("masks", "mask", "labels", "label", "annotations", "segmentations", "ground-truths", "gts", "gt")
_SPLITS: Final[dict[str, Split]] = {
    "train": "train",
    "training": "train",
    "val": "train",
    "valid": "train",
    "validation": "train",
    "test": "test",
}


def folder(path: Path) -> Listing:
    """Return the cases of a plain folder, empty if it holds no image.

    Three forms are understood, folder names in any case:

    * ``images/ masks/``: every case stands in ``train`` (use cross-validation);
    * ``train/ test/`` that hold ``images/ masks/`` each; ``val/`` joins ``train``, since validation cases are drawn by
      patient;
    * image files without any masks: a population of its own, ``control``, never trained on.

    Raises:
        DataError: if images and masks lie in one folder.
    """
    splits = [
        (name, pair(found, split, images=_IMAGES, masks=_MASKS))
        for name, split in _SPLITS.items()
        if (found := subfolder(path, (name,)))
    ]
    if any(listing for _, listing in splits):
        joining = [name for name, listing in splits if name.startswith("val") and listing]
        notes = tuple(f"{name}/ joins the training side: validation cases are drawn by patient" for name in joining)
        return joined([*(listing for _, listing in splits), Listing(notes=notes)])
    images = subfolder(path, _IMAGES)
    if images and subfolder(path, _MASKS):
        return pair(path, "train", images=_IMAGES, masks=_MASKS)
    return _without_masks(images or path)


def _without_masks(path: Path) -> Listing:
    files = image_files(path)
    for stem in files:
        prefix, suffix = mask_affix(files.keys() - {stem}, [stem])
        named = stem[len(prefix) : len(stem) - len(suffix)]
        if "mask" in prefix + suffix and named in files:
            raise DataError(
                f"{path} holds images and masks together ({files[named].name}, {files[stem].name}), expected two "
                "folders; move the images into images/ and the masks into masks/"
            )
    cases = tuple(
        Case(name=name, image=image, masks=(), patient=patient_of(name), split="control")
        for name, image in files.items()
    )
    note = "there are no masks: the images can be scored as a population without infection, never trained on"
    return Listing(cases=cases, notes=(note,) if cases else ())
