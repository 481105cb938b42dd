"""The search through the layouts: the first that finds anything reads the dataset."""

from pathlib import Path

import pytest
from tests import fake

from trustseg.data import LAYOUTS, find_cases
from trustseg.errors import DataError, MissingFileError


def test_paths_without_a_dataset(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="nowhere does not exist"):
        find_cases(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(MissingFileError, match="is a file"):
        find_cases(tmp_path / "file")
    with pytest.raises(DataError, match="holds no images"):
        find_cases(tmp_path)
    (tmp_path / "Train Set" / "Images").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no images"):
        find_cases(tmp_path)


def test_every_layout_finds_nothing_in_an_empty_folder(tmp_path: Path) -> None:
    for name, find in LAYOUTS.items():
        assert find.__name__ == name
        assert not find(tmp_path, None)


def test_a_name_that_comes_twice_gets_its_split_in_front(tmp_path: Path) -> None:
    for side in ("train", "test"):
        fake.pairs(tmp_path / side, ["1", f"own_{side}"], images="images", masks="masks")
    assert [case.name for case in find_cases(tmp_path).cases] == ["train-1", "own_train", "test-1", "own_test"]


def test_a_pack_is_no_folder_of_images(tmp_path: Path) -> None:
    (tmp_path / "pack.json").touch()
    with pytest.raises(DataError, match="is a pack"):
        find_cases(tmp_path)


def test_names_that_no_split_tells_apart_get_their_folders(tmp_path: Path) -> None:
    for side in ("train", "val"):  # both on the training side
        fake.pairs(tmp_path / side, ["1"], images="images", masks="masks")
    assert [case.name for case in find_cases(tmp_path).cases] == ["train-images-1", "val-images-1"]


def test_patients_that_differ_only_in_case_are_one(tmp_path: Path) -> None:
    fake.two_folders(tmp_path, ["sub-S1_run-1", "sub-s1_run-2", "sub-S2_run-1"])
    assert [case.patient for case in find_cases(tmp_path).cases] == ["S1", "S2", "S1"]


def test_two_images_of_one_name_in_one_folder_are_refused(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg"):
        fake.save(fake.image("a"), tmp_path / name)
    with pytest.raises(DataError, match=r"a\.jpg"):
        find_cases(tmp_path)


def test_a_manifest_is_read_before_anything_else(tmp_path: Path) -> None:
    base = fake.qata(tmp_path, control=False)
    image = f"QaTa-COV19-v2/Train Set/Images/{fake.TRAIN[0]}.png"
    (base / "manifest.csv").write_text(f"image,mask,patient,split\n{image},,,train\n")
    listing = find_cases(base)
    assert listing.layout == next(iter(LAYOUTS)) == "manifest"
    assert len(listing.cases) == 1
    assert len(listing.passed_over) == 13
