"""Where a review is kept: one SQLite file with an append-only log, drawn masks by hash, and a file of chain heads."""

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import astuple, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from trustseg.errors import DataError, MissingFileError
from trustseg.files import make_folder, private_log, replacing
from trustseg.review.chain import GENESIS, HEADS, Entry, Head, canonical, hash_of_entry, read_heads

__all__ = ["DATABASE", "Draft", "RepeatedKeyError", "Store"]

DATABASE: Final = "review.sqlite"

_WAIT: Final = 30.0  # seconds for another process to finish writing

_MIGRATIONS: Final = (  # statements for user_version 0 -> 1 -> ...; never change one that was released
    (
        """
        CREATE TABLE log (
            number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, time TEXT NOT NULL, reviewer TEXT NOT NULL,
            kind TEXT NOT NULL, "case" INTEGER, content TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL UNIQUE
        ) STRICT
        """,
        "CREATE TABLE masks (hash TEXT PRIMARY KEY, png BLOB NOT NULL) STRICT",
        *(
            f"CREATE TRIGGER {name} BEFORE {change} ON {table} BEGIN SELECT RAISE(ABORT, 'a review only grows'); END"
            for name, change, table in (
                *(("log_keeps", "UPDATE", "log"), ("log_stays", "DELETE", "log")),
                *(("masks_keep", "UPDATE", "masks"), ("masks_stay", "DELETE", "masks")),
            )
        ),
    ),
)

_COLUMNS: Final = 'number, key, time, reviewer, kind, "case", content, previous, hash'


class Draft(NamedTuple):
    """An entry to be written; attributes as in ``Entry``, and a mask (PNG) that its content names by hash."""

    key: str
    reviewer: str
    kind: str
    case: int | None
    content: Mapping[str, Any]
    mask: bytes | None = None


class RepeatedKeyError(DataError):
    """A key was used before, for something else."""


