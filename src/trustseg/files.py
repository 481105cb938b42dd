"""Files are written under a temporary name and renamed, so that a killed process leaves no half-written result."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from trustseg.errors import DataError, MissingFileError
from trustseg.system import keeps_leftovers, try_lock

__all__ = ["make_folder", "private_log", "read_json", "remove_unlocked", "replacing", "write_json", "write_text"]

_SUFFIX: Final = ".partial"

_cleaned: set[Path] = set()  # folders in which this process has looked for leftovers


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, which only their owner may enter; leave those that exist as they are."""
    for missing in reversed([each for each in (folder, *folder.parents) if not each.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of ``path`` to write to, and rename it to ``path`` if the block succeeds.

    Only its owner may read the file, as results name patients. What killed processes left in the folder is removed,
    once per process.

    Args:
        path: the file to be made or replaced; its folder is made if absent. An error of the system that names no
            file, or the temporary one, names this one.
    """
    make_folder(path.parent)
    temporary = path.absolute().with_name(f"{path.name}.{os.getpid()}{_SUFFIX}")  # polars would expand a tilde
    _remove_leftovers(temporary.parent)
    try:
        lock = os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600)
    except OSError as error:
        error.filename = str(path)
        raise
    try:
        with contextlib.suppress(OSError):  # file systems without locks
            try_lock(lock)
        if keeps_leftovers():  # an open file cannot be renamed on Windows
            os.close(lock)
            lock = -1
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is not None and (error.filename is None or str(error.filename) == str(temporary)):
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)
        if lock >= 0:
            os.close(lock)


def _remove_leftovers(folder: Path) -> None:
    """Remove temporary files that no living process holds a lock on, once."""
    if folder not in _cleaned:
        _cleaned.add(folder)
        remove_unlocked(folder.glob(f"*{_SUFFIX}"))


def remove_unlocked(leftovers: Iterable[Path]) -> None:
    """Remove the files and folders that no living process holds a lock on."""
    for path in () if keeps_leftovers() else leftovers:
        is_folder = path.is_dir()
        with contextlib.suppress(OSError):  # gone by now, or on a file system without locks
            lock = os.open(path, os.O_RDONLY if is_folder else os.O_WRONLY)
            try:
                if not try_lock(lock):
                    continue
                if is_folder:
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()
            finally:
                os.close(lock)


def private_log(path: Path) -> BinaryIO:
    """Return a file to append to that only its owner may read."""
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    if hasattr(os, "fchmod"):  # not on Windows
        os.fchmod(descriptor, 0o600)  # of one that was there before
    return os.fdopen(descriptor, "ab")


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: object) -> None:
    """Write ``content`` as indented JSON to ``path``, whole or not at all."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def read_json(path: Path) -> dict[str, object]:
    """Return the object in a JSON file.

    Raises:
        MissingFileError: if there is no such file.
        DataError: if the file is damaged or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingFileError(f"no JSON file '{path}'; check the path") from error
    except IsADirectoryError as error:
        raise MissingFileError(f"'{path}' is a folder, expected a JSON file; check the path") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"'{path}' cannot be read as JSON ({error}); restore it from the run") from error
    if not isinstance(content, dict):
        raise DataError(f"'{path}' holds a {type(content).__name__}, expected an object; restore it from the run")
    return content
