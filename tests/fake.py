"""Tiny generated copies of every dataset layout; seeded, nothing real."""

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

Array = npt.NDArray[np.uint8]

# Four training patients, one with two images and one unknown; two test patients; as in QaTa, one lateral view.
TRAIN = (
    "covid_7",
    "sub-S01_ses-E1_run-1_bp-chest_vp-pa_dx",
    "sub-S01_ses-E2_run-1_bp-chest_vp-ap_cr",
    "sub-S02_ses-E1_run-1_bp-chest_cr",
    "sub-S03_ses-E1_run-1_bp-chest_cr",
)
TEST = ("sub-S08_ses-E1_run-1_bp-chest_vp-ll_dx", "sub-S09_ses-E1_acq-1_run-1_bp-chest_vp-pa_dx")
CONTROL = ("00000001_000", "00000002_000")
EMPTY = "sub-S02_ses-E1_run-1_bp-chest_cr"


def image(name: str, *, size: tuple[int, int] = (20, 16)) -> Array:
    """Noise that depends on the name only; ``size`` is (width, height), the array (height, width)."""
    return np.random.default_rng(zlib.crc32(name.encode())).integers(0, 256, size[::-1], dtype=np.uint8)


def mask(name: str, *, size: tuple[int, int] = (20, 16)) -> Array:
    """A rectangle of 255 whose place depends on the name; nothing for the name ``EMPTY``."""
    values = np.zeros(size[::-1], dtype=np.uint8)
    if name != EMPTY:
        top, left = np.random.default_rng(zlib.crc32(name.encode()) + 1).integers(0, (size[1] // 2, size[0] // 2))
        values[top : top + size[1] // 2, left : left + size[0] // 2] = 255
    return values


def save(array: npt.NDArray[np.generic], path: Path) -> Path:
    """Write an array as an image file, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def one_pair(root: Path, mask: Array, *, image: npt.NDArray[np.generic] | None = None, end: str = "png") -> Path:
    """Write one image, of one grey unless given, and its mask; return the folder."""
    save(image if image is not None else np.full(mask.shape[:2], 7, dtype=np.uint8), root / "images" / f"a.{end}")
    save(mask, root / "masks" / "a.png")
    return root


def truncate(path: Path) -> None:
    """Cut the end off a file."""
    path.write_bytes(path.read_bytes()[:-30])


def pairs(folder: Path, names: Sequence[str], *, images: str, masks: str, affix: tuple[str, str] = ("", "")) -> None:
    """Write an image folder and a mask folder; masks carry the affix (prefix, suffix)."""
    for name in names:
        save(image(name), folder / images / f"{name}.png")
        save(mask(name), folder / masks / f"{affix[0]}{name}{affix[1]}.png")


def qata(root: Path, *, control: bool = True) -> Path:
    """The published layout; returns the folder above ``QaTa-COV19-v2``."""
    base = root / "QaTa-COV19" / "QaTa-COV19-v2"
    for side, names in (("Train Set", TRAIN), ("Test Set", TEST)):
        pairs(base / side, names, images="Images", masks="Ground-truths", affix=("mask_", ""))
    if control:
        group = base.parent / "Control_Group"
        for name in CONTROL:
            save(image(name, size=(30, 30)), group / "Control_Group_I" / f"{name}.png")
        pneumonia = group / "Control_Group_II" / "Pediatric_Viral_Pneumonia"
        save(image("pneumonia"), pneumonia / "person1_virus_1.png")
    return base.parent


def train_set(root: Path) -> Path:
    """The folder ``Train Set`` inside what ``qata`` made, for breaking things in it."""
    return root / "QaTa-COV19" / "QaTa-COV19-v2" / "Train Set"


def two_folders(root: Path, names: Sequence[str] = TRAIN, *, affix: tuple[str, str] = ("", "")) -> Path:
    """``images/`` and ``masks/``."""
    pairs(root, names, images="images", masks="masks", affix=affix)
    return root
