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
from collections import Counter, defaultdict
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
    if not inbox.is_dir():
        raise MissingFileError(f"no inbox '{inbox}'; make the folder, or check the path")
    make_folder(outbox)
    if inbox.resolve() == outbox.resolve():
        raise ConfigError(f"'{inbox}' cannot be inbox and outbox; give two folders")
    outcomes = Counter[str]()
    with _locked(outbox):
        _remove_work(outbox)
        watched = _Watched(inbox, outbox, handle, report)
        while not stop.is_set():
            ready, waiting = watched.look()
            for name in ready:
                if stop.is_set():
                    break
                outcome = watched.take(inbox / name)
                outcomes[outcome] += 1
                waiting += outcome == "changed"
            if once and not waiting and not ready:
                break
            stop.wait(interval)
        ready, waiting = watched.look()
        return Counts(outcomes["done"], outcomes["bad"], len(ready) + waiting)


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


class _Watched:
    """An inbox: which files are known to be done without reading them, and what the last look found."""

    def __init__(self, inbox: Path, outbox: Path, handle: Handle, report: Callable[[str], None]) -> None:
        self.inbox, self.outbox, self.handle, self.report = inbox, outbox, handle, report
        self.seen: dict[str, Sign] = {}
        self.told: set[str] = set()  # names of what is passed over
        self.done: defaultdict[str, set[Sign]] = defaultdict(set)
        for file in (*outbox.glob(f"*/{_SOURCE}"), *outbox.glob(f"{QUARANTINE}/*/{_SOURCE}")):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # then the file is read again
                content = json.loads(file.read_text(encoding="utf-8"))
                self.done[content["name"]].add((int(content["size"]), int(content["changed_ns"])))

    def look(self) -> tuple[list[str], int]:
        """Return the names of the files to take, the oldest first, and how many may still be written."""
        ready: list[tuple[int, str]] = []
        waiting, seen = 0, dict[str, Sign]()
        with os.scandir(self.inbox) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith(".") or name.lower().endswith(_UNFINISHED):
                    continue
                try:
                    file_stat = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                sign = (file_stat.st_size, file_stat.st_mtime_ns)
                if not stat.S_ISREG(file_stat.st_mode):
                    if name not in self.told:
                        self.told.add(name)
                        self.report(f"{name}: passed over, as it is no plain file")
                elif sign not in self.done[name]:
                    seen[name] = sign
                    if self.seen.get(name) == sign:
                        ready.append((file_stat.st_mtime_ns, name))
                    else:
                        waiting += 1
        self.seen = seen
        return [name for _, name in sorted(ready)], waiting

    def take(self, file: Path) -> str:
        """Handle a file unless it is done, and return ``done``, ``bad``, ``known``, ``changed`` or ``unreadable``."""
        name, sign = file.name, self.seen[file.name]
        try:
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except FileNotFoundError:
            return "known"
        except OSError as error:
            self.done[name].add(sign)
            self.report(f"{name}: cannot be read ({error.strerror}), left in the inbox until the next start")
            return "unreadable"
        key = f"{name}.{digest[:12]}" if len(os.fsencode(name)) <= _LONGEST else digest
        good, bad, work = self.outbox / key, self.outbox / QUARANTINE / key, self.outbox / f"{_WORK}{key}"
        if good.is_dir() or bad.is_dir():
            self.done[name].add(sign)
            return "known"
        _make_empty(work)
        attempts = self.outbox / _ATTEMPTS / key
        words, reason = self._attempted(file, work, attempts)
        if _sign_of(file) != sign:
            shutil.rmtree(work)
            self.seen.pop(name, None)
            return "changed"
        if reason:
            _make_empty(work)
            make_folder(bad.parent)
            shutil.copyfile(file, work / name)
            note = f"{name}.reason.txt" if len(os.fsencode(name)) <= _LONGEST else "reason.txt"
            (work / note).write_text(reason + "\n", encoding="utf-8", errors="backslashreplace")
        about = {"name": name, "size": sign[0], "changed_ns": sign[1], "sha256": digest}
        (work / _SOURCE).write_text(json.dumps(about) + "\n", encoding="utf-8")
        os.rename(work, bad if reason else good)
        attempts.unlink(missing_ok=True)
        self.done[name].add(sign)
        self.report(f"{name}: quarantined ({reason})" if reason else f"{name}: {words}")
        return "bad" if reason else "done"

    def _attempted(self, file: Path, work: Path, attempts: Path) -> tuple[str, str]:
        """Return as ``_handled``, unless the process ended too often while it handled the file, as a file counts."""
        make_folder(attempts.parent)
        with attempts.open("ab") as stream:
            stream.write(b".")
            if stream.tell() > _MOST_ATTEMPTS:
                return "", _DEADLY
        try:
            return _handled(file, work, self.handle)
        finally:
            attempts.unlink()  # the process outlived it


def _make_empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    make_folder(folder)


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
        fault = " ".join(str(error).split())
        return "", f"unexpected error: {fault}; this is a bug in trustseg, please report it"


def _sign_of(file: Path) -> Sign | None:
    """Return size and time of a file, None if it is gone."""
    try:
        found = file.lstat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns
