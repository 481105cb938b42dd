"""A set of phantoms in a folder: the layout of QaTa, the same bytes each time, nothing overwritten."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trustseg.data.phantom import phantom, write_phantoms
from trustseg.errors import DataError

NAME = re.compile(r"sub-S(?P<patient>\d{5})_ses-E\d{5}_run-1_bp-chest_vp-(?:pa|ap)_dx\.png")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(tmp_path_factory.mktemp("made") / "set", train=9, test=5, control=3, size=48, seed=3)


def fingerprints(root: Path) -> dict[str, str]:
    files = (file for file in root.rglob("*.png"))
    return {str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def pixels(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        assert image.mode == "L"
        return np.asarray(image)


def test_folders_and_names_are_those_of_qata(written: Path) -> None:
    patients = []
    for split, count in (("Train Set", 9), ("Test Set", 5)):
        names = sorted(file.name for file in (written / split / "Images").iterdir())
        assert len(names) == count
        masks = sorted(file.name for file in (written / split / "Ground-truths").iterdir())
        maps = sorted(file.name for file in (written / split / "Ambiguity").iterdir())
        assert masks == [f"mask_{name}" for name in names]
        assert maps == [f"ambiguity_{name}" for name in names]
        matches = [NAME.fullmatch(name) for name in names]
        patients.append({match["patient"] for match in matches if match})
        assert all(matches)
    controls = sorted((written / "Control_Group" / "Control_Group_I").iterdir())
    patients.append({file.name[5:10] for file in controls})
    assert len(controls) == 3
    assert sum(map(len, patients)) == len(set.union(*patients))
    assert {file.name for file in written.iterdir()} == {"Train Set", "Test Set", "Control_Group", "phantoms.json"}
    facts = json.loads((written / "phantoms.json").read_text())
    assert facts.items() >= {"seed": 3, "size": 48, "train": 9, "test": 5, "control": 3}.items()


def test_files_hold_what_the_pure_function_returns(written: Path) -> None:
    file = min((written / "Train Set" / "Images").glob("sub-S00001_*"))
    made = phantom(3, 1, 1, size=48)
    assert f"vp-{made.view}_" in file.name
    np.testing.assert_array_equal(pixels(file), made.image)
    mask = pixels(written / "Train Set" / "Ground-truths" / f"mask_{file.name}")
    np.testing.assert_array_equal(mask, 255 * made.mask.astype(np.uint8))
    chance = pixels(written / "Train Set" / "Ambiguity" / f"ambiguity_{file.name}")
    np.testing.assert_array_equal(chance, made.ambiguity)


def test_two_processes_write_the_same_bytes_as_one(written: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    counts = {"train": 9, "test": 5, "control": 3}
    again = write_phantoms(tmp_path / "again", **counts, size=48, seed=3, jobs=2, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 17
    assert fingerprints(again) == fingerprints(written)


def test_a_smaller_set_is_the_beginning_of_a_larger_one(written: Path, tmp_path: Path) -> None:
    small = fingerprints(write_phantoms(tmp_path / "small", train=4, test=5, control=0, size=48, seed=3))
    large = fingerprints(written)
    assert small == {name: large[name] for name in small}
    assert not (tmp_path / "small" / "Control_Group").exists()


def test_an_empty_folder_may_be_filled_but_nothing_is_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "set"
    target.mkdir(parents=True)
    assert write_phantoms(target, train=1, test=0, control=0, size=32) == target
    before = fingerprints(target)
    with pytest.raises(DataError, match=r"is not empty, expected a new or empty folder; remove it"):
        write_phantoms(target, train=2, size=32)
    assert fingerprints(target) == before
    (tmp_path / "file").touch()
    for path, words in (("file", "is a file"), ("file/below", "cannot be written")):
        with pytest.raises(DataError, match=words):
            write_phantoms(tmp_path / path, train=1)
    assert [entry.name for entry in target.parent.iterdir()] == ["set"]


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_phantoms(tmp_path / "set", train=3, test=0, control=0, size=32, progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 31}, "size is 31 px, expected 32 to 1024"),
        ({"size": 4096}, "size is 4096 px"),
        ({"train": -1}, "train is -1 images, expected 0 or more"),
        ({"control": -2}, "control is -2 images"),
        ({"train": 0, "test": 0, "control": 0}, "are all 0, expected at least one image"),
        ({"seed": -1}, "seed is -1, expected a whole number of at least 0"),
        ({"jobs": 0}, "jobs is 0, expected at least 1 process"),
    ],
)
def test_bad_arguments_are_explained(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        write_phantoms(tmp_path / "set", **options)
    assert list(tmp_path.iterdir()) == []
