"""How masks find their images by name."""

from pathlib import Path

import pytest

from trustseg.data import Declared
from trustseg.data.pairing import Pairing, match


def files(*names: str) -> list[Path]:
    return [Path(name) for name in names]


def matched(images: str, masks: str, *, unite: bool = False) -> Pairing:
    return match(files(*images.split()), files(*masks.split()), Declared(unite_masks=unite))


@pytest.mark.parametrize(
    "pairs",
    [
        {"mask_a": "a", "mask_mask_a": "mask_a"},
        {"1_seg": "1", "11_seg": "11"},
        {"mask_1": "1", "mask_x_1": "x_1"},
        {"21_manual1": "21", "22_manual1": "22"},
        {"Image_01L_1stHO": "Image_01L", "Image_01R_1stHO": "Image_01R"},
        {"21_manual1.gif": "21_training.tif"},  # affixes on both sides
        {"mask_001.png": "img_001.png"},
        {"mask7.png": "image7.png"},
        {"case_3_seg.png": "case_3_img.png"},
        {"scan_01.png": "Scan_01.PNG"},  # case
        {"scan_mask.png": "SCAN.png"},
        {"mask_sub-S1.png": "sub-S1.png", "mask_sub-s1.png": "sub-s1.png"},  # case that tells two apart
        {"x.png": "x.nii.png"},  # double suffixes
        {"x.ome.tif": "x.png"},
        {"x_mask.nii.gz": "x.nii.gz"},
        {"benign (1)_mask.png": "benign (1).png"},
        {"\u00fc_mask.png": "u\u0308.png"},  # Unicode's two forms of one letter
        {"001mask.png": "001.png"},
    ],
)
def test_names_that_pair(pairs: dict[str, str]) -> None:
    found = match(files(*pairs.values()), files(*pairs), Declared())
    assert found.masks == {Path(image): [Path(mask)] for mask, image in pairs.items()}
    assert not found.unpaired_images
    assert not found.unpaired_masks


@pytest.mark.parametrize(
    ("images", "masks"), [("1 2", "11 12"), ("1", "11"), ("a", "a_2"), ("a_1", "a_2"), ("a", "b"), ("left", "right")]
)
def test_names_that_do_not(images: str, masks: str) -> None:
    found = matched(images, masks)
    assert not found.masks
    assert found.unpaired_images == files(*images.split())
    assert found.unpaired_masks == files(*masks.split())


def test_affixes_on_both_sides_need_all_of_a_side() -> None:
    assert len(matched("img_1.png img_2.png img_3.png", "mask_1.png mask_2.png").masks) == 2
    assert not matched("img_1.png img_2.png img_3.png", "mask_1.png mask_9.png").masks


@pytest.mark.parametrize("masks", ["a_left a_right", "a_mask a_mask_1", "a mask_a", "a_glare a_haze a_net"])
def test_several_masks_of_one_image(masks: str) -> None:
    assert matched("a b", masks).masks == {Path("a"): files(*masks.split())}


def test_numbered_masks_need_a_word_of_the_user() -> None:
    assert matched("a b", "a_1 a_2 b").unpaired_masks == files("a_1", "a_2")
    assert matched("a b", "a_1 a_2 b", unite=True).masks == {Path("a"): files("a_1", "a_2"), Path("b"): files("b")}


def test_a_stray_word_is_no_affix_where_another_is_usual() -> None:
    found = matched("a b c", "b_seg c_seg a_left")
    assert (found.unpaired_images, found.unpaired_masks) == (files("a"), files("a_left"))


def test_what_two_files_may_claim_is_told() -> None:
    assert matched("a.jpg a.png", "a_mask.png").doubled == [tuple(files("a.jpg", "a.png"))]
    found = matched("a x_b", "a_x_b")
    assert list(found.claimed) == files("a_x_b")
    assert not found.masks
