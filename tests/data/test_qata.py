from pathlib import Path

import pytest
from tests import fake

from trustseg.data import Listing, find_cases, write_phantoms


def names(listing: Listing, split: str) -> tuple[str, ...]:
    return tuple(case.name for case in listing.cases if case.split == split)


@pytest.mark.parametrize("tail", ["", "QaTa-COV19", "QaTa-COV19/QaTa-COV19-v2"])
def test_qata_is_found_from_each_folder_above_it(tmp_path: Path, tail: str) -> None:
    fake.qata(tmp_path)
    listing = find_cases(tmp_path / tail)
    assert listing.layout == "qata"
    assert names(listing, "train") == fake.TRAIN
    assert names(listing, "test") == fake.TEST
    assert names(listing, "control") == fake.CONTROL
    assert not listing.lone_images
    assert not listing.lone_masks
    assert all(
        [mask.name for mask in case.masks] == [f"mask_{case.name}.png"]
        for case in listing.cases
        if case.split != "control"
    )
    assert not any("virus" in case.name for case in listing.cases)
    assert any("Control_Group_II is left out" in note for note in listing.notes)


def test_qata_from_inside_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.qata(tmp_path)
    monkeypatch.chdir(tmp_path / "QaTa-COV19" / "QaTa-COV19-v2")
    assert names(find_cases("."), "control") == fake.CONTROL


def test_qata_needs_no_control_group(tmp_path: Path) -> None:
    listing = find_cases(fake.qata(tmp_path, control=False))
    assert len(listing.cases) == 7
    assert listing.notes == ()


def test_control_group_beside_a_bare_train_set(tmp_path: Path) -> None:
    fake.pairs(tmp_path / "Train Set", fake.TRAIN, images="Images", masks="Ground-truths", affix=("mask_", ""))
    fake.save(fake.image("c"), tmp_path / "Control_Group" / "Control_Group_I" / "00000009_001.png")
    listing = find_cases(tmp_path)
    assert names(listing, "control") == ("00000009_001",)
    assert listing.cases[-1].patient == "00000009"
    assert listing.cases[-1].masks == ()


def test_lvit_copy(tmp_path: Path) -> None:
    sides = {"Train_Folder": fake.TRAIN[:3], "Val_Folder": fake.TRAIN[3:], "Test_Folder": fake.TEST}
    listing = find_cases(fake.rearranged(tmp_path, sides, images="img", masks="labelcol"))
    assert listing.layout == "folder"
    assert [note.partition(" ")[0] for note in listing.notes] == ["validation"]
    assert sorted(names(listing, "train")) == sorted(fake.TRAIN)
    assert names(listing, "test") == fake.TEST


@pytest.mark.parametrize("masks", ["GTs", "Ground-truths"])
def test_languidemedseg_copy(tmp_path: Path, masks: str) -> None:
    sides = {"Train": fake.TRAIN, "Test": fake.TEST}
    listing = find_cases(fake.rearranged(tmp_path, sides, images="Images", masks=masks))
    assert listing.layout == "folder"
    assert names(listing, "train") == fake.TRAIN
    assert names(listing, "test") == fake.TEST


def test_unpaired_files_are_listed(tmp_path: Path) -> None:
    root = fake.qata(tmp_path)
    train = fake.train_set(tmp_path)
    (train / "Ground-truths" / "mask_covid_7.png").unlink()
    fake.save(fake.mask("x"), train / "Ground-truths" / "mask_covid_8.png")
    listing = find_cases(root)
    assert [path.name for path in listing.lone_images] == ["covid_7.png"]
    assert [path.name for path in listing.lone_masks] == ["mask_covid_8.png"]


def test_a_training_side_without_masks_is_no_control_group(tmp_path: Path) -> None:
    fake.save(fake.image("a"), tmp_path / "Train Set" / "Images" / "a.png")
    assert [case.split for case in find_cases(tmp_path).cases] == ["unlabelled"]


def test_what_lies_beside_images_and_ground_truths_is_passed_over(tmp_path: Path) -> None:
    root = fake.qata(tmp_path)
    fake.save(fake.image("a"), fake.train_set(tmp_path) / "Ambiguity" / "ambiguity_covid_7.png")
    listing = find_cases(root)
    assert {path.parent.name for path in listing.passed_over} == {"Ambiguity", "Pediatric_Viral_Pneumonia"}
    assert not any("covid_7" in note for note in listing.notes)


def test_the_maps_of_phantoms_are_known(tmp_path: Path) -> None:
    root = write_phantoms(tmp_path / "phantoms", train=2, test=1, control=1, size=32)
    assert find_cases(root).passed_over == ()
    (root / "phantoms.json").unlink()  # elsewhere such a folder is told
    assert len(find_cases(root).passed_over) == 3
