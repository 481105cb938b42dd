"""A pack is read back only if its files are whole and belong together."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests import fake

from trustseg.data import Pack, pack_files, write_pack
from trustseg.data.pack import FORMAT, digest_of
from trustseg.errors import DataError, MissingFileError


def rewrite(pack: Path, **values: object) -> None:
    about = json.loads((pack / "pack.json").read_text())
    (pack / "pack.json").write_text(json.dumps(about | values))


def shuffle_index(pack: Path) -> None:
    pl.read_parquet(pack / "index.parquet").reverse().write_parquet(pack / "index.parquet")


def zero(file: Path) -> None:
    """Overwrite the pixels of an array, and put its times back as far as a program can."""
    state = file.stat()
    array = np.load(file)
    file.write_bytes(file.read_bytes()[: -array.nbytes] + bytes(array.nbytes))
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))


SPOILT: list[tuple[Callable[[Path], object], type[Exception], str]] = [
    (lambda pack: rewrite(pack, format=FORMAT - 1), DataError, rf"format {FORMAT - 1}.*data pack"),
    (lambda pack: rewrite(pack, format=FORMAT + 1), DataError, f"format {FORMAT + 1}"),
    (lambda pack: rewrite(pack, size=9), DataError, "do not belong together"),
    (lambda pack: rewrite(pack, fit="pad"), DataError, "do not belong together"),
    (lambda pack: rewrite(pack, files={}), DataError, "cannot be read"),
    (lambda pack: rewrite(pack, coding=None), DataError, "cannot be read"),
    (shuffle_index, DataError, "do not belong together"),
    (lambda pack: (pack / "pack.json").write_text("{"), DataError, r"pack\.json"),
    (lambda pack: (pack / "pack.json").write_text("[]"), DataError, "format None"),
    (lambda pack: (pack / "index.parquet").write_text("x"), DataError, "cannot be read"),
    (lambda pack: (pack / "index.parquet").unlink(), MissingFileError, r"index\.parquet"),
    (lambda pack: (pack / "masks.npy").unlink(), MissingFileError, r"masks\.npy"),
    (lambda pack: (pack / "native.parquet").unlink(), MissingFileError, r"native\.parquet"),
    (lambda pack: (pack / "native.parquet").write_bytes(b"PAR1"), DataError, r"native\.parquet"),
    (lambda pack: fake.truncate(pack / "images.npy"), DataError, "cannot be read"),
    (lambda pack: zero(pack / "images.npy"), DataError, r"images\.npy"),
    (lambda pack: zero(pack / "masks.npy"), DataError, r"masks\.npy"),
    (lambda pack: (pack / "pack.json").unlink(), MissingFileError, r"pack\.json"),
]


@pytest.mark.parametrize(("spoil", "kind", "named"), SPOILT)
def test_a_spoilt_pack_is_refused(
    tmp_path: Path, spoil: Callable[[Path], object], kind: type[Exception], named: str
) -> None:
    write_pack(fake.two_folders(tmp_path / "data"), tmp_path / "pack", size=8)
    assert Pack.open(tmp_path / "pack").size == 8
    spoil(tmp_path / "pack")
    with pytest.raises(kind, match=named):
        Pack.open(tmp_path / "pack")


def test_arrays_are_hashed_again_only_after_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pack(fake.two_folders(tmp_path / "data"), tmp_path / "pack", size=8)
    hashed: list[Path] = []
    hashes_of = pack_files.hashes_of

    def watched(folder: Path) -> dict[str, str]:
        hashed.append(folder)
        return hashes_of(folder)

    monkeypatch.setattr(pack_files, "hashes_of", watched)
    Pack.open(tmp_path / "pack")
    assert hashed == []
    shutil.copytree(tmp_path / "pack", tmp_path / "copy")
    Pack.open(tmp_path / "copy")
    Pack.open(tmp_path / "copy")
    assert hashed == [tmp_path / "copy"]


def test_the_digest_tells_apart_whatever_a_pack_holds(tmp_path: Path) -> None:
    pack = write_pack(fake.two_folders(tmp_path / "data"), tmp_path / "pack", size=8)
    digest = digest_of(pack.index, size=8, channels=1)
    others = [
        digest_of(pack.index, size=9, channels=1),
        digest_of(pack.index, size=8, channels=3),
        digest_of(pack.index, size=8, channels=1, fit="pad"),
        digest_of(pack.index, size=8, channels=1, white=4095),
        digest_of(pack.index, size=8, channels=1, files={"images.npy": "0"}),
        digest_of(pack.index.reverse(), size=8, channels=1),
        digest_of(pack.index.with_columns(patient=pl.lit("P1")), size=8, channels=1),
        digest_of(pack.index.with_columns(group_sex=pl.lit("f")), size=8, channels=1),
        digest_of(pack.index.with_columns(sha256_pixels=pl.lit(None, pl.String)), size=8, channels=1),
    ]
    assert len({digest, *others}) == len(others) + 1


def test_the_data_room_loads_no_torch() -> None:
    code = "import sys, trustseg.data; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
