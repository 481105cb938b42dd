"""Packs are kept once, for their owner alone, and made again where the files changed."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests import fake

from trustseg.data import open_dataset, pack_cases, pack_files, packing, write_pack
from trustseg.errors import DataError, MissingFileError


def test_only_the_owner_can_read_a_pack(tmp_path: Path) -> None:
    open_dataset(fake.two_folders(tmp_path / "data"), size=8, cache=tmp_path / "new" / "cache")
    for path in [tmp_path / "new", *(tmp_path / "new").rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_what_a_killed_packing_left_is_removed_but_not_what_is_being_written(tmp_path: Path) -> None:
    left = tmp_path / ".pack.0123.part"
    left.mkdir()
    with pack_files.temporary_folder(tmp_path / "pack") as living:
        assert not left.exists()
        with pack_files.temporary_folder(tmp_path / "pack") as other:
            assert living.is_dir()
            assert other != living
    assert not list(tmp_path.iterdir())


def test_open_dataset_packs_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fake.qata(tmp_path / "data")
    monkeypatch.setenv("TRUSTSEG_CACHE", str(tmp_path / "cache"))
    first = open_dataset(root, size=8)
    with monkeypatch.context() as patch:
        patch.setattr(packing, "_build", lambda *_, **__: pytest.fail("packed again"))
        again = open_dataset(root, size=8)
    assert first.digest == again.digest
    assert len(list((tmp_path / "cache" / "packs").iterdir())) == 1
    fake.save(fake.image("other"), root / "QaTa-COV19-v2" / "Train Set" / "Images" / "covid_7.png")
    assert open_dataset(root, size=8).digest != first.digest
    assert open_dataset(root, cache=tmp_path / "elsewhere").size == 224
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1


def test_the_loser_of_a_race_takes_the_winners_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fake.two_folders(tmp_path / "data")
    write = pack_cases.write_cases

    def slow(*args: Any, **options: Any) -> Any:  # noqa: ANN401
        rows = write(*args, **options)
        monkeypatch.setattr(packing, "write_cases", write)
        open_dataset(root, size=8, cache=tmp_path / "cache")  # another process finishes first
        return rows

    monkeypatch.setattr(packing, "write_cases", slow)
    pack = open_dataset(root, size=8, cache=tmp_path / "cache")
    assert len(pack) == 5
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_open_dataset_takes_a_pack_as_it_is(tmp_path: Path) -> None:
    write_pack(fake.two_folders(tmp_path / "data"), tmp_path / "pack", size=8)
    assert open_dataset(tmp_path / "pack").size == 8
    assert open_dataset(tmp_path / "pack", size=8).size == 8
    with pytest.raises(DataError, match=r"pack has size 8.* TARGET --size 16"):
        open_dataset(tmp_path / "pack", size=16)
    with pytest.raises(DataError, match=r"has channels 1.* --channels 3"):
        open_dataset(tmp_path / "pack", channels=3)
    with pytest.raises(MissingFileError, match="does not exist"):
        open_dataset(tmp_path / "nowhere")


def test_a_damaged_pack_in_the_cache_is_made_again(tmp_path: Path) -> None:
    root, cache = fake.two_folders(tmp_path / "data"), tmp_path / "cache"
    first = open_dataset(root, size=8, cache=cache)
    assert first.folder is not None
    folder = first.folder
    spoilt: list[Callable[[], object]] = [
        lambda: (folder / "images.npy").write_bytes(b""),
        lambda: (folder / "pack.json").unlink(),
        lambda: (folder / "masks.npy").write_bytes(bytes((folder / "masks.npy").stat().st_size)),
    ]
    for spoil in spoilt:
        spoil()
        again = open_dataset(root, size=8, cache=cache)
        assert again.digest == first.digest
        assert len(again.notes) == len(first.notes) + 1
    assert open_dataset(root, size=8, cache=cache).notes == first.notes


def test_a_corrected_file_of_the_same_size_and_time_is_seen(tmp_path: Path) -> None:
    root, cache = fake.one_pair(tmp_path / "data", np.full((2, 2), 255, dtype=np.uint8)), tmp_path / "cache"
    file = root / "masks" / "a.bmp"
    Image.fromarray(np.full((2, 2), 255, dtype=np.uint8)).save(file)
    (root / "masks" / "a.png").unlink()
    assert open_dataset(root, size=2, cache=cache).index["foreground"].item() == 4
    before = file.stat()
    Image.fromarray(np.zeros((2, 2), dtype=np.uint8)).save(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert open_dataset(root, size=2, cache=cache).index["foreground"].item() == 0
