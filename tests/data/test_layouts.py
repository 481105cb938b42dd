"""The search through the layouts (the first that finds anything reads the dataset), and that of QaTa-COV19."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests import fake
from tests.data.listings import sides, touch

from trustseg.data import LAYOUTS, fetch_qata, find_cases, write_phantoms
from trustseg.errors import DataError, MissingFileError, MissingPackageError


@pytest.mark.parametrize(
    ("files", "path", "error", "words"),
    [
        ("", "nowhere", MissingFileError, "nowhere does not exist"),
        ("file", "file", MissingFileError, "is a file"),
        ("", "", DataError, "holds no images .*none"),
        ("Train Set/Images/notes.txt", "", DataError, r"holds no images \(files found: 1 \.txt\)"),
        ("pack.json", "", DataError, "is a pack"),
        ("a.png,a.jpg", "", DataError, r"a\.jpg"),
    ],
)
def test_paths_without_a_dataset(tmp_path: Path, files: str, path: str, error: type[Exception], words: str) -> None:
    touch(tmp_path, *filter(None, files.split(",")))
    with pytest.raises(error, match=words):
        find_cases(tmp_path / path)


def test_every_layout_finds_nothing_in_an_empty_folder(tmp_path: Path) -> None:
    for name, find in LAYOUTS.items():
        assert find.__name__ == name
        assert not find(tmp_path, None)


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (("train", "test"), ["train-1", "own_train", "test-1", "own_test"]),
        (("train", "val"), ["train-images-1", "own_train", "val-images-1", "own_val"]),  # both on the training side
    ],
)
def test_a_name_that_comes_twice_gets_its_split_or_its_folders_in_front(
    tmp_path: Path, folders: tuple[str, str], names: list[str]
) -> None:
    for side in folders:
        touch(tmp_path / side, *(f"{kind}/{name}.png" for kind in ("images", "masks") for name in ("1", f"own_{side}")))
    assert [case.name for case in find_cases(tmp_path).cases] == names


def test_a_manifest_is_read_before_anything_else(tmp_path: Path) -> None:
    base = fake.qata(tmp_path, control=False)
    image = f"QaTa-COV19-v2/Train Set/Images/{fake.TRAIN[0]}.png"
    (base / "manifest.csv").write_text(f"image,mask,patient,split\n{image},,,train\n")
    listing = find_cases(base)
    assert listing.layout == next(iter(LAYOUTS)) == "manifest"
    assert (len(listing.cases), len(listing.passed_over)) == (1, 13)


@pytest.mark.parametrize("tail", ["", "QaTa-COV19", "QaTa-COV19/QaTa-COV19-v2", "."])
def test_qata_is_found_from_each_folder_above_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tail: str) -> None:
    fake.save(fake.image("a"), fake.qata(tmp_path) / "QaTa-COV19-v2" / "Train Set" / "Ambiguity" / "a.png")
    if tail == ".":
        monkeypatch.chdir(tmp_path / "QaTa-COV19" / "QaTa-COV19-v2")
    listing = find_cases(tmp_path / tail if tail != "." else ".")
    assert listing.layout == "qata"
    assert sides(listing) == {"train": set(fake.TRAIN), "test": set(fake.TEST), "control": set(fake.CONTROL)}
    assert not listing.unpaired_images
    assert not listing.unpaired_masks
    for case in listing.cases:
        assert [mask.name for mask in case.masks] == [f"mask_{case.name}.png"] * (case.split != "control")
    assert any("Control_Group_II is left out" in note for note in listing.notes)
    assert "Ambiguity" in {path.parent.name for path in listing.passed_over}


def test_qata_needs_no_control_group(tmp_path: Path) -> None:
    listing = find_cases(fake.qata(tmp_path, control=False))
    assert (len(listing.cases), listing.notes) == (7, ())
    group = tmp_path / "bare" / "Control_Group" / "Control_Group_I"
    touch(tmp_path / "bare", "Train Set/Images/a.png", "Train Set/Ground-truths/mask_a.png")
    control = find_cases(touch(group, "00000009_001.png").parents[1]).cases[-1]
    assert (control.split, control.patient, control.masks) == ("control", "00000009", ())


def test_the_maps_of_phantoms_are_known(tmp_path: Path) -> None:
    root = write_phantoms(tmp_path / "phantoms", train=2, test=1, control=1, size=32)
    assert find_cases(root).passed_over == ()
    (root / "phantoms.json").unlink()  # elsewhere such a folder is told
    assert len(find_cases(root).passed_over) == 3


@pytest.mark.parametrize("target", [None, Path("there")])
def test_qata_is_downloaded_to_the_target(monkeypatch: pytest.MonkeyPatch, target: Path | None) -> None:
    def download(handle: str, *, output_dir: str | None) -> str:
        assert handle == "aysendegerli/qatacov19-dataset"
        return output_dir or "/cache"

    monkeypatch.setitem(sys.modules, "kagglehub", SimpleNamespace(dataset_download=download))
    assert fetch_qata(target) == (target or Path("/cache"))


def test_a_download_that_fails_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(handle: str, *, output_dir: str | None) -> str:
        raise ConnectionError("no route to host")

    monkeypatch.setitem(sys.modules, "kagglehub", SimpleNamespace(dataset_download=fail))
    with pytest.raises(DataError, match=r"ConnectionError: no route to host.* elsewhere"):
        fetch_qata()
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'trustseg\[qata\]'"):
        fetch_qata()
