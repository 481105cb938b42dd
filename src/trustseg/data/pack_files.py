"""The files of a pack on disk: hashed, checked, private, and without leftovers of killed processes."""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from trustseg.files import make_folder, remove_unlocked, write_text
from trustseg.system import keeps_leftovers, try_lock

__all__ = ["damaged_file", "hashes_of", "make_private", "mark_as_checked", "temporary_folder"]

ARRAYS: Final = ("images.npy", "masks.npy", "native.parquet")
"""Files of a pack whose content is tied to its digest by their hashes."""

_CHECKED: Final = "checked.json"

_checked_here: set[tuple[str, str]] = set()  # by this process, for packs in folders that it may not write


def hashes_of(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each of ``ARRAYS``."""
    found = {}
    for name in ARRAYS:
        with (folder / name).open("rb") as file:
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def damaged_file(folder: Path, expected: Mapping[str, str]) -> str | None:
    """Return the name of the first of ``ARRAYS`` without the expected SHA-256, None if all are as they were.

    Hashing a large pack takes seconds, so what was checked is remembered: in ``checked.json`` with size, inode and
    times of each file. The system sets the time of the last change, which no program can choose.
    """
    if set(expected) != set(ARRAYS):
        raise ValueError(f"hashes of {', '.join(sorted(expected))}")
    key = (str(folder.resolve()), _signs(folder, expected))
    with suppress(OSError, ValueError):
        if key in _checked_here or (folder / _CHECKED).read_text() == key[1]:
            return None
    found = hashes_of(folder)
    damaged = next((name for name in ARRAYS if found[name] != expected[name]), None)
    if damaged is None:
        _checked_here.add(key)
        mark_as_checked(folder, expected)
    return damaged


def mark_as_checked(folder: Path, hashes: Mapping[str, str]) -> None:
    """Remember that the files of a pack have these hashes; not in a folder that this user may not write."""
    signs = _signs(folder, hashes)
    with suppress(OSError):
        write_text(folder / _CHECKED, signs)


def make_private(folder: Path) -> None:
    """Let only the owner read a folder and the files in it."""
    folder.chmod(0o700)
    for file in folder.iterdir():
        file.chmod(0o600)


@contextmanager
def temporary_folder(target: Path) -> Iterator[Path]:
    """Yield a new private folder next to ``target``, to be renamed to it; removed afterwards if still there.

    Folders that killed processes left are removed first: a living one holds a lock on its own.
    """
    make_folder(target.absolute().parent)
    remove_unlocked(target.parent.glob(".*.part"))
    part, lock = _locked_folder(target)
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _locked_folder(target: Path) -> tuple[Path, int | None]:
    while True:
        part = target.parent / f".{target.name}.{secrets.token_hex(4)}.part"
        part.mkdir(mode=0o700)
        if keeps_leftovers():  # Windows cannot open a folder
            return part, None
        lock = os.open(part, os.O_RDONLY)
        with suppress(OSError):  # file systems without locks
            try_lock(lock)
        if part.exists():  # else another process took it for a leftover before it was locked
            return part, lock
        os.close(lock)


def _signs(folder: Path, hashes: Mapping[str, str]) -> str:
    signs = {}
    for name in ARRAYS:
        state = (folder / name).stat()
        signs[name] = [hashes[name], state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]
    return json.dumps(signs)