class Store:
    """The log of one review in a folder; safe for several threads, and for several processes on one machine.

    An entry that ``append`` has returned is on the disk: the database is in WAL mode with full synchronisation. Without
    ``create`` nothing is made, and the heads are only read.

    Raises:
        MissingFileError: if there is no database and none shall be made.
        DataError: if it is damaged, or of a newer version.
    """

    def __init__(self, folder: Path, *, create: bool = True) -> None:
        self.folder = folder
        self.path = folder / DATABASE
        if not self.path.is_file():
            if not create:
                raise MissingFileError(f"no review in '{folder}'; start it with 'trustseg review'")
            make_folder(folder)
            with private_log(folder / HEADS):  # before the first entry, so that a log without it has lost it
                pass
            os.close(os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o600))
        self._lock = threading.RLock()
        with _clear_errors(self.path):
            self._connection = sqlite3.connect(
                self.path, timeout=_WAIT, isolation_level=None, check_same_thread=False, cached_statements=32
            )
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._migrate()
        if create:
            self._require_heads()
            self._keep_heads()

    def append(self, draft: Draft, *, check: Callable[[], Mapping[str, Any] | None] | None = None) -> Entry:
        """Write an entry and return it; one of the same key and content that is there already is returned instead.

        ``check`` is called inside the transaction, when no other entry can come in between; what it raises is raised,
        and nothing written; what it returns is added to the content.

        Raises:
            RepeatedKeyError: if the key belongs to another entry.
        """
        with self._writing() as connection:
            found = connection.execute(f"SELECT {_COLUMNS} FROM log WHERE key = ?", (draft.key,)).fetchone()
            if found is not None:
                entry = _entry(found)
                if _is_from_draft(entry, draft):
                    return entry
                raise RepeatedKeyError("this key was used for another entry; send a new one")
            more = check() if check is not None else None
            last = self.head()
            if not (self.folder / HEADS).is_file():
                self._require_heads()
            entry = Entry(
                number=last.number + 1,
                key=draft.key,
                time=datetime.now(UTC).isoformat(timespec="milliseconds"),
                reviewer=draft.reviewer,
                kind=draft.kind,
                case=draft.case,
                content=json.loads(canonical({**draft.content, **(more or {})})),
                previous=last.hash,
            )
            entry = replace(entry, hash=hash_of_entry(entry))
            if draft.mask is not None:
                name = hashlib.sha256(draft.mask).hexdigest()
                connection.execute("INSERT OR IGNORE INTO masks VALUES (?, ?)", (name, draft.mask))
            row = astuple(replace(entry, content=canonical(entry.content)))  # type: ignore[arg-type]  # as text
            connection.execute(f"INSERT INTO log ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        self._keep_heads()
        return entry

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Let no other thread write, nor read what was derived from entries, while several things are read."""
        with self._lock:
            yield

    def entries(self, *, after: int = 0) -> list[Entry]:
        """Return the entries behind a number, in order."""
        rows = self._rows(f"SELECT {_COLUMNS} FROM log WHERE number > ? ORDER BY number", after)
        return [_entry(row) for row in rows]

    def head(self) -> Head:
        """Return number and hash of the last entry."""
        with self._lock, _clear_errors(self.path):
            return _head_of(self._connection)

    def mask(self, name: str) -> bytes | None:
        """Return a drawn mask (PNG) by its SHA-256, None if there is none."""
        rows = self._rows("SELECT png FROM masks WHERE hash = ?", name)
        return bytes(rows[0][0]) if rows else None

    def mask_names(self) -> list[str]:
        """Return the SHA-256 of each drawn mask."""
        return [name for (name,) in self._rows("SELECT hash FROM masks ORDER BY hash")]

    def faults(self) -> list[str]:
        """Return what SQLite's own check finds."""
        found = [fault for (fault,) in self._rows("PRAGMA integrity_check")]
        return [] if found == ["ok"] else [f"SQLite: {fault}" for fault in found]

    def heads_faults(self) -> list[str]:
        """Return in a sentence that the file of heads was deleted or emptied; nothing if it is there.

        A crash right after the first entry leaves it empty; longer logs have lost it.
        """
        path = self.folder / HEADS
        allowed = 1 if path.is_file() else 0
        if self.head().number <= allowed or read_heads(self.folder):
            return []
        return [f"'{path}' is missing or empty; without it nobody can tell whether the log was rewritten"]

    def back_up(self, path: Path) -> Head:
        """Write a consistent copy of the database, also while others write, and return the head that it holds."""
        with replacing(path) as temporary, closing(sqlite3.connect(temporary)) as copy, _clear_errors(self.path):
            with self._lock:
                self._connection.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
            return _head_of(copy)

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._connection.close()

    def _rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock, _clear_errors(self.path):
            return self._connection.execute(statement, values).fetchall()

    def _require_heads(self) -> None:
        if faults := self.heads_faults():
            raise DataError(f"{faults[0]}; restore a backup")

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _clear_errors(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _migrate(self) -> None:
        """Bring the database to the newest form, each step whole or not at all."""
        while True:
            with self._writing() as connection:
                version = int(connection.execute("PRAGMA user_version").fetchone()[0])
                if version > len(_MIGRATIONS):
                    raise DataError(f"'{self.path}' was made by a newer trustseg; update trustseg")
                if version == len(_MIGRATIONS):
                    return
                for statement in _MIGRATIONS[version]:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {version + 1}")

    def _keep_heads(self) -> None:
        """Append the heads that are not in the file yet: those of new entries, and of those before a crash."""
        with self._writing() as connection:  # so that one process at a time does it
            path = self.folder / HEADS
            text = path.read_bytes() if path.is_file() else b""
            if text and not text.endswith(b"\n"):  # a crash cut the last line
                os.truncate(path, text.rfind(b"\n") + 1)
            kept = read_heads(self.folder)
            last = kept[-1].number if kept else 0
            rows = connection.execute("SELECT number, hash FROM log WHERE number > ? ORDER BY number", (last,))
            if lines := "".join(f"{Head(*row)}\n" for row in rows.fetchall()):
                with private_log(path) as stream:
                    stream.write(lines.encode())
                    stream.flush()
                    os.fsync(stream.fileno())


@contextmanager
def _clear_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into sentences."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise DataError(f"'{path}' is being written by another process; try again") from error
        if "no such" in str(error) or "has no column" in str(error):
            raise DataError(f"'{path}' is damaged ({error}); restore a backup") from error
        raise DataError(f"'{path}' cannot be used ({error}); check disk and permissions") from error
    except sqlite3.DatabaseError as error:
        raise DataError(f"'{path}' is damaged ({error}); restore a backup") from error


def _head_of(database: sqlite3.Connection) -> Head:
    row = database.execute("SELECT number, hash FROM log ORDER BY number DESC LIMIT 1").fetchone()
    return Head(0, GENESIS) if row is None else Head(*row)


def _entry(row: tuple[Any, ...]) -> Entry:
    number, key, time, reviewer, kind, case, content, previous, digest = row
    try:
        parsed = json.loads(content)
        if canonical(parsed) != content:
            raise ValueError("written in another way than we write")
    except ValueError:
        parsed = {"unreadable": content}  # whose hash is another, as verification will tell
    return Entry(number, key, time, reviewer, kind, case, parsed, previous, digest)


def _is_from_draft(entry: Entry, draft: Draft) -> bool:
    """Return whether an entry is what a draft became."""
    content = {name: entry.content.get(name) for name in draft.content}
    is_same_event = (entry.reviewer, entry.kind, entry.case) == (draft.reviewer, draft.kind, draft.case)
    return is_same_event and canonical(content) == canonical(draft.content)
