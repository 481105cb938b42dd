"""Folders that can be read in more than one way are a question or an error, never a choice."""

from pathlib import Path

import pytest
from tests.data.listings import is_whole, kinds, pairs, sides, touch

from trustseg.data import Declared, find_cases, usable_cases
from trustseg.errors import DataError


@pytest.mark.parametrize(
    ("folders", "chosen"),
    [
        (("1st_manual", "mask"), "1st_manual"),  # DRIVE: mask/ is the field of view
        (("infection masks", "lung masks"), "infection masks"),  # COVID-QU-Ex
        (("masks", "vessels"), "vessels"),
        (("labels-ah", "labels-vk"), "labels-ah"),
        (("infection",), "infection"),  # one folder whose name says nothing
    ],
)
def test_two_candidates_are_a_question(tmp_path: Path, folders: tuple[str, ...], chosen: str) -> None:
    for folder in ("images", *folders):
        touch(tmp_path / "training" / folder, "a.png", "b.png")
    listing = find_cases(tmp_path)
    assert kinds(listing) == {"which_masks"}
    assert all(folder in listing.problems[0].message for folder in folders)
    with pytest.raises(DataError, match=r"data\.masks="):
        usable_cases(tmp_path)
    listing = usable_cases(tmp_path, Declared(masks=chosen))
    assert {mask.parent.name for case in listing.cases for mask in case.masks} == {chosen}
    assert len(listing.passed_over) == 2 * (len(folders) - 1)


@pytest.mark.parametrize(
    ("images", "masks"), [("X", "Y"), ("Original", "Segmented"), ("raw/a", "annotated/a"), ("test/X", "test/Y")]
)
def test_two_folders_that_pair_by_name_are_a_question(tmp_path: Path, images: str, masks: str) -> None:
    touch(tmp_path, *(f"{folder}/{name}.png" for folder in (images, masks) for name in "abc"))
    assert kinds(find_cases(tmp_path)) == {"which_masks"}
    name = next(name for name in masks.split("/") if name not in ("test", "a"))
    with pytest.raises(DataError, match=f"data.masks='{name}'"):
        usable_cases(tmp_path)
    listing = usable_cases(tmp_path, Declared(masks=name))
    assert {mask.relative_to(tmp_path).parent.as_posix() for case in listing.cases for mask in case.masks} == {masks}
    assert is_whole(listing)


@pytest.mark.parametrize(
    ("side", "other"),
    [
        *(("train", name) for name in ("prospective", "unseen", "external cohort", "deep/site B", "")),
        *(("test", name) for name in ("site B", "train and test")),
        ("val", "site B"),
        *(("test", name) for name in ("eval", "external")),  # a second test side, or validation?
        ("", "train_test"),  # which of the two?
    ],
)
def test_pairs_whose_folder_names_no_side_are_a_question(tmp_path: Path, side: str, other: str) -> None:
    for name, folder in (("a", side), ("b", other)):
        touch(tmp_path / folder, f"images/{name}.png", f"masks/{name}.png")
    (problem,) = find_cases(tmp_path).problems
    asked = str(tmp_path / other / "images/b.png")
    assert (problem.kind, problem.names) == ("which_side", (asked,))
    with pytest.raises(DataError, match="which side"):
        usable_cases(tmp_path)


@pytest.mark.parametrize(("name", "warned"), [("pcr_test_positive", True), ("test", False), ("Test_Set", False)])
def test_a_name_that_holds_test_is_told_where_nothing_is_left_to_train_on(
    tmp_path: Path, name: str, *, warned: bool
) -> None:
    touch(tmp_path / name, "images/a.png", "masks/a.png")
    listing = find_cases(tmp_path)
    assert kinds(listing) == ({"all_test"} if warned else set())
    assert all(problem.severity == "warning" for problem in listing.problems)


@pytest.mark.parametrize("other", ["", "data"])
def test_pairs_around_a_test_folder_are_no_question(tmp_path: Path, other: str) -> None:
    for name, folder in (("a", other), ("b", "test")):
        touch(tmp_path / folder, f"images/{name}.png", f"masks/{name}.png")
    assert sides(usable_cases(tmp_path)) == {"train": {"a"}, "test": {"b"}}


def test_folders_of_patients_are_no_question(tmp_path: Path) -> None:
    touch(tmp_path, *(f"P{patient}/{name}.png" for patient in range(5) for name in "ab"))
    listing = find_cases(tmp_path)
    assert not listing.problems
    assert len(sides(listing)["unlabelled"]) == 10


@pytest.mark.parametrize("folder", ["mask_pred", "Predictions", "pred masks"])
def test_predictions_are_no_reference_unless_they_are_named(tmp_path: Path, folder: str) -> None:
    touch(tmp_path, "images/a.png", f"{folder}/a.png")
    listing = find_cases(tmp_path)
    assert sides(listing) == {"unlabelled": {"a"}}
    assert listing.below(listing.passed_over) == (f"{folder}/a.png",)
    assert pairs(usable_cases(tmp_path, Declared(masks=folder))) == {"a.png": ["a.png"]}


