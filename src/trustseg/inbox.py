"""A folder whose files are handled as they arrive, each once, whenever the process is stopped or killed.

The inbox is only read. Every file gets a folder in the outbox, named after the file and a hash of its content, which is
hidden until it is whole and then renamed; relative paths in it stay right. What is done is decided by the outbox alone:
a killed process leaves at most a hidden folder, which the next one removes; a folder that is deleted is made again.
"""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Final, NamedTuple

from trustseg.errors import ConfigError, MissingFileError, MissingPackageError, ModelError, TrustsegError, misfortune
from trustseg.files import make_folder
from trustseg.system import try_lock

__all__ = ["QUARANTINE", "Counts", "Handle", "final_folder", "stop_on_signals", "watch"]

QUARANTINE: Final = "quarantine"
"""Folder in the outbox for files that cannot be handled: a copy of each, and a sentence in ``NAME.reason.txt``."""

Handle = Callable[[Path, Path], str]
"""What is done with a file: takes it and the folder to write into, returns a few words for the log."""

_WORK, _LOCK, _SOURCE, _ATTEMPTS = ".partial-", ".lock", ".source.json", ".attempts"
_MOST_ATTEMPTS: Final = 3
_DEADLY: Final = f"trustseg ended {_MOST_ATTEMPTS} times while it handled this file; to try again, delete this folder"
_UNFINISHED: Final = (".part", ".partial", ".tmp", ".filepart", ".crdownload")  # names of files still being written
_LONGEST: Final = 200  # bytes of a name, so that there is room for what is added to it

Sign = tuple[int, int]  # size in bytes, time of the last change in ns


class Counts(NamedTuple):
    """How many files were handled, quarantined, and are left in the inbox unhandled."""

    done: int
    quarantined: int
    left: int


class _Facts(NamedTuple):
    """Which files are known to be done without reading them: name -> their signs."""

    done: dict[str, set[Sign]]
    seen: dict[str, Sign]  # at the last look
    told: set[str]  # names of what is passed over


class _Attempts:
    """Counts in the outbox how often the process ended while it handled a file, which a file may cause for ever."""

    def __init__(self, outbox: Path, key: str) -> None:
        self._file = outbox / _ATTEMPTS / key

    def begin(self) -> bool:
        """Count one more, and return whether there were few enough."""
        make_folder(self._file.parent)
        with self._file.open("ab") as stream:
            stream.write(b".")
            return stream.tell() <= _MOST_ATTEMPTS

    def forget(self) -> None:
        self._file.unlink(missing_ok=True)


def watch(
    inbox: Path,
    outbox: Path,
    handle: Handle,
    *,
    interval: float,
    once: bool,
    stop: threading.Event,
    report: Callable[[str], None],
) -> Counts:
    """Handle the files that lie directly in ``inbox``, and those that arrive, until told to stop.

    A file is taken when two looks at it, ``interval`` apart, find the same size and time. Hidden files, links, folders
    and names that end like unfinished downloads are passed over.

    Args:
        inbox: only read.
        outbox: ``NAME.HASH/`` of each file, and ``quarantine/NAME.HASH/`` of those that ``handle`` refuses.
        handle: raises a TrustsegError, or anything, if a file is bad; errors of the machine, of a missing package or of
            the settings end the watch.
        interval: seconds between two looks.
        once: return as soon as no file waits.
        stop: set it to return after the file that is being handled.
        report: called with a line for each file.

    Raises:
        ConfigError: if the folders are one, or another process works on the outbox.
        MissingFileError: if there is no inbox.
    """
    _check(inbox, outbox)
    done = quarantined = 0
    with _locked(outbox):
        _remove_work(outbox)
        facts = _Facts(_known(outbox), {}, set())
        while not stop.is_set():
            ready, waiting = _look(inbox, facts, report)
            for name in ready:
                if stop.is_set():
                    break
                outcome = _take(inbox / name, outbox, handle, facts, report)
                done, quarantined = done + (outcome == "done"), quarantined + (outcome == "bad")
                waiting += outcome == "changed"
            if once and not waiting and not ready:
                break
            stop.wait(interval)
        ready, waiting = _look(inbox, facts, report)
        return Counts(done, quarantined, len(ready) + waiting)


