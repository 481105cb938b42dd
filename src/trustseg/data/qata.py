"""QaTa-COV19-v2: 9,258 chest X-rays with infection masks (7,145 train, 2,113 test) and a control group.

Reference:
    Degerli et al., "OSegNet: Operational Segmentation Network for COVID-19 Detection Using Chest X-Ray Images", ICIP
    2022, arXiv:2202.10185; data: https://www.kaggle.com/datasets/aysendegerli/qatacov19-dataset
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

from trustseg.data.cases import Declared, Listing, joined
from trustseg.data.folder import folder
from trustseg.errors import DataError, MissingPackageError

__all__ = ["fetch_qata", "qata"]

_SIDES: Final = ("Train Set", "Test Set")
_HANDLE: Final = "aysendegerli/qatacov19-dataset"
_PAGE: Final = f"https://www.kaggle.com/datasets/{_HANDLE}"


def qata(path: Path, declared: Declared | None = None) -> Listing:
    """Return the cases of the QaTa-COV19-v2 layout, empty if the path does not have it.

    ``path`` may be the folder that holds ``Train Set`` and ``Test Set``, or one of those above it:

        QaTa-COV19/QaTa-COV19-v2/Train Set/Images/<name>.png    .../Train Set/Ground-truths/mask_<name>.png
        QaTa-COV19/QaTa-COV19-v2/Test Set/Images/<name>.png     .../Test Set/Ground-truths/mask_<name>.png
        QaTa-COV19/Control_Group/Control_Group_I/*              normal images, without masks (optional)

    Of phantoms, which have this layout too, the maps in ``Ambiguity`` are known and not mentioned.
    ``Control_Group_II`` is passed over: its pneumonia images show opacities without masks and are no empty controls.
    """
    tails = ("", "QaTa-COV19-v2", "QaTa-COV19/QaTa-COV19-v2")
    base = next((path / tail for tail in tails if any((path / tail / side).is_dir() for side in _SIDES)), None)
    if base is None:
        return Listing()
    parts = [folder(path, declared)]
    # Absolute, so that a path of "." finds the control group next to it as well.
    group = base.absolute().parent / "Control_Group"
    if base == path and base.absolute().name == "QaTa-COV19-v2" and (group / "Control_Group_I").is_dir():
        parts.append(replace(folder(group / "Control_Group_I"), notes=()))
    listing = joined(parts)
    if (base / "phantoms.json").is_file():
        maps = {base / side / "Ambiguity" for side in _SIDES}
        listing = replace(listing, passed_over=tuple(file for file in listing.passed_over if file.parent not in maps))
    if any("Control_Group_II" in file.parts for file in listing.passed_over) or (group / "Control_Group_II").is_dir():
        note = "Control_Group_II is left out: its pneumonia images show opacities without masks"
        return replace(listing, notes=(*listing.notes, note))
    return listing


def fetch_qata(target: Path | None = None) -> Path:
    """Download QaTa-COV19 through kagglehub, to ``target`` or its own cache, and return the folder.

    Read the licence on Kaggle's page first; it is said to allow non-commercial use only.
    """
    try:
        import kagglehub
    except ImportError as error:
        raise MissingPackageError(f"run: pip install 'trustseg[qata]', or download {_PAGE} by hand") from error
    try:
        found = kagglehub.dataset_download(_HANDLE, output_dir=None if target is None else str(target))
    except Exception as error:  # kagglehub lets errors of several network libraries through
        raise DataError(
            f"the download of {_HANDLE} failed ({type(error).__name__}: {error}); download {_PAGE} elsewhere, unpack "
            "it and name its folder"
        ) from error
    return Path(found)
