"""A pack is read back only if its files are whole, kept for its owner alone, and made again where files changed."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests import fake

from trustseg.data import Pack, layouts, open_dataset, pack_cases, pack_files, packing, write_pack
from trustseg.data.folder import folder as folder_layout
from trustseg.data.pack import FORMAT
from trustseg.entries import Entry
from trustseg.errors import DataError, MissingFileError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pack(fake.two_folders(tmp_path / "data"), tmp_path / "pack", size=8)
    return tmp_path / "pack"


def rewrite(pack: Path, /, **values: object) -> None:
    about = json.loads((pack / "pack.json").read_text())
    (pack / "pack.json").write_text(json.dumps(about | values))


def change_index(pack: Path, /, **columns: pl.Expr) -> None:
    pl.read_parquet(pack / "index.parquet").with_columns(**columns).write_parquet(pack / "index.parquet")


def zero(file: Path) -> None:
    """Overwrite the pixels of an array, and put its times back as far as a program can."""
    state = file.stat()
    array = np.load(file)
    file.write_bytes(file.read_bytes()[: -array.nbytes] + bytes(array.nbytes))
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))


SETTINGS: dict[str, object] = {"size": 9, "channels": 3, "fit": "pad", "white": 4095}
COLUMNS = {"name": pl.col("name").reverse(), "patient": pl.lit("P1"), "group_sex": pl.lit("f")}
SPOILT: list[tuple[Callable[[Path], object], str]] = [
    (lambda pack: rewrite(pack, format=FORMAT - 1), rf"format {FORMAT - 1}.*data pack"),
    (lambda pack: rewrite(pack, format=FORMAT + 1), f"format {FORMAT + 1}"),
    (lambda pack: rewrite(pack, files={}), "cannot be read"),
    (lambda pack: rewrite(pack, coding=None), "cannot be read"),
    (lambda pack: (pack / "pack.json").write_text("{"), r"pack\.json"),
    (lambda pack: (pack / "pack.json").write_text("[]"), "format None"),
    (lambda pack: (pack / "index.parquet").write_text("x"), "cannot be read"),
    (lambda pack: (pack / "native.parquet").write_bytes(b"PAR1"), r"native\.parquet"),
    (lambda pack: fake.truncate(pack / "images.npy"), "cannot be read"),
    (lambda pack: zero(pack / "images.npy"), r"images\.npy"),
    (lambda pack: zero(pack / "masks.npy"), r"masks\.npy"),
    *((partial(rewrite, **{name: value}), "do not belong together") for name, value in SETTINGS.items()),
    *((partial(change_index, **{name: values}), "do not belong together") for name, values in COLUMNS.items()),
]


@pytest.mark.parametrize(("spoil", "named"), SPOILT)
def test_a_spoilt_pack_is_refused(folder: Path, spoil: Callable[[Path], object], named: str) -> None:
    assert Pack.open(folder).size == 8
    spoil(folder)
    with pytest.raises(DataError, match=named):
        Pack.open(folder)


@pytest.mark.parametrize("name", ["pack.json", "index.parquet", "masks.npy", "native.parquet"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(MissingFileError, match=name):
        Pack.open(folder)


def test_arrays_are_hashed_again_only_after_a_change(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []
    hashes_of = pack_files.hashes_of

    def watched(folder: Path) -> dict[str, str]:
        hashed.append(folder)
        return hashes_of(folder)

    monkeypatch.setattr(pack_files, "hashes_of", watched)
    Pack.open(folder)
    assert hashed == []
    copy = shutil.copytree(folder, folder.with_name("copy"))
    Pack.open(copy)
    Pack.open(copy)
    assert hashed == [copy]


def test_open_dataset_takes_a_pack_as_it_is(folder: Path) -> None:
    assert open_dataset(folder).size == open_dataset(folder, size=8).size == 8
    with pytest.raises(DataError, match=r"pack has size 8.* TARGET --size 16"):
        open_dataset(folder, size=16)
    with pytest.raises(DataError, match=r"has channels 1.* --channels 3"):
        open_dataset(folder, channels=3)
    with pytest.raises(MissingFileError, match="does not exist"):
        open_dataset(folder / "nowhere")


def test_the_data_package_loads_no_torch() -> None:
    code = "import sys, trustseg.data; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- the cache -------------------------------------------------------------------------------------------------------


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
        assert open_dataset(root, size=8).digest == first.digest
    assert len(list((tmp_path / "cache" / "packs").iterdir())) == 1
    fake.save(fake.image("other"), root / "QaTa-COV19-v2" / "Train Set" / "Images" / "covid_7.png")
    assert open_dataset(root, size=8).digest != first.digest
    assert open_dataset(root, cache=tmp_path / "elsewhere").size == 224
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1


def test_layouts_share_no_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, cache = fake.two_folders(tmp_path / "data"), tmp_path / "cache"
    first = open_dataset(root, size=8, cache=cache)
    monkeypatch.setattr(layouts, "LAYOUTS", {"mine": Entry(folder_layout, "Mine", None)})
    assert (first.layout, open_dataset(root, size=8, cache=cache).layout) == ("folder", "mine")


def test_the_loser_of_a_race_takes_the_winners_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fake.two_folders(tmp_path / "data")
    write = pack_cases.write_cases

    def slow(*args: Any, **options: Any) -> Any:  # noqa: ANN401
        rows = write(*args, **options)
        monkeypatch.setattr(packing, "write_cases", write)
        open_dataset(root, size=8, cache=tmp_path / "cache")  # another process finishes first
        return rows

    monkeypatch.setattr(packing, "write_cases", slow)
    assert len(open_dataset(root, size=8, cache=tmp_path / "cache")) == 5
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_damaged_pack_in_the_cache_is_made_again(tmp_path: Path) -> None:
    root, cache = fake.two_folders(tmp_path / "data"), tmp_path / "cache"
    first = open_dataset(root, size=8, cache=cache)
    (kept,) = cache.iterdir()
    spoilt: list[Callable[[], object]] = [
        lambda: (kept / "images.npy").write_bytes(b""),
        lambda: (kept / "pack.json").unlink(),
        lambda: zero(kept / "masks.npy"),
    ]
    for spoil in spoilt:
        spoil()
        again = open_dataset(root, size=8, cache=cache)
        assert again.digest == first.digest
        assert len(again.notes) == len(first.notes) + 1
    assert open_dataset(root, size=8, cache=cache).notes == first.notes


def test_a_corrected_file_of_the_same_size_and_time_is_seen(tmp_path: Path) -> None:
    white, cache = np.full((2, 2), 255, dtype=np.uint8), tmp_path / "cache"
    file = tmp_path / "data" / "masks" / "a.bmp"
    fake.save(white, file)
    root = tmp_path / "data"
    fake.save(white, root / "images" / "a.png")
    assert open_dataset(root, size=2, cache=cache).index["foreground"].item() == 4
    before = file.stat()
    fake.save(np.zeros_like(white), file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert open_dataset(root, size=2, cache=cache).index["foreground"].item() == 0
