"""Runs the cells of a study in worker processes; can be killed at any moment and started again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from trustseg.config import StudyConfig
from trustseg.data import open_dataset, write_phantoms
from trustseg.errors import RunError
from trustseg.files import read_json, write_json, write_text
from trustseg.study.cell import prepare_cell
from trustseg.study.grid import cells_of

__all__ = ["CellStatus", "prepare_study", "run_study", "study_status"]

Observer = Callable[[Sequence["CellStatus"]], None]


@dataclass(frozen=True, slots=True)
class CellStatus:
    """Where a cell stands.

    Attributes:
        name: its folder's name.
        variant: what it compares, in words.
        state: done, failed, running or waiting. A cell that was begun and is not run at the moment is waiting.
        stage: what it is at, "training" or "evaluation".
        share: how much of that stage is done, in [0, 1].
        error: the sentence of a failed cell.
    """

    name: str
    variant: str
    state: Literal["done", "failed", "running", "waiting"]
    stage: str = ""
    share: float = 0.0
    error: str = ""


def prepare_study(config: StudyConfig, folder: Path) -> list[str]:
    """Write the plan of a study and the folders of its cells; return the cells' names.

    Cells that exist are left as they are; those that failed before will be tried again.

    Args:
        config: the study.
        folder: where it lives.

    Raises:
        ConfigError: if a cell's configuration does not fit.
        DataError: if the data cannot be read.
    """
    path = _phantoms(config, folder) if config.data.path is None else Path(config.data.path)
    pack = open_dataset(path, size=config.data.size, channels=config.data.channels)
    located = config.model_copy(update={"data": config.data.model_copy(update={"path": str(path.resolve())})})
    cells = cells_of(located, data_digest=pack.digest)
    for cell in cells:
        prepare_cell(cell, folder / "cells" / cell.name)
        (folder / "cells" / cell.name / "failed.json").unlink(missing_ok=True)
    names = [cell.name for cell in cells]
    write_text(folder / "study.yaml", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
    write_json(folder / "plan.json", {"cells": names, "data": {"digest": pack.digest, "layout": pack.layout}})
    return names


def _phantoms(config: StudyConfig, folder: Path) -> Path:
    """Return the generated dataset of a study that names no data, making it on the first call."""
    wanted = config.phantoms
    path = folder / f"phantoms_{config.data.size}px_{wanted.train}_{wanted.test}_{wanted.control}_seed{wanted.seed}"
    if path.exists():
        return path
    return write_phantoms(
        path,
        train=wanted.train,
        test=wanted.test,
        control=wanted.control,
        size=config.data.size,
        seed=wanted.seed,
    )


def study_status(folder: Path, *, running: Sequence[int] = ()) -> list[CellStatus]:
    """Return where each cell of a study's plan stands, read from the folder alone.

    Args:
        folder: a study's folder.
        running: process ids of the workers that are alive.
    """
    names = read_json(folder / "plan.json")["cells"]
    return [_status(folder / "cells" / str(name), running) for name in (names if isinstance(names, list) else [])]


def _status(cell: Path, running: Sequence[int]) -> CellStatus:
    variant = str(read_json(cell / "cell.json")["variant"])
    if (cell / "done.json").exists():
        return CellStatus(cell.name, variant, "done", share=1.0)
    if (cell / "failed.json").exists():
        return CellStatus(cell.name, variant, "failed", error=str(read_json(cell / "failed.json")["error"]))
    stage, share = "", 0.0
    if (cell / "progress.json").exists():
        progress = read_json(cell / "progress.json")
        stage = str(progress["stage"])
        share = float(str(progress["done"])) / max(1.0, float(str(progress["total"])))
    state: Literal["running", "waiting"] = "running" if _owner(cell) in running else "waiting"
    return CellStatus(cell.name, variant, state, stage=stage, share=share)


def _owner(cell: Path) -> int | None:
    """Return the process that last claimed a cell."""
    lock = cell / "claim.lock"
    text = lock.read_text() if lock.exists() else ""
    return int(text) if text.isdigit() else None


def run_study(config: StudyConfig, folder: Path, *, jobs: int = 1, observer: Observer | None = None) -> None:
    """Run all cells of a study that are not done.

    Args:
        config: the study.
        folder: where it lives; a study that was begun there goes on.
        jobs: worker processes; each gets an equal share of the processor's cores.
        observer: called several times a second with the status of all cells.

    Raises:
        ConfigError: if the configuration does not fit.
        RunError: if some cells failed; all others are finished then.
    """
    prepare_study(config, folder)
    workers: list[subprocess.Popen[bytes]] = []
    try:
        while True:
            alive = [worker for worker in workers if worker.poll() is None]
            for worker in workers:
                _look_after(folder, worker)
            status = study_status(folder, running=[worker.pid for worker in alive])
            waiting = sum(cell.state == "waiting" for cell in status)
            running = sum(cell.state == "running" for cell in status)
            if observer is not None:
                observer(status)
            if not alive and not waiting:
                break
            workers = alive
            idle = len(alive) - running
            while len(workers) < jobs and waiting > idle:
                workers.append(_start_worker(folder, jobs))
                idle += 1
            time.sleep(0.3)
    finally:
        for worker in workers:
            worker.terminate()
    failed = [cell for cell in study_status(folder) if cell.state == "failed"]
    if failed:
        raise RunError(
            f"{len(failed)} of {len(status)} cells failed, the others are done; first: {failed[0].name}: "
            f"{failed[0].error}; see {folder}/workers.log, mend the cause and run the same command again"
        )


def _start_worker(folder: Path, jobs: int) -> subprocess.Popen[bytes]:
    threads = max(1, (os.cpu_count() or 1) // jobs)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    with (folder / "workers.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "trustseg.study.worker", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
        )


def _look_after(folder: Path, worker: subprocess.Popen[bytes]) -> None:
    """Mark the cell of a worker that was killed as failed, so that it is not tried for ever.

    Raises:
        RunError: if the worker broke outside of any cell.
    """
    if worker.returncode is None or worker.returncode == 0:
        return
    if worker.returncode > 0:
        last = (folder / "workers.log").read_text(errors="replace").strip().splitlines()[-1:]
        raise RunError(
            f"a worker could not work ({' '.join(last)}); see {folder}/workers.log, then run trustseg doctor"
        )
    name = signal.Signals(-worker.returncode).name
    message = f"its process was ended by {name}; out of memory is the usual cause: lower --jobs or training.batch_size"
    for status in study_status(folder, running=[worker.pid]):
        if status.state == "running":
            write_json(folder / "cells" / status.name / "failed.json", {"error": message})
