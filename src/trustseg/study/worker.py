"""A worker: takes cells of a study that nobody works on, one after another, until none is left.

Started as ``python -m trustseg.study.worker FOLDER [PARENT]``. Workers know nothing of each other: a lock on a cell's
folder says that it is taken, and the system frees it when its owner dies. Any number may run, here or elsewhere.
"""

import os
import sys
import threading
import time
import traceback
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from trustseg.errors import TrustsegError

if TYPE_CHECKING:
    from trustseg.config import RunConfig
    from trustseg.data import Pack

__all__ = ["work"]


def work(folder: Path, *, only: Collection[str] | None = None) -> None:
    """Run the unfinished, unclaimed cells of a study; one that breaks is marked as failed and the others go on.

    A mixture whose members are at work elsewhere is left to whoever comes when they are done. At last come the checks
    that a finished cell could not make before another one was trained.

    Args:
        folder: a study's folder, prepared by ``study.runner``.
        only: the cells to take; all by default.
    """
    from trustseg.config import load_run
    from trustseg.data import open_dataset
    from trustseg.files import read_json, write_json
    from trustseg.study.cell import check_again, claimed, is_done, run_cell
    from trustseg.study.mixtures import is_blocked
    from trustseg.study.surrogates import awaiting_surrogate

    def read(cell: Path) -> "tuple[RunConfig, Pack]":
        config = load_run(cell / "config.yaml")
        return config, open_dataset(str(config.data.path), size=config.data.size, channels=config.data.channels)

    plan = read_json(folder / "plan.json")["cells"]
    for name in plan if isinstance(plan, list) else []:
        if only is not None and name not in only:
            continue
        cell = folder / "cells" / str(name)
        if is_blocked(cell):
            continue
        with claimed(cell) as mine:
            if not mine or is_done(cell) or (cell / "failed.json").exists():
                continue
            try:
                run_cell(cell, *read(cell))
            except Exception as error:  # whatever broke this cell, the others go on
                traceback.print_exc()
                sentence = str(error) if isinstance(error, TrustsegError) else f"{type(error).__name__}: {error}"
                write_json(cell / "failed.json", {"error": sentence})
    for cell in awaiting_surrogate(folder):
        with claimed(cell) as mine:
            try:
                if mine:
                    check_again(cell, *read(cell))
            except Exception:  # the cell is done; what was not checked, its report says
                traceback.print_exc()


def _end_with(parent: int) -> None:
    """End this process when its parent is gone, so that a killed study leaves no workers behind.

    Args:
        parent: process id of the parent; it may be gone before this process asks for it.
    """
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        threading.Thread(target=_end_with, args=(int(sys.argv[2]),), daemon=True).start()
    work(Path(sys.argv[1]))
