"""The log of a review as a chain: each entry holds the hash of the one before, so that changes are detected."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from trustseg.errors import DataError

__all__ = [
    "GENESIS",
    "HEADS",
    "Entry",
    "Head",
    "canonical",
    "chain_faults",
    "hash_of_entry",
    "head_faults",
    "parse_head",
    "read_heads",
]

GENESIS: Final = "0" * 64
"""What the first entry has in the place of a previous hash."""

HEADS: Final = "heads.txt"
"""File of the heads of all entries, kept apart from the log that it lets check."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the log.

    Attributes:
        number: 1, 2, 3 ...
        key: made by the client, unique; the same request sent twice has the same.
        time: UTC, ISO 8601.
        reviewer: who.
        kind: what was done, see ``trustseg.review.state``.
        case: which case; None for entries about the whole review.
        content: the rest, JSON values only.
        previous: hash of the entry before.
        hash: SHA-256 of all of the above.
    """

    number: int
    key: str
    time: str
    reviewer: str
    kind: str
    case: int | None
    content: Mapping[str, Any]
    previous: str
    hash: str = ""


class Head(NamedTuple):
    """Number and hash of an entry; ``NUMBER:HASH`` as text."""

    number: int
    hash: str

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"


def parse_head(text: str) -> Head:
    """Return the head that a text names; a DataError if it names none.

    Example:
        >>> parse_head(f"3:{GENESIS}").number
        3
    """
    number, _, digest = text.strip().partition(":")
    if not re.fullmatch("[0-9]{1,18}", number) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise DataError(f"'{text}' is no head, expected NUMBER:HASH")
    return Head(int(number), digest)


def read_heads(folder: Path) -> list[Head]:
    """Return the heads that were kept beside a log, the last line dropped if a crash cut it.

    Raises:
        DataError: if another line is no head.
    """
    path = folder / HEADS
    if not path.is_file():
        return []
    *lines, _ = path.read_text(encoding="utf-8", errors="replace").split("\n")
    try:
        return [parse_head(line) for line in lines]
    except DataError as error:
        raise DataError(f"'{path}': {error}; restore the file from a backup") from error


def canonical(content: object) -> str:
    """Return JSON values as text that is equal for equal values.

    Example:
        >>> canonical({"b": 1, "a": [None, 0.5]})
        '{"a":[null,0.5],"b":1}'
    """
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def hash_of_entry(entry: Entry) -> str:
    """Return the hash that belongs to an entry, whatever its ``hash`` says."""
    parts = [entry.number, entry.key, entry.time, entry.reviewer, entry.kind, entry.case, entry.content, entry.previous]
    return hashlib.sha256(canonical(parts).encode()).hexdigest()


def chain_faults(entries: Iterable[Entry]) -> list[str]:
    """Return what is wrong with a log that should be whole and in order, a sentence each; none if nothing is."""
    faults: list[str] = []
    previous, expected = GENESIS, 1
    for entry in entries:
        if entry.number != expected:
            faults.append(f"entry {expected} is missing: entry {entry.number} stands in its place")
        if entry.previous != previous:
            faults.append(f"entry {entry.number} does not follow the entry before it")
        if hash_of_entry(entry) != entry.hash:
            faults.append(f"entry {entry.number} was changed")
        previous, expected = entry.hash, entry.number + 1
    return faults


def head_faults(entries: Sequence[Entry], heads: Iterable[Head]) -> list[str]:
    """Return which heads, kept apart from the log, the log no longer holds, a sentence each.

    This finds what the chain alone cannot: entries cut off at the end, and a chain computed anew after a change.
    """
    hashes = {entry.number: entry.hash for entry in entries}
    last = max(hashes, default=0)
    faults = []
    for head in heads:
        if head.number > last:
            faults.append(f"entry {head.number} was cut off: the log ends at {last}")
        elif hashes.get(head.number) != head.hash:
            faults.append(f"entry {head.number} is not the one whose hash was kept")
    return faults
