"""A worker: takes unclaimed cells of a study, one after another, until none is left.

Started as ``python -m trustseg.study.worker FOLDER [PARENT]``. Workers know nothing of each other: a lock on a cell's
folder says that it is taken, and the system frees it when its owner dies. Any number may run, here or elsewhere.
"""

import os
import sys
import threading
import time
import traceback
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trustseg.errors import TrustsegError, misfortune

if TYPE_CHECKING:
    from trustseg.config import RunConfig
    from trustseg.data import Pack

__all__ = ["main", "work"]


def work(folder: Path, *, only: Collection[str] | None = None) -> None:
    """Run the unfinished, unclaimed cells of a study; one that breaks is marked as failed and the others go on.

    A mixture whose members are at work elsewhere is left to the worker that finishes last. At last come the checks
    that a finished cell could not make before another one was trained.

    Args:
        folder: a study's folder, prepared by ``study.runner``.
        only: the cells to take; all by default.
    """
    # A training is repeatable on a GPU only if this was set before the process, which may evaluate first, used cuBLAS.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    from trustseg.config import load_run, open_images
    from trustseg.files import write_json
    from trustseg.study.cell import check_again, claimed, run_cell
    from trustseg.study.folder import is_done, planned_cells
    from trustseg.study.mixtures import is_blocked
    from trustseg.study.surrogates import awaiting_surrogate

    def read(cell: Path) -> "tuple[RunConfig, Pack]":
        config = load_run(cell / "config.yaml")
        return config, open_images(config.data)

    for name in planned_cells(folder):
        if only is not None and name not in only:
            continue
        cell = folder / "cells" / name
        if is_blocked(cell):
            continue
        with claimed(cell) as mine:
            if not mine or is_done(cell) or (cell / "failed.json").exists():
                continue
            try:
                run_cell(cell, *read(cell))
            except Exception as error:  # whatever broke this cell, the others go on
                write_json(cell / "failed.json", {"error": _told(error)})
    for cell in awaiting_surrogate(folder):
        with claimed(cell) as mine:
            try:
                if mine:
                    check_again(cell, *read(cell))
            except Exception:  # the cell is done; what was not checked, its report says
                traceback.print_exc()


def _told(error: Exception) -> str:
    """Return in one sentence what broke a cell, and tell the log more if that is not all there is to know."""
    if not isinstance(error, TrustsegError) and (sentence := misfortune(error)) is not None:
        sys.stderr.write(f"{sentence}\n")
        return sentence
    traceback.print_exc()
    return str(error) if isinstance(error, TrustsegError) else f"{type(error).__name__}: {error}"


def _end_with(parent: int) -> None:
    """End this process when its parent is gone, now or later, so that a killed study leaves no workers behind."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def main(arguments: Sequence[str]) -> None:
    """Work on a study; exits with a sentence if not even a failure can be noted, on a disk that is full, say.

    Args:
        arguments: the study's folder and, if the worker is to end with it, the process id of its parent.
    """
    if len(arguments) > 1:
        threading.Thread(target=_end_with, args=(int(arguments[1]),), daemon=True).start()
    try:
        work(Path(arguments[0]))
    except (TrustsegError, OSError) as error:
        sys.exit(str(error) if isinstance(error, TrustsegError) else misfortune(error))


if __name__ == "__main__":
    main(sys.argv[1:])
