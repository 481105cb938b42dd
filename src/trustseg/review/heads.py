"""The file of heads: number and hash of each entry, kept apart from the log that it lets check."""

from pathlib import Path
from typing import Final

from trustseg.errors import DataError
from trustseg.review.chain import Head, parse_head

__all__ = ["HEADS", "lost_heads", "read_heads"]

HEADS: Final = "heads.txt"


def read_heads(folder: Path) -> list[Head]:
    """Return the heads that were kept beside a log, the last line dropped if a crash cut it.

    Raises:
        DataError: if another line is no head.
    """
    path = folder / HEADS
    if not path.is_file():
        return []
    *lines, _ = path.read_text(encoding="utf-8", errors="replace").split("\n")
    heads = []
    for number, line in enumerate(lines, start=1):
        try:
            heads.append(parse_head(line))
        except DataError as error:
            raise DataError(f"'{path}' line {number} is no head; restore the file from a backup") from error
    return heads


def lost_heads(path: Path) -> str:
    """Return the sentence about a file of heads that was deleted or emptied."""
    return f"'{path}' is missing or empty; without it nobody can tell whether the log was rewritten"