def test_a_nameless_folder_beside_controls_is_a_question(tmp_path: Path) -> None:
    touch(tmp_path, "control/images/a.png", "control/foo/a.png", "control/b.png")
    listing = find_cases(tmp_path)
    assert kinds(listing) == {"which_masks"}
    assert {case.image.name for case in listing.cases} == {"a.png", "b.png"}


def test_a_declared_folder_that_is_not_there(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png")
    with pytest.raises(DataError, match="found: masks"):
        usable_cases(tmp_path, Declared(masks="mask_of_lungs"))


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (["images/a.png", "images/b.png"], ["masks/a_left.png", "masks/a_right.png", "masks/b_left.png"]),
        (["x/a.png", "x/b.png"], ["x/a_mask.png", "x/a_mask_1.png", "x/b_mask.png"]),  # BUSI
        (["t/0a/images/0a.png"], ["t/0a/masks/f1.png", "t/0a/masks/f2.png"]),  # DSB2018
        (["Image_01L.jpg"], ["Image_01L_1stHO.png", "Image_01L_2ndHO.png"]),  # CHASE_DB1
    ],
)
def test_several_masks_of_one_image_are_united_on_request_only(
    tmp_path: Path, images: list[str], masks: list[str]
) -> None:
    touch(tmp_path, *images, *masks)
    assert kinds(find_cases(tmp_path)) == {"several_masks"}
    with pytest.raises(DataError, match=r"data\.unite_masks=true"):
        usable_cases(tmp_path)
    listing = usable_cases(tmp_path, Declared(unite_masks=True))
    assert sorted(mask for found in pairs(listing).values() for mask in found) == sorted(
        Path(mask).name for mask in masks
    )
    assert is_whole(listing)


def test_one_of_two_readers_is_chosen_by_its_ending(tmp_path: Path) -> None:
    touch(tmp_path, *(f"Image_{n}L{end}" for n in ("01", "02") for end in (".jpg", "_1stHO.png", "_2ndHO.png")))
    listing = usable_cases(tmp_path, Declared(masks="1stHO"))
    assert pairs(listing) == {f"Image_{n}L.jpg": [f"Image_{n}L_1stHO.png"] for n in ("01", "02")}
    assert len(listing.passed_over) == 2


def test_masks_in_folders_of_their_own_are_united(tmp_path: Path) -> None:
    touch(tmp_path, "CXR/a.png", "ManualMask/leftMask/a.png", "ManualMask/rightMask/a.png")
    assert kinds(find_cases(tmp_path)) == {"which_masks"}
    with pytest.raises(DataError, match="unite_masks=true"):
        usable_cases(tmp_path)
    for masks in (None, "ManualMask"):
        listing = usable_cases(tmp_path, Declared(masks=masks, unite_masks=True))
        assert pairs(listing) == {"a.png": ["a.png", "a.png"]}


def test_a_question_of_many_folders_is_asked_once(tmp_path: Path) -> None:
    for case in ("0a", "0b", "0c"):  # DSB2018
        touch(tmp_path, f"{case}/images/{case}.png", f"{case}/masks/1.png", f"{case}/masks/2.png")
    (problem,) = find_cases(tmp_path).problems
    assert len(problem.names) == 3


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "images/a.jpg", "masks/a.png")
    assert kinds(find_cases(tmp_path)) == {"same_name"}
    with pytest.raises(DataError, match=r"a\.jpg"):
        usable_cases(tmp_path)


def test_a_mask_that_two_images_may_claim_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "images/x_b.png", "images/c.png", "masks/a_x_b.png", "masks/c.png")
    with pytest.raises(DataError, match=r"a_x_b|without"):
        usable_cases(tmp_path)


def test_controls_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png", "more/healthy/h.png")
    for controls in ("healthy", "more/healthy", "more"):
        assert sides(usable_cases(tmp_path, Declared(controls=controls)))["control"] == {"h"}
    with pytest.raises(DataError, match=r"data\.controls=nope .*found: images, masks, more, more/healthy"):
        usable_cases(tmp_path, Declared(controls="nope"))


def test_a_question_reads_well_for_one_image_and_for_three_folders(tmp_path: Path) -> None:
    touch(tmp_path / "three", "images/a.png", "masks/a.png", "labels/a.png", "gt/a.png")
    (problem,) = find_cases(tmp_path / "three").problems
    assert problem.message.startswith("gt, labels and masks could each hold the masks of images: 1, such as ")
    touch(tmp_path / "one", "images/a.png", "masks/a_left.png", "masks/a_right.png")
    (problem,) = find_cases(tmp_path / "one").problems
    assert problem.message.startswith("images with several masks: 1, such as ")
    assert "name it: data.masks='left'" in problem.message


def test_folders_that_pair_by_name_are_not_all_controls(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{axis}/{number}.png" for axis in ("X", "Y") for number in range(3)))
    assert kinds(find_cases(tmp_path, Declared(controls="."))) == {"which_masks"}
    assert not find_cases(tmp_path, Declared(controls="X")).problems
    assert is_whole(find_cases(touch(tmp_path / "alone", "a.png", "b.png"), Declared(controls=".")))
