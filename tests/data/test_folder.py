"""Folders are read by what their names say; nothing is guessed and nothing dropped."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests import fake
from tests.data.listings import is_whole, kinds, pairs, paths, sides, touch

from trustseg.data import Declared, find_cases, usable_cases
from trustseg.errors import DataError

# An image and its mask; NAME stands for three names.
ONE_SIDE = [
    *(
        (f"{folder}NAME.png", f"{folder}{mask}.png")
        for folder in ("", "images/")
        for mask in ("NAME_mask", "mask_NAME")
    ),
    *(("train/images/NAME.png", "train/images/mask_NAME.png"), ("pics/NAME.png", "pics/NAME_mask.png")),
    *((f"images/NAME{end}", "masks/NAME.png") for end in (".png", ".JPEG", ".tif")),
    *((f"images/NAME{end}", "masks/mask_NAME.png") for end in (".JPEG", ".tif")),
    *(("images/NAME.png", f"masks/{mask}.png") for mask in ("NAME-GT", "lesion.NAME", "NAME_manual1", "NAME_1stHO")),
    *(("Images/NAME.png", "GroundTruth/NAME.png"), ("imgs/NAME.png", "labels/NAME.png")),
    *(("image/NAME.png", f"{masks}/NAME.png") for masks in ("Ground truth", "1st_manual", "manual", "seg", "lesion")),
    *(("images/NAME.png", f"{masks}/NAME.png") for masks in ("infection masks", "lung_masks")),
    ("CXR_png/NAME.png", "masks/NAME.png"),  # the folder of images may have any name
    ("NAME.png", "masks/NAME.png"),
    ("images/batch2/NAME.png", "masks/batch2/NAME.png"),
    ("deep/below/images/a/b/NAME.png", "deep/below/masks/a/b/NAME.png"),
    ("train_images/NAME.png", "train_masks/NAME.png"),
]


@pytest.mark.parametrize(("image", "mask"), ONE_SIDE)
def test_images_find_their_masks(tmp_path: Path, image: str, mask: str) -> None:
    files = {image.replace("NAME", name): mask.replace("NAME", name) for name in fake.TRAIN[:3]}
    listing = usable_cases(touch(tmp_path, *files, *files.values()))
    assert listing.layout == "folder"
    assert paths(listing) == {name: (found,) for name, found in files.items()}
    assert sides(listing) == {"train": set(fake.TRAIN[:3])}
    assert is_whole(listing)


# What is put in place of SIDE: a training image -> its mask, and a test image -> its mask.
TWO_SIDES = {
    "ISIC 2018": (
        "ISIC2018_Task1-2_SIDE_Input/ISIC_0.jpg",
        "ISIC2018_Task1_SIDE_GroundTruth/ISIC_0_segmentation.png",
        ("Training", "Test"),
    ),
    "ISIC 2017": (
        "ISIC-2017_SIDE_Data/ISIC_0.jpg",
        "ISIC-2017_SIDE_Part1_GroundTruth/ISIC_0_segmentation.png",
        ("Training", "Test_v2"),
    ),
    "one folder, as ISIC": ("SIDE/ISIC_0.jpg", "SIDE/ISIC_0_segmentation.png", ("train", "test")),
    "BUSI": ("SIDE/benign/benign (1).png", "SIDE/benign/benign (1)_mask.png", ("train", "test")),
    "DSB2018": ("stage1_SIDE/0a/images/0a.png", "stage1_SIDE/0a/masks/ff01.png", ("train", "test")),
    "LViT": ("SIDE_Folder/img/a.png", "SIDE_Folder/labelcol/mask_a.png", ("Train", "Test")),
    "LanGuideMedSeg": ("SIDE/Images/a.png", "SIDE/GTs/mask_a.png", ("Train", "Test")),
    "its forks": ("SIDE/Images/a.png", "SIDE/Ground-truths/mask_a.png", ("Train", "Test")),
    "training and testing": ("SIDE/images/a.png", "SIDE/masks/a.png", ("training", "testing")),
    "sides below": ("images/SIDE/a.png", "masks/SIDE/a.png", ("train", "test")),
    "Kvasir-SEG": ("Kvasir-SEG/images/SIDE/a.jpg", "Kvasir-SEG/masks/SIDE/a.jpg", ("train", "test")),
    "COVID-QU-Ex": (
        "Infection Segmentation Data/SIDE/COVID-19/images/a.png",
        "Infection Segmentation Data/SIDE/COVID-19/infection masks/a.png",
        ("Train", "Test"),
    ),
    "Carvana": ("SIDE/a.jpg", "SIDE_masks/a_mask.gif", ("train", "test")),
    "CamVid": ("SIDE/SIDE0.png", "SIDEannot/SIDE0.png", ("train", "test")),
    "axes": ("X_SIDE/SIDE0.png", "y_SIDE/SIDE0.png", ("train", "test")),
    "pairs around a side": ("SIDE/images/a.png", "SIDE/masks/a.png", (".", "test")),
    **{
        name: ("SIDE/images/a.png", "SIDE/masks/a.png", ("train", name))
        for name in (
            *("holdout", "hold-out", "Held_Out", "external", "external validation", "eval", "hold-out 2"),
            *("internal_test", "testA", "test-clean", "Testing Set B", "TestDataset", "siteTest_2", "testdata"),
        )
    },
}


@pytest.mark.parametrize("layout", TWO_SIDES)
def test_a_training_and_a_test_side(tmp_path: Path, layout: str) -> None:
    image, mask, names = TWO_SIDES[layout]
    files = {image.replace("SIDE", side): mask.replace("SIDE", side) for side in names}
    listing = usable_cases(touch(tmp_path, *files, *files.values()))
    train, test = ((name.removeprefix("./"), (found.removeprefix("./"),)) for name, found in files.items())
    assert paths(listing) == dict((train, test))
    assert [case.split for case in listing.cases] == ["train", "test"]
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
        *(("Train", "Val", "test"), ("trainset", "valset", "testset"), ("Train_Folder", "Val_Folder", "Test_Folder")),
        ("internal_train", "internal_val", "internal_test"),
        ("ISIC2018_Training", "ISIC2018_Validation", "ISIC2018_Test"),
    ],
)
def test_a_validation_side_joins_the_training_side(tmp_path: Path, folders: tuple[str, ...]) -> None:
    touch(tmp_path, *(f"{side}/{kind}/{side}_1.png" for side in folders for kind in ("images", "Masks")))
    listing = find_cases(tmp_path)
    assert sides(listing) == {"train": {f"{side}_1" for side in folders[:2]}, "test": {f"{folders[2]}_1"}}
    assert "validation" in listing.notes[0]


# --- what would be lost ----------------------------------------------------------------------------------------------

WHOLE = ("test/images/a.png", "test/masks/a.png", "train/images/b.png", "train/masks/b.png")


@pytest.mark.parametrize(
    ("files", "images", "masks"),
    [
        ([*WHOLE, "test/c.png"], "c.png", ""),  # loose in a side
        ([*WHOLE, "Test B/c.png"], "c.png", ""),
        ([*WHOLE, "test/images/c.webp"], "c.webp", ""),
        ([*WHOLE, "train/images/c.dcm"], "c.dcm", ""),
        ([*WHOLE, "train/masks/c.png"], "", "c.png"),
        ([*WHOLE, "train/images/more/c.png"], "c.png", ""),
        ([*WHOLE, "Val/images/c.png"], "c.png", ""),
        ([*WHOLE, "train/images/c.png", "train/masks/c2.png"], "c.png", "c2.png"),
        (["images/a.png", "masks/a.png", "test/b.png"], "b.png", ""),
        (["images/a.png", "masks/a.png", "b.png", "b_mask.png"], "b.png b_mask.png", ""),
        (["Train Set/Images/a.png", "Train Set/Images/b.png", "Train Set/Ground-truths/mask_b.png"], "a.png", ""),
    ],
)
def test_files_without_a_partner_are_errors(tmp_path: Path, files: list[str], images: str, masks: str) -> None:
    listing = find_cases(touch(tmp_path, *files))
    assert [file.name for file in listing.unpaired_images] == images.split()
    assert [file.name for file in listing.unpaired_masks] == masks.split()
    with pytest.raises(DataError, match="without"):
        usable_cases(tmp_path)


def test_other_pictures_are_named_and_counted(tmp_path: Path) -> None:
    touch(tmp_path, *WHOLE, "docs/figure.png", "overview.jpg", "train/previews/b.png", "lungs/a.png", "lungs/b.png")
    listing = usable_cases(tmp_path)
    assert len(listing.cases) == 2
    assert {file.name for file in listing.passed_over} == {"figure.png", "overview.jpg", "a.png", "b.png"}
    assert "docs/figure.png" in listing.below(listing.passed_over)


@pytest.mark.parametrize("masks", ["Task1_Training_GroundTruth", "Training_Data"])
def test_superpixels_are_passed_over(tmp_path: Path, masks: str) -> None:
    names = [f"ISIC_000{number}" for number in range(3)]
    files = [f"Training_Data/{name}{end}" for name in names for end in (".jpg", "_superpixels.png")]
    listing = find_cases(touch(tmp_path, *files, *(f"{masks}/{name}_segmentation.png" for name in names)))
    assert pairs(listing) == {f"{name}.jpg": [f"{name}_segmentation.png"] for name in names}
    assert [file.name for file in listing.passed_over] == [f"{name}_superpixels.png" for name in names]
    assert is_whole(replace(listing, passed_over=()))


@pytest.mark.parametrize("links", [["images/b.png", "masks/b.png"], ["test"], ["images/more"], ["site.2/images"]])
def test_links_to_nothing_are_errors(tmp_path: Path, links: list[str]) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png")
    for link in links:
        (tmp_path / link).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / link).symlink_to(tmp_path / "nowhere")
    (problem,) = find_cases(tmp_path).problems
    assert (problem.kind, problem.names) == ("broken_link", tuple(str(tmp_path / link) for link in links))
    with pytest.raises(DataError, match=links[0]):
        usable_cases(tmp_path)


# --- controls and unlabelled images ----------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["", "images", "deep/images", "test", "films", "lesion", "Train Set/Images"])
def test_images_alone_are_unlabelled(tmp_path: Path, folder: str) -> None:
    touch(tmp_path / folder, "a.png", "b.png")
    listing = usable_cases(tmp_path)
    assert sides(listing) == {"unlabelled": {"a", "b"}}
    assert pairs(listing) == {}


@pytest.mark.parametrize(
    ("folder", "controls"),
    [("control", None), ("Controls/images", None), ("healthy", "healthy"), ("a/b", "a/b"), ("", ".")],
)
def test_controls_are_declared(tmp_path: Path, folder: str, controls: str | None) -> None:
    touch(tmp_path / folder, "a.png")
    assert [case.split for case in usable_cases(tmp_path, Declared(controls=controls)).cases] == ["control"]


def test_a_folder_named_control_holds_controls(tmp_path: Path) -> None:
    assert sides(find_cases(touch(tmp_path / "control", "a.png"))) == {"control": {"a"}}


def test_images_without_masks_among_others_are_errors_unless_declared(tmp_path: Path) -> None:
    touch(tmp_path, "COVID/images/a.png", "COVID/infection masks/a.png", "Normal/images/b.png")
    assert [file.name for file in find_cases(tmp_path).unpaired_images] == ["b.png"]
    assert sides(usable_cases(tmp_path, Declared(controls="Normal"))) == {"train": {"a"}, "control": {"b"}}


def test_a_test_side_without_any_masks_is_unlabelled(tmp_path: Path) -> None:
    listing = usable_cases(touch(tmp_path, "train/images/a.png", "train/masks/a.png", "test/images/b.png"))
    assert sides(listing) == {"train": {"a"}, "unlabelled": {"b"}}
    assert "1 are unlabelled" in listing.notes[0]


def test_controls_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png", "more/healthy/h.png")
    for controls in ("healthy", "more/healthy", "more"):
        assert sides(usable_cases(tmp_path, Declared(controls=controls)))["control"] == {"h"}
    assert kinds(find_cases(tmp_path, Declared(controls="nope"))) == {"which_controls"}
    with pytest.raises(DataError, match=r"data\.controls=nope .*found: images, masks, more, more/healthy"):
        usable_cases(tmp_path, Declared(controls="nope"))
