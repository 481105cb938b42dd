"""Files are written under a temporary name and renamed, so that a killed process leaves no half-written result."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from trustseg.errors import DataError, MissingFileError

__all__ = ["read_json", "replacing", "write_json", "write_text"]


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of ``path`` to write to, and rename it to ``path`` if the block succeeds.

    Args:
        path: the file to be made or replaced; its folder is made if absent. An error of the system that names no
            file, or the temporary one, names this one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.absolute().with_name(f"{path.name}.{os.getpid()}.partial")  # polars would expand a tilde
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is not None and (error.filename is None or str(error.filename) == str(temporary)):
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


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
        raise MissingFileError(f"'{path}' is not there, a JSON file was expected; check the path") from error
    except (OSError, ValueError) as error:
        raise DataError(f"'{path}' cannot be read as JSON ({error}); restore it from the run") from error
    if not isinstance(content, dict):
        raise DataError(f"'{path}' holds a {type(content).__name__}, an object was expected; restore it from the run")
    return content
