"""A pack is read back only if its files are whole and belong together."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from tests import fake

from trustseg.data import Pack, write_pack
from trustseg.data.pack import digest_of
from trustseg.errors import DataError, MissingFileError


def rewrite(pack: Path, **values: object) -> None:
    about = json.loads((pack / "pack.json").read_text())
    (pack / "pack.json").write_text(json.dumps(about | values))


def shuffle_index(pack: Path) -> None:
    pl.read_parquet(pack / "index.parquet").reverse().write_parquet(pack / "index.parquet")


SPOILT: list[tuple[Callable[[Path], object], type[Exception], str]] = [
    (
        lambda pack: rewrite(pack, format=0),
        DataError,
        "has format 0, expected 1; delete it and pack again with: trustseg",
    ),
    (lambda pack: rewrite(pack, format=2), DataError, "has format 2, expected 1; delete it and pack again"),
    (lambda pack: rewrite(pack, size=9), DataError, "do not belong together"),
    (shuffle_index, DataError, "do not belong together"),
    (lambda pack: (pack / "pack.json").write_text("{"), DataError, r"pack\.json cannot be read"),
    (lambda pack: (pack / "pack.json").write_text("[]"), DataError, "has format None"),
    (lambda pack: (pack / "index.parquet").write_text("x"), DataError, "cannot be read"),
    (lambda pack: (pack / "index.parquet").unlink(), MissingFileError, "missing from the pack"),
    (lambda pack: (pack / "masks.npy").unlink(), MissingFileError, "missing from the pack"),
    (lambda pack: fake.truncate(pack / "images.npy"), DataError, "cannot be read"),
    (lambda pack: (pack / "pack.json").unlink(), MissingFileError, r"pack\.json does not exist, expected a pack"),
]


@pytest.mark.parametrize(("spoil", "kind", "sentence"), SPOILT)
def test_a_spoilt_pack_is_refused(
    tmp_path: Path, spoil: Callable[[Path], object], kind: type[Exception], sentence: str
) -> None:
    write_pack(fake.two_folders(tmp_path / "data"), tmp_path / "pack", size=8)
    spoil(tmp_path / "pack")
    with pytest.raises(kind, match=sentence):
        Pack.open(tmp_path / "pack")


def test_the_digest_tells_apart_what_decides_the_arrays(tmp_path: Path) -> None:
    pack = write_pack(fake.two_folders(tmp_path / "data"), tmp_path / "pack", size=8)
    digest = digest_of(pack.index, size=8, channels=1)
    assert digest == pack.digest
    assert digest == digest_of(pack.index.with_columns(source=pl.lit("here")), size=8, channels=1)
    others = [
        digest_of(pack.index, size=9, channels=1),
        digest_of(pack.index, size=8, channels=3),
        digest_of(pack.index.reverse(), size=8, channels=1),
        digest_of(pack.index.with_columns(patient=pl.lit("P1")), size=8, channels=1),
        digest_of(pack.index.with_columns(sha256_mask=pl.lit(None, pl.String)), size=8, channels=1),
    ]
    assert len({digest, *others}) == 6


def test_the_data_room_loads_no_torch() -> None:
    code = "import sys, trustseg.data; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
