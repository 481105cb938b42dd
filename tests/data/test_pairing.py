"""How masks find their images by name."""

from pathlib import Path

import pytest

from trustseg.data import Declared
from trustseg.data.pairing import match, stem_of


def files(*names: str) -> list[Path]:
    return [Path(name) for name in names]


@pytest.mark.parametrize(
    "pairs",
    [
        {"mask_a": "a", "mask_mask_a": "mask_a"},
        {"1_seg": "1", "11_seg": "11"},
        {"mask_1": "1", "mask_x_1": "x_1"},
        {"21_manual1": "21", "22_manual1": "22"},
        {"Image_01L_1stHO": "Image_01L", "Image_01R_1stHO": "Image_01R"},
    ],
)
def test_the_affix_of_most_masks_decides(pairs: dict[str, str]) -> None:
    found = match(files(*pairs.values()), files(*pairs), Declared())
    assert found.masks == {Path(image): [Path(mask)] for mask, image in pairs.items()}


def test_digits_are_never_an_affix() -> None:
    found = match(files("1", "2"), files("11", "12"), Declared())
    assert found.masks == {}
    assert len(found.lone_images) == len(found.lone_masks) == 2


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("21_training.tif", "21_manual1.gif"),  # affixes on both sides
        ("img_001.png", "mask_001.png"),
        ("image7.png", "mask7.png"),
        ("case_3_img.png", "case_3_seg.png"),
        ("Scan_01.PNG", "scan_01.png"),  # case
        ("SCAN.png", "scan_mask.png"),
        ("x.nii.png", "x.png"),  # double suffixes
        ("x.png", "x.ome.tif"),
        ("x.nii.gz", "x_mask.nii.gz"),
        ("benign (1).png", "benign (1)_mask.png"),
        ("u\u0308.png", "\u00fc_mask.png"),  # Unicode's two forms of one letter
        ("001.png", "001mask.png"),
    ],
)
def test_names_that_pair(image: str, mask: str) -> None:
    found = match(files(image), files(mask), Declared())
    assert found.masks == {Path(image): [Path(mask)]}
    assert not found.lone_images
    assert not found.lone_masks


@pytest.mark.parametrize(("image", "mask"), [("1", "11"), ("a", "a_2"), ("a_1", "a_2"), ("a", "b"), ("left", "right")])
def test_names_that_do_not(image: str, mask: str) -> None:
    found = match(files(f"{image}.png"), files(f"{mask}.png"), Declared(unite_masks=False))
    assert not found.masks
    assert found.lone_images == files(f"{image}.png")
    assert found.lone_masks == files(f"{mask}.png")


def test_affixes_on_both_sides_need_all_of_a_side() -> None:
    images = files("img_1.png", "img_2.png", "img_3.png")
    assert len(match(images, files("mask_1.png", "mask_2.png"), Declared()).masks) == 2
    assert not match(images, files("mask_1.png", "mask_9.png"), Declared()).masks


def test_names_that_differ_only_in_case_pair_exactly() -> None:
    found = match(files("sub-S1.png", "sub-s1.png"), files("mask_sub-S1.png", "mask_sub-s1.png"), Declared())
    assert found.masks == {
        Path("sub-S1.png"): files("mask_sub-S1.png"),
        Path("sub-s1.png"): files("mask_sub-s1.png"),
    }


@pytest.mark.parametrize(
    "masks", [("a_left", "a_right"), ("a_mask", "a_mask_1"), ("mask_a", "a"), ("a_glare", "a_haze", "a_net")]
)
def test_several_masks_of_one_image(masks: tuple[str, ...]) -> None:
    paths = sorted(files(*(f"{name}.png" for name in masks)))
    assert match(files("a.png", "b.png"), paths, Declared()).masks == {Path("a.png"): paths}


def test_numbered_masks_need_a_word_of_the_user() -> None:
    images, masks = files("a.png", "b.png"), files("a_1.png", "a_2.png", "b.png")
    assert match(images, masks, Declared()).lone_masks == masks[:2]
    united = match(images, masks, Declared(unite_masks=True))
    assert united.masks == {Path("a.png"): masks[:2], Path("b.png"): masks[2:]}


def test_a_stray_word_is_no_affix_where_another_is_usual() -> None:
    found = match(files("a.png", "b.png", "c.png"), files("b_seg.png", "c_seg.png", "a_left.png"), Declared())
    assert found.lone_images == files("a.png")
    assert found.lone_masks == files("a_left.png")


def test_two_images_of_one_stem_are_told() -> None:
    found = match(files("a.jpg", "a.png"), files("a_mask.png"), Declared())
    assert found.doubled == [tuple(files("a.jpg", "a.png"))]


def test_a_mask_that_two_images_may_claim_is_told() -> None:
    found = match(files("a.png", "x_b.png"), files("a_x_b.png"), Declared())
    assert list(found.claimed) == files("a_x_b.png")
    assert not found.masks


@pytest.mark.parametrize(
    ("name", "stem"), [("a.png", "a"), ("a.nii.gz", "a"), ("a.ome.tif", "a"), ("1.2.3.dcm", "1.2.3")]
)
def test_stem_of(name: str, stem: str) -> None:
    assert stem_of(Path(name)) == stem
