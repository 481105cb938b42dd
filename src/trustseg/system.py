"""Differences between Linux, macOS and Windows: locks on files, and the number of usable cores."""

import os
import sys

if sys.platform == "win32":
    import msvcrt
else:
    try:
        import fcntl
    except ModuleNotFoundError:  # a Python without it: files are not locked
        fcntl = None  # type: ignore[assignment]  # what is missing there

__all__ = ["available_cores", "keeps_leftovers", "try_lock"]

_FAR = 2**30  # Windows locks bytes: one behind the end of any file that is locked here


def available_cores() -> int:
    """Return how many cores this process may use, at least 1."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keeps_leftovers() -> bool:
    """Return whether files of killed processes are left where they are, as no lock tells them from files in use."""
    return sys.platform == "win32" or fcntl is None


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Return whether an open file could be locked; the lock ends with the process, however that ends.

    Args:
        descriptor: of the open file.
        shared: let others have a shared lock as well; Windows has none, and takes an exclusive one.

    Raises:
        OSError: if the file system has no locks.
    """
    if sys.platform == "win32":
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
