"""The QaTa-COV19-v2 layout, and the re-arranged copies of it that other projects hand around.

QaTa-COV19-v2 holds 9,258 chest X-rays with infection masks (7,145 train, 2,113 test) beside a control group.

Reference:
    Degerli et al., "OSegNet", ICIP 2022, arXiv:2202.10185; data: https://www.kaggle.com/aysendegerli/qatacov19-dataset
"""

from pathlib import Path
from typing import Final

from trustseg.data.cases import Case, Listing, Split, image_files, joined, pair, patient_of

__all__ = ["qata", "rearranged"]

_SPLITS: Final[dict[str, Split]] = {"Train Set": "train", "Test Set": "test"}
_LVIT: Final[dict[str, Split]] = {"Train_Folder": "train", "Val_Folder": "train", "Test_Folder": "test"}
_LANGUIDE: Final[dict[str, Split]] = {"Train": "train", "Test": "test"}


def qata(path: Path) -> Listing:
    """Return the cases of the QaTa-COV19-v2 layout, empty if the path does not have it.

    ``path`` may be the folder that holds ``Train Set`` and ``Test Set``, or one of those above it:

        QaTa-COV19/QaTa-COV19-v2/Train Set/Images/<name>.png    .../Train Set/Ground-truths/mask_<name>.png
        QaTa-COV19/QaTa-COV19-v2/Test Set/Images/<name>.png     .../Test Set/Ground-truths/mask_<name>.png
        QaTa-COV19/Control_Group/Control_Group_I/*              normal images, without masks (optional)

    ``Control_Group_II`` is left out: its pneumonia images show opacities without masks and are no empty controls.
    """
    tails = ("", "QaTa-COV19-v2", "QaTa-COV19/QaTa-COV19-v2")
    base = next((path / tail for tail in tails if any((path / tail / name).is_dir() for name in _SPLITS)), None)
    if base is None:
        return Listing()
    roots = [base]
    if base.absolute().name == "QaTa-COV19-v2":  # absolute, so that a path of "." finds the control group as well
        roots.append(base.absolute().parent)
    parts = [pair(base / name, split, images=("Images",), masks=("Ground-truths",)) for name, split in _SPLITS.items()]
    return joined([*parts, *map(_controls, roots)])


def rearranged(path: Path) -> Listing:
    """Return the cases of a re-arranged copy of QaTa, empty if the path has none.

    LViT: ``{Train,Val,Test}_Folder/{img,labelcol}``; LanGuideMedSeg: ``{Train,Test}/{Images,GTs}``, in its forks
    ``Ground-truths``. ``Val_Folder`` joins the training side: validation cases are drawn by patient.
    """
    lvit = [pair(path / name, split, images=("img",), masks=("labelcol",)) for name, split in _LVIT.items()]
    languide = [
        pair(path / name, split, images=("Images",), masks=("GTs", "Ground-truths"))
        for name, split in _LANGUIDE.items()
        if any((path / name / masks).is_dir() for masks in ("GTs", "Ground-truths"))
    ]
    note = "Val_Folder joins the training side: validation cases are drawn by patient"
    lvit.append(Listing(notes=(note,) if lvit[1] else ()))
    return joined(lvit) or joined(languide)


def _controls(folder: Path) -> Listing:
    """Return the images of the control group beside a dataset, none if there is no such group."""
    group = folder / "Control_Group"
    normal = group / "Control_Group_I"
    files = image_files(normal) if normal.is_dir() else {}
    left_out = (group / "Control_Group_II").is_dir()
    return Listing(
        cases=tuple(
            Case(name=name, image=image, masks=(), patient=patient_of(name), split="control")
            for name, image in files.items()
        ),
        notes=("Control_Group_II is left out: its pneumonia images show opacities without masks",) if left_out else (),
    )
