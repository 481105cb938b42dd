"""Folders that can be read in more than one way are a question or an error, never a choice."""

from pathlib import Path

import pytest
from tests.data.listings import is_whole, kinds, pairs, paths, sides, touch

from trustseg.data import Declared, find_cases, usable_cases
from trustseg.errors import DataError

UNITED = Declared(unite_masks=True)


def numbered(*folders: str) -> list[str]:
    return [f"{folder}/{name}.png" for folder in folders for name in "abc"]


@pytest.mark.parametrize(
    ("folders", "chosen"),
    [
        (("training/images", "training/1st_manual", "training/mask"), "1st_manual"),  # DRIVE: a field of view
        (("images", "infection masks", "lung masks"), "infection masks"),  # COVID-QU-Ex
        (("images", "masks", "vessels"), "vessels"),
        (("images", "labels-ah", "labels-vk"), "labels-ah"),
        (("images", "infection"), "infection"),  # one folder whose name says nothing
        (("X", "Y"), "Y"),
        (("Original", "Segmented"), "Segmented"),
        (("raw/a", "annotated/a"), "annotated"),
        (("test/X", "test/Y"), "Y"),
    ],
)
def test_which_folder_holds_the_masks_is_a_question(tmp_path: Path, folders: tuple[str, ...], chosen: str) -> None:
    (problem,) = find_cases(touch(tmp_path, *numbered(*folders))).problems
    assert problem.kind == "which_masks"
    with pytest.raises(DataError, match=r"data\.masks="):
        usable_cases(tmp_path)
    listing = usable_cases(tmp_path, Declared(masks=chosen))
    masks = next(folder for folder in folders if chosen in folder.split("/"))
    assert paths(listing) == {f"{folders[0]}/{name}.png": (f"{masks}/{name}.png",) for name in "abc"}
    assert len(listing.passed_over) == 3 * (len(folders) - 2)
    assert chosen in problem.message


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
    assert (problem.kind, problem.names) == ("which_side", (str(tmp_path / other / "images/b.png"),))
    with pytest.raises(DataError, match="which split"):
        usable_cases(tmp_path)


@pytest.mark.parametrize(("name", "warned"), [("pcr_test_positive", True), ("test", False), ("Test_Set", False)])
def test_a_name_that_holds_test_is_told_where_nothing_is_left_to_train_on(
    tmp_path: Path, name: str, *, warned: bool
) -> None:
    listing = find_cases(touch(tmp_path, f"{name}/images/a.png", f"{name}/masks/a.png"))
    assert [(problem.kind, problem.severity) for problem in listing.problems] == [("all_test", "warning")] * warned


@pytest.mark.parametrize(
    "files",
    [
        ["data/images/a.png", "data/masks/a.png", "test/images/b.png", "test/masks/b.png"],
        [f"P{patient}/{name}.png" for patient in range(5) for name in "ab"],  # folders of patients
    ],
)
def test_what_is_no_question(tmp_path: Path, files: list[str]) -> None:
    assert not find_cases(touch(tmp_path, *files)).problems


@pytest.mark.parametrize("folder", ["mask_pred", "Predictions", "pred masks"])
def test_predictions_are_no_reference_unless_they_are_named(tmp_path: Path, folder: str) -> None:
    listing = find_cases(touch(tmp_path, "images/a.png", f"{folder}/a.png"))
    assert sides(listing) == {"unlabelled": {"a"}}
    assert listing.below(listing.passed_over) == (f"{folder}/a.png",)
    assert pairs(usable_cases(tmp_path, Declared(masks=folder))) == {"a.png": ["a.png"]}


def test_a_nameless_folder_beside_controls_is_a_question(tmp_path: Path) -> None:
    listing = find_cases(touch(tmp_path, "control/images/a.png", "control/foo/a.png", "control/b.png"))
    assert kinds(listing) == {"which_masks"}
    assert {case.image.name for case in listing.cases} == {"a.png", "b.png"}


def test_folders_that_pair_by_name_are_not_all_controls(tmp_path: Path) -> None:
    touch(tmp_path, *numbered("X", "Y"))
    assert kinds(find_cases(tmp_path, Declared(controls="."))) == {"which_masks"}
    assert not find_cases(tmp_path, Declared(controls="X")).problems
    assert is_whole(find_cases(touch(tmp_path / "alone", "a.png", "b.png"), Declared(controls=".")))


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("images/a.png images/b.png", "masks/a_left.png masks/a_right.png masks/b_left.png"),
        ("x/a.png x/b.png", "x/a_mask.png x/a_mask_1.png x/b_mask.png"),  # BUSI
        ("t/0a/images/0a.png", "t/0a/masks/f1.png t/0a/masks/f2.png"),  # DSB2018
        ("Image_01L.jpg", "Image_01L_1stHO.png Image_01L_2ndHO.png"),  # CHASE_DB1
    ],
)
def test_several_masks_of_one_image_are_united_on_request_only(tmp_path: Path, images: str, masks: str) -> None:
    touch(tmp_path, *images.split(), *masks.split())
    assert kinds(find_cases(tmp_path)) == {"several_masks"}
    with pytest.raises(DataError, match=r"data\.unite_masks=true"):
        usable_cases(tmp_path)
    listing = usable_cases(tmp_path, UNITED)
    assert sorted(mask for found in paths(listing).values() for mask in found) == sorted(masks.split())
    assert is_whole(listing)


def test_one_of_two_readers_is_chosen_by_its_ending(tmp_path: Path) -> None:
    touch(tmp_path, *(f"Image_{n}L{end}" for n in ("01", "02") for end in (".jpg", "_1stHO.png", "_2ndHO.png")))
    assert "name it: data.masks='1stho'" in find_cases(tmp_path).problems[0].message
    listing = usable_cases(tmp_path, Declared(masks="1stHO"))
    assert pairs(listing) == {f"Image_{n}L.jpg": [f"Image_{n}L_1stHO.png"] for n in ("01", "02")}
    assert len(listing.passed_over) == 2


def test_masks_in_folders_of_their_own_are_united(tmp_path: Path) -> None:
    touch(tmp_path, "CXR/a.png", "ManualMask/leftMask/a.png", "ManualMask/rightMask/a.png")
    assert kinds(find_cases(tmp_path)) == {"which_masks"}
    with pytest.raises(DataError, match="unite_masks=true"):
        usable_cases(tmp_path)
    for masks in (None, "ManualMask"):
        assert pairs(usable_cases(tmp_path, Declared(masks, unite_masks=True))) == {"a.png": ["a.png", "a.png"]}


def test_a_question_of_many_folders_is_asked_once(tmp_path: Path) -> None:
    for case in ("0a", "0b", "0c"):  # DSB2018
        touch(tmp_path, f"{case}/images/{case}.png", f"{case}/masks/1.png", f"{case}/masks/2.png")
    (problem,) = find_cases(tmp_path).problems
    assert len(problem.names) == 3


@pytest.mark.parametrize(
    ("files", "declared", "named"),
    [
        ("images/a.png images/a.jpg masks/a.png", Declared(), r"a\.jpg"),  # two files of one name
        ("images/a.png images/x_b.png images/c.png masks/a_x_b.png masks/c.png", Declared(), "a_x_b|without"),
        ("images/a.png masks/a.png", Declared(masks="mask_of_lungs"), "mask_of_lungs .* found: masks"),
    ],
)
def test_what_contradicts_itself_is_refused(tmp_path: Path, files: str, declared: Declared, named: str) -> None:
    touch(tmp_path, *files.split())
    with pytest.raises(DataError, match=named):
        usable_cases(tmp_path, declared)