@contextlib.contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C and SIGTERM set; a second one of them ends the process as it always does."""
    stop = threading.Event()
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: FrameType | None) -> None:
        stop.set()
        for each, handler in former.items():
            signal.signal(each, handler)

    for number in former:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def final_folder(work: Path) -> Path:
    """Return what the hidden folder that ``handle`` writes into becomes once it is whole."""
    return work.with_name(work.name.removeprefix(_WORK))


def _check(inbox: Path, outbox: Path) -> None:
    if not inbox.is_dir():
        raise MissingFileError(f"no inbox '{inbox}'; make the folder, or check the path")
    make_folder(outbox)
    if inbox.resolve() == outbox.resolve():
        raise ConfigError(f"'{inbox}' cannot be inbox and outbox; give two folders")


@contextlib.contextmanager
def _locked(outbox: Path) -> Iterator[None]:
    """Hold the outbox for this process; the lock ends with it, however it ends."""
    descriptor = os.open(outbox / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        mine = True
        with contextlib.suppress(OSError):  # file systems without locks
            mine = try_lock(descriptor)
        if not mine:
            raise ConfigError(f"another process works on '{outbox}'; stop it, or give another outbox")
        yield
    finally:
        os.close(descriptor)


def _remove_work(outbox: Path) -> None:
    """Remove what a killed process left unfinished."""
    for work in outbox.glob(f"{_WORK}*"):
        if work.is_symlink():
            raise ConfigError(f"'{work}' is a link; remove it")
        shutil.rmtree(work, ignore_errors=True)


def _known(outbox: Path) -> dict[str, set[Sign]]:
    """Return which files the outbox holds results of, so that a restart does not read them all again."""
    found: dict[str, set[Sign]] = {}
    for file in (*outbox.glob(f"*/{_SOURCE}"), *outbox.glob(f"{QUARANTINE}/*/{_SOURCE}")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # then the file is read again
            content = json.loads(file.read_text(encoding="utf-8"))
            found.setdefault(content["name"], set()).add((int(content["size"]), int(content["changed_ns"])))
    return found


def _look(inbox: Path, facts: _Facts, report: Callable[[str], None]) -> tuple[list[str], int]:
    """Return the names of the files to take, the oldest first, and how many may still be written."""
    ready: list[tuple[int, str]] = []
    waiting, seen = 0, {}
    with os.scandir(inbox) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name.lower().endswith(_UNFINISHED):
                continue
            try:
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if not stat.S_ISREG(found.st_mode):
                if entry.name not in facts.told:
                    facts.told.add(entry.name)
                    report(f"{entry.name}: passed over, as it is no plain file")
                continue
            sign = (found.st_size, found.st_mtime_ns)
            if sign in facts.done.get(entry.name, ()):
                continue
            seen[entry.name] = sign
            if facts.seen.get(entry.name) == sign:
                ready.append((found.st_mtime_ns, entry.name))
            else:
                waiting += 1
    facts.seen.clear()
    facts.seen.update(seen)
    return [name for _, name in sorted(ready)], waiting


def _take(file: Path, outbox: Path, handle: Handle, facts: _Facts, report: Callable[[str], None]) -> str:
    """Handle a file unless it is done, and return ``done``, ``bad``, ``known``, ``changed`` or ``unreadable``."""
    sign = facts.seen[file.name]
    try:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            return "known"
        facts.done.setdefault(file.name, set()).add(sign)
        report(f"{file.name}: cannot be read ({error.strerror}), left in the inbox until the next start")
        return "unreadable"
    key = f"{file.name}.{digest[:12]}" if len(os.fsencode(file.name)) <= _LONGEST else digest
    target, bad = outbox / key, outbox / QUARANTINE / key
    if target.is_dir() or bad.is_dir():
        facts.done.setdefault(file.name, set()).add(sign)
        return "known"
    work = outbox / f"{_WORK}{key}"
    shutil.rmtree(work, ignore_errors=True)
    make_folder(work)
    words, reason = "", _DEADLY
    if (attempts := _Attempts(outbox, key)).begin():
        try:
            words, reason = _handled(file, work, handle)
        finally:
            attempts.forget()  # the process outlived it
    if _sign_of(file) != sign:
        shutil.rmtree(work)
        facts.seen.pop(file.name, None)
        return "changed"
    if reason:
        shutil.rmtree(work)
        make_folder(work)
        make_folder(bad.parent)
        _set_aside(file, work, reason)
        target = bad
    about = {"name": file.name, "size": sign[0], "changed_ns": sign[1], "sha256": digest}
    (work / _SOURCE).write_text(json.dumps(about) + "\n", encoding="utf-8")
    os.rename(work, target)
    attempts.forget()
    facts.done.setdefault(file.name, set()).add(sign)
    report(f"{file.name}: quarantined ({reason})" if reason else f"{file.name}: {words}")
    return "bad" if reason else "done"


def _handled(file: Path, work: Path, handle: Handle) -> tuple[str, str]:
    """Return what ``handle`` says of a file, or why it cannot be handled; errors that are not the file's are raised."""
    try:
        return handle(file, work), ""
    except (ConfigError, ModelError, MissingPackageError):
        raise
    except TrustsegError as error:
        return "", str(error).replace(f"{file.parent}{os.sep}", "")  # the outbox may be handed on
    except Exception as error:
        if not file.exists():
            return "", "it is gone"
        if misfortune(error) is not None:
            raise
        fault = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return "", f"{fault}; this is a bug in trustseg; please report it"


def _set_aside(file: Path, work: Path, reason: str) -> None:
    """Copy a bad file into a folder, with a file that says why."""
    shutil.copyfile(file, work / file.name)
    name = f"{file.name}.reason.txt" if len(os.fsencode(file.name)) <= _LONGEST else "reason.txt"
    (work / name).write_text(reason + "\n", encoding="utf-8", errors="backslashreplace")


def _sign_of(file: Path) -> Sign | None:
    """Return size and time of a file, None if it is gone."""
    try:
        found = file.lstat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns
