"""The search through the layouts: the first that finds anything reads the dataset."""

from pathlib import Path

import pytest
from tests import fake

from trustseg.data import LAYOUTS, find_cases
from trustseg.errors import DataError, MissingFileError


def test_paths_without_a_dataset(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"nowhere does not exist, expected a dataset folder; check the path"):
        find_cases(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(MissingFileError, match="is a file, expected a dataset folder"):
        find_cases(tmp_path / "file")
    with pytest.raises(DataError, match="holds no images in a known layout, expected images/ and masks/"):
        find_cases(tmp_path)
    (tmp_path / "Train Set" / "Images").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no images"):
        find_cases(tmp_path)


def test_every_layout_finds_nothing_in_an_empty_folder(tmp_path: Path) -> None:
    for name, find in LAYOUTS.items():
        assert find.__name__ == name
        assert not find(tmp_path)


def test_a_name_that_comes_twice_gets_its_split_in_front(tmp_path: Path) -> None:
    for side in ("train", "test"):
        fake.pairs(tmp_path / side, ["1", f"own_{side}"], images="images", masks="masks")
    assert [case.name for case in find_cases(tmp_path).cases] == ["train-1", "own_train", "test-1", "own_test"]


def test_a_pack_is_no_folder_of_images(tmp_path: Path) -> None:
    (tmp_path / "pack.json").touch()
    with pytest.raises(DataError, match="is a pack, expected the folder of images that it was made from"):
        find_cases(tmp_path)


def test_names_that_no_split_tells_apart_are_refused(tmp_path: Path) -> None:
    for side in ("train", "val"):  # both on the training side
        fake.pairs(tmp_path / side, ["1"], images="images", masks="masks")
    with pytest.raises(DataError, match="1 names come twice, such as train-1, expected one image a name; rename them"):
        find_cases(tmp_path)


def test_only_the_first_layout_that_finds_anything_reads(tmp_path: Path) -> None:
    fake.qata(tmp_path, control=False)
    base = tmp_path / "QaTa-COV19" / "QaTa-COV19-v2"
    fake.pairs(base, ["x"], images="images", masks="masks")
    listing = find_cases(base)
    assert listing.layout == next(iter(LAYOUTS)) == "qata"
    assert "x" not in {case.name for case in listing.cases}
