from pathlib import Path

import pytest
from tests import fake

from trustseg.data import find_cases
from trustseg.errors import DataError

AFFIXES = [("", ""), ("mask_", ""), ("", "_mask"), ("", "_seg"), ("", "-GT"), ("lesion.", ""), ("", "_infection_mask")]


@pytest.mark.parametrize("affix", AFFIXES)
@pytest.mark.parametrize("end", [".png", ".jpg", ".JPEG", ".bmp", ".tif", ".tiff"])
def test_masks_find_their_images(tmp_path: Path, affix: tuple[str, str], end: str) -> None:
    listing = find_cases(fake.two_folders(tmp_path, affix=affix, end=end))
    assert listing.layout == "folder"
    assert [case.name for case in listing.cases] == list(fake.TRAIN)
    assert not listing.lone_images
    assert not listing.lone_masks
    assert {case.split for case in listing.cases} == {"train"}
    assert all([mask.stem for mask in case.masks] == [f"{affix[0]}{case.name}{affix[1]}"] for case in listing.cases)


def test_train_val_and_test_subfolders(tmp_path: Path) -> None:
    for side, names in {"Train": fake.TRAIN[:3], "val": fake.TRAIN[3:], "test": fake.TEST}.items():
        fake.pairs(tmp_path / side, names, images="images", masks="Masks")
    listing = find_cases(tmp_path)
    assert {case.name for case in listing.cases if case.split == "train"} == set(fake.TRAIN)
    assert tuple(case.name for case in listing.cases if case.split == "test") == fake.TEST
    assert listing.notes == ("val/ joins the training side: validation cases are drawn by patient",)


@pytest.mark.parametrize("folder", ["", "images"])
def test_images_alone_are_controls(tmp_path: Path, folder: str) -> None:
    for name in fake.CONTROL:
        fake.save(fake.image(name), tmp_path / folder / f"{name}.png")
    (tmp_path / folder / "manifest.csv").touch()
    (tmp_path / folder / ".hidden.png").touch()
    listing = find_cases(tmp_path)
    assert [(case.name, case.masks, case.split) for case in listing.cases] == [
        (name, (), "control") for name in fake.CONTROL
    ]
    assert "there are no masks" in listing.notes[0]


def test_images_and_masks_in_one_folder_are_refused(tmp_path: Path) -> None:
    fake.pairs(tmp_path, ["a", "b"], images="", masks="", affix=("", "_mask"))
    with pytest.raises(DataError, match=r"images and masks together \(a.png, a_mask.png\), expected two folders; move"):
        find_cases(tmp_path)


def test_two_files_for_one_case_are_refused(tmp_path: Path) -> None:
    fake.two_folders(tmp_path, ["a"])
    fake.save(fake.image("a"), tmp_path / "images" / "a.jpg")
    with pytest.raises(DataError, match=r"a\.jpg and a\.png stand for the same case 'a', expected one file a case; "):
        find_cases(tmp_path)


def test_two_masks_for_one_image_are_refused(tmp_path: Path) -> None:
    fake.two_folders(tmp_path, ["a", "b"], affix=("mask_", ""))
    fake.save(fake.mask("a"), tmp_path / "masks" / "a.png")
    with pytest.raises(DataError, match="stand for the same case 'a'"):
        find_cases(tmp_path)
