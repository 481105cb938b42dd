"""Folders are read by what their names say; nothing is guessed and nothing dropped."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from tests import fake
from tests.data.listings import is_whole, kinds, pairs, sides, touch

from trustseg.data import Declared, find_cases, usable_cases
from trustseg.errors import DataError

AFFIXES = [("", ""), ("mask_", ""), ("", "_mask"), ("", "-GT"), ("lesion.", ""), ("", "_manual1"), ("", "_1stHO")]


@pytest.mark.parametrize("folder", ["images", "img", "train/images", "pics", "."])
@pytest.mark.parametrize("mask", ["{}_mask.png", "mask_{}.png"])
def test_images_and_masks_may_share_a_folder_of_any_name(tmp_path: Path, folder: str, mask: str) -> None:
    names = [f"im{number}" for number in range(3)]
    touch(tmp_path / folder, *(f"{name}.png" for name in names), *map(mask.format, names))
    listing = find_cases(tmp_path)
    assert pairs(listing) == {f"{name}.png": [mask.format(name)] for name in names}
    assert is_whole(listing)


@pytest.mark.parametrize("affix", AFFIXES)
@pytest.mark.parametrize("end", [".png", ".JPEG", ".tif"])
def test_masks_find_their_images(tmp_path: Path, affix: tuple[str, str], end: str) -> None:
    listing = find_cases(fake.two_folders(tmp_path, affix=affix, end=end))
    assert listing.layout == "folder"
    assert [case.name for case in listing.cases] == list(fake.TRAIN)
    assert is_whole(listing)
    assert {case.split for case in listing.cases} == {"train"}
    assert all([mask.stem for mask in case.masks] == [f"{affix[0]}{case.name}{affix[1]}"] for case in listing.cases)


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("images", "masks"),
        ("Images", "GroundTruth"),
        ("imgs", "labels"),
        ("image", "Ground truth"),
        ("images", "1st_manual"),
        ("images", "manual"),
        ("images", "seg"),
        ("images", "lesion"),
        ("images", "infection masks"),
        ("images", "lung_masks"),
        ("CXR_png", "masks"),  # the folder of images may have any name
        ("", "masks"),
        ("images/batch2", "masks/batch2"),
        ("deep/below/images/a/b", "deep/below/masks/a/b"),
        ("train_images", "train_masks"),
    ],
)
def test_folder_names(tmp_path: Path, images: str, masks: str) -> None:
    names = [f"{name}.png" for name in "abc"]
    touch(tmp_path / images, *names)
    touch(tmp_path / masks, *names)
    listing = usable_cases(tmp_path)
    assert pairs(listing) == {name: [name] for name in names}
    assert is_whole(listing)
    assert sides(listing) == {"train": {"a", "b", "c"}}


# What is put in place of SIDE: a training image -> its mask, and a test image -> its mask.
LAYOUTS = {
    "ISIC 2018": (
        "ISIC2018_Task1-2_{}_Input/ISIC_0.jpg",
        "ISIC2018_Task1_{}_GroundTruth/ISIC_0_segmentation.png",
        ("Training", "Test"),
    ),
    "ISIC 2017": (
        "ISIC-2017_{}_Data/ISIC_0.jpg",
        "ISIC-2017_{}_Part1_GroundTruth/ISIC_0_segmentation.png",
        ("Training", "Test_v2"),
    ),
    "one folder, as ISIC": ("{}/ISIC_0.jpg", "{}/ISIC_0_segmentation.png", ("train", "test")),
    "BUSI": ("{}/benign/benign (1).png", "{}/benign/benign (1)_mask.png", ("train", "test")),
    "DSB2018": ("stage1_{}/0a/images/0a.png", "stage1_{}/0a/masks/ff01.png", ("train", "test")),
    "LViT": ("{}_Folder/img/a.png", "{}_Folder/labelcol/mask_a.png", ("Train", "Test")),
    "LanGuideMedSeg": ("{}/Images/a.png", "{}/GTs/mask_a.png", ("Train", "Test")),
    "its forks": ("{}/Images/a.png", "{}/Ground-truths/mask_a.png", ("Train", "Test")),
    "training and testing": ("{}/images/a.png", "{}/masks/a.png", ("training", "testing")),
    "sides below": ("images/{}/a.png", "masks/{}/a.png", ("train", "test")),
    "Kvasir-SEG": ("Kvasir-SEG/images/{}/a.jpg", "Kvasir-SEG/masks/{}/a.jpg", ("train", "test")),
    "COVID-QU-Ex": (
        "Infection Segmentation Data/{}/COVID-19/images/a.png",
        "Infection Segmentation Data/{}/COVID-19/infection masks/a.png",
        ("Train", "Test"),
    ),
    "Carvana": ("{}/a.jpg", "{}_masks/a_mask.gif", ("train", "test")),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_published_layouts(tmp_path: Path, layout: str) -> None:
    image, mask, sides = LAYOUTS[layout]
    files = {image.format(side): mask.format(side) for side in sides}
    touch(tmp_path, *files, *files.values())
    listing = usable_cases(tmp_path)
    found = {case.image.relative_to(tmp_path).as_posix(): case for case in listing.cases}
    assert {name: case.masks[0].relative_to(tmp_path).as_posix() for name, case in found.items()} == files
    assert [found[name].split for name in files] == ["train", "test"]
    assert is_whole(listing)


def test_nnunet(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/a_0000.png", "imagesTr/b_0000.png", "labelsTr/a.png", "labelsTr/b.png")
    touch(tmp_path, "imagesTs/c_0000.png")
    listing = usable_cases(tmp_path)
    assert pairs(listing) == {"a_0000.png": ["a.png"], "b_0000.png": ["b.png"]}
    assert sides(listing) == {"train": {"a_0000", "b_0000"}, "unlabelled": {"c_0000"}}


@pytest.mark.parametrize(
    "folders",
    [
        *(
            ("Train", "Val", "test"),
            ("trainset", "valset", "testset"),
            ("internal_train", "internal_val", "internal_test"),
        ),
        ("ISIC2018_Training", "ISIC2018_Validation", "ISIC2018_Test"),
    ],
)
def test_train_val_and_test_subfolders(tmp_path: Path, folders: tuple[str, str, str]) -> None:
    for side, names in zip(folders, (fake.TRAIN[:3], fake.TRAIN[3:], fake.TEST), strict=True):
        fake.pairs(tmp_path / side, names, images="images", masks="Masks")
    listing = find_cases(tmp_path)
    assert sides(listing) == {"train": set(fake.TRAIN), "test": set(fake.TEST)}
    assert "validation" in listing.notes[0]


def test_masks_in_folders_named_after_those_of_the_images(tmp_path: Path) -> None:
    for folder in ("train", "test"):
        touch(tmp_path, *(f"{folder}{kind}/{folder}{number}.png" for kind in ("", "annot") for number in range(2)))
    listing = usable_cases(tmp_path)  # as in CamVid
    assert sides(listing) == {"train": {"train0", "train1"}, "test": {"test0", "test1"}}
    assert pairs(listing)["test0.png"] == ["test0.png"]


def test_pairs_beside_a_test_folder_are_training_cases(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png", "test/images/b.png", "test/masks/b.png")
    assert sides(usable_cases(tmp_path)) == {"train": {"a"}, "test": {"b"}}


# --- what would be lost ----------------------------------------------------------------------------------------------

WHOLE = ("test/images/a.png", "test/masks/a.png", "train/images/b.png", "train/masks/b.png")


@pytest.mark.parametrize(
    ("more", "images", "masks"),
    [
        (["test/c.png"], ["c.png"], []),  # loose in a side
        (["Test B/c.png"], ["c.png"], []),
        (["test/images/c.webp"], ["c.webp"], []),
        (["train/images/c.dcm"], ["c.dcm"], []),
        (["train/masks/c.png"], [], ["c.png"]),
        (["train/images/more/c.png"], ["c.png"], []),
        (["Val/images/c.png"], ["c.png"], []),
        (["train/images/c.png", "train/masks/c2.png"], ["c.png"], ["c2.png"]),
    ],
)
def test_files_without_a_partner_are_errors(
    tmp_path: Path, more: Iterable[str], images: list[str], masks: list[str]
) -> None:
    listing = find_cases(touch(tmp_path, *WHOLE, *more))
    assert [file.name for file in listing.lone_images] == images
    assert [file.name for file in listing.lone_masks] == masks
    with pytest.raises(DataError, match="without"):
        usable_cases(tmp_path)


def test_a_loose_file_in_a_test_folder_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png", "test/b.png")
    assert [file.name for file in find_cases(tmp_path).lone_images] == ["b.png"]


def test_pairs_beside_images_and_masks_are_not_lost(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png", "b.png", "b_mask.png")
    assert {file.name for file in find_cases(tmp_path).lone_images} == {"b.png", "b_mask.png"}


def test_other_pictures_are_named_and_counted(tmp_path: Path) -> None:
    touch(tmp_path, *WHOLE, "docs/figure.png", "overview.jpg", "train/previews/b.png", "lungs/a.png", "lungs/b.png")
    listing = usable_cases(tmp_path)
    assert len(listing.cases) == 2
    assert {file.name for file in listing.passed_over} == {"figure.png", "overview.jpg", "a.png", "b.png"}
    assert "docs/figure.png" in listing.below(listing.passed_over)


def test_files_whose_content_was_not_fetched_are_errors(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png")
    for folder in ("images", "masks"):
        (tmp_path / folder / "b.png").symlink_to(tmp_path / "annex" / "b.png")
    listing = find_cases(tmp_path)
    (problem,) = listing.problems
    assert problem.kind == "broken_link"
    assert len(problem.names) == 2
    with pytest.raises(DataError, match=r"b\.png"):
        usable_cases(tmp_path)


@pytest.mark.parametrize("link", ["test", "images/more", "site.2/images"])
def test_a_link_to_a_folder_that_is_gone_is_an_error(tmp_path: Path, link: str) -> None:
    (tmp_path / link).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / link).symlink_to(tmp_path / "nowhere")
    (problem,) = find_cases(touch(tmp_path, "images/a.png", "masks/a.png")).problems
    assert (problem.kind, problem.names) == ("broken_link", (str(tmp_path / link),))


# --- controls and unlabelled images ----------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["", "images", "deep/images", "test", "films", "lesion"])
def test_images_alone_are_unlabelled(tmp_path: Path, folder: str) -> None:
    touch(tmp_path / folder, "a.png", "b.png")
    listing = usable_cases(tmp_path)
    assert [(case.name, case.masks, case.split) for case in listing.cases] == [
        ("a", (), "unlabelled"),
        ("b", (), "unlabelled"),
    ]


@pytest.mark.parametrize(
    ("folder", "controls"),
    [("control", None), ("Controls/images", None), ("healthy", "healthy"), ("a/b", "a/b"), ("", ".")],
)
def test_controls_are_declared(tmp_path: Path, folder: str, controls: str | None) -> None:
    touch(tmp_path / folder, "a.png")
    assert [case.split for case in usable_cases(tmp_path, Declared(controls=controls)).cases] == ["control"]


def test_a_folder_named_control_holds_controls(tmp_path: Path) -> None:
    touch(tmp_path / "control", "a.png")
    assert [case.split for case in find_cases(tmp_path / "control").cases] == ["control"]


def test_images_without_masks_among_others_are_errors_unless_declared(tmp_path: Path) -> None:
    touch(tmp_path, "COVID/images/a.png", "COVID/infection masks/a.png", "Normal/images/b.png")
    assert [file.name for file in find_cases(tmp_path).lone_images] == ["b.png"]
    assert sides(usable_cases(tmp_path, Declared(controls="Normal"))) == {"train": {"a"}, "control": {"b"}}


def test_a_test_side_without_any_masks_is_unlabelled(tmp_path: Path) -> None:
    listing = usable_cases(touch(tmp_path, "train/images/a.png", "train/masks/a.png", "test/images/b.png"))
    assert sides(listing) == {"train": {"a"}, "unlabelled": {"b"}}
    assert "1 are unlabelled" in listing.notes[0]


# --- questions -------------------------------------------------------------------------------------------------------


def test_drive(tmp_path: Path) -> None:
    for side, number in (("training", 21), ("test", 1)):
        stem = f"{number:02}_{side}"
        touch(tmp_path / side, f"images/{stem}.tif", f"1st_manual/{number:02}_manual1.gif", f"mask/{stem}_mask.gif")
    touch(tmp_path, "test/2nd_manual/01_manual2.gif")
    assert kinds(find_cases(tmp_path)) == {"which_masks"}
    listing = usable_cases(tmp_path, Declared(masks="1st_manual"))
    assert pairs(listing) == {"21_training.tif": ["21_manual1.gif"], "01_test.tif": ["01_manual1.gif"]}
    assert sides(listing) == {"train": {"21_training"}, "test": {"01_test"}}


@pytest.mark.parametrize(
    "name",
    [
        *("holdout", "hold-out", "Held_Out", "external", "external validation", "eval", "hold-out 2"),
        *("internal_test", "testA", "test-clean", "Testing Set B", "TestDataset", "siteTest_2", "testdata"),
    ],
)
def test_images_set_aside_are_never_trained_on(tmp_path: Path, name: str) -> None:
    files = [f"{side}/{kind}/{side}.png" for side in ("train", name) for kind in ("images", "masks")]
    assert sides(usable_cases(touch(tmp_path, *files))) == {"train": {"train"}, "test": {name}}


def test_axes_beside_a_side_name_images_and_masks(tmp_path: Path) -> None:
    for side in ("train", "test"):
        touch(tmp_path, *(f"{axis}_{side}/{side}{number}.png" for axis in ("X", "y") for number in range(2)))
    listing = find_cases(tmp_path)
    assert pairs(listing) == {
        f"{side}{number}.png": [f"{side}{number}.png"] for side in ("train", "test") for number in (0, 1)
    }
    assert sides(listing) == {"train": {"train0", "train1"}, "test": {"test0", "test1"}}
    assert is_whole(listing)


@pytest.mark.parametrize("masks", ["Task1_Training_GroundTruth", "Training_Data"])
def test_superpixels_are_passed_over(tmp_path: Path, masks: str) -> None:
    names = [f"ISIC_000{number}" for number in range(3)]
    files = [f"Training_Data/{name}{end}" for name in names for end in (".jpg", "_superpixels.png")]
    touch(tmp_path, *files, *(f"{masks}/{name}_segmentation.png" for name in names))
    listing = find_cases(tmp_path)
    assert pairs(listing) == {f"{name}.jpg": [f"{name}_segmentation.png"] for name in names}
    assert [file.name for file in listing.passed_over] == [f"{name}_superpixels.png" for name in names]
    assert is_whole(replace(listing, passed_over=()))
