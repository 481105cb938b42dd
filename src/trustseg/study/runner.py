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

from trustseg.config import StudyConfig, open_images
from trustseg.data import write_phantoms
from trustseg.errors import ConfigError, DataError, MissingFileError, RunError
from trustseg.files import private_log, write_json, write_text
from trustseg.run_files import Description, Failed, Progress, read_checked
from trustseg.study.cell import is_claimed, prepare_cell, warnings_of
from trustseg.study.environment import with_threads, worker_environment
from trustseg.study.folder import data_folder, is_done, planned_cells, require_kept
from trustseg.study.grid import cells_of
from trustseg.study.mixtures import is_blocked
from trustseg.study.surrogates import awaiting_surrogate
from trustseg.training.provenance import COMMAND, command_line

__all__ = ["CellStatus", "prepare_study", "require_study", "run_study", "study_status"]

Observer = Callable[[Sequence["CellStatus"]], None]


@dataclass(frozen=True, slots=True)
class CellStatus:
    """Where a cell stands.

    Attributes:
        name: its folder's name.
        variant: what it compares, in words.
        state: a cell that was begun and that no process works on is waiting.
        stage: what it is at, "training" or "evaluation".
        share: how much of that stage is done, in [0, 1].
        error: the sentence of a failed cell.
        owner: process that last worked on it; None if none did.
        queue: what a batch system says of its job.
        blocked: whether it waits for the cells that its mixture is made of.
        warning: what its training warned of, in words; empty if nothing.
    """

    name: str
    variant: str
    state: Literal["done", "failed", "running", "waiting"]
    stage: str = ""
    share: float = 0.0
    error: str = ""
    owner: int | None = None
    queue: str = ""
    blocked: bool = False
    warning: str = ""


def require_study(config: StudyConfig) -> None:
    """Check what can be known of a study before anything is written.

    Raises:
        ConfigError: if its cells do not fit, two of them are the same, or one would take several devices.
    """
    if config.training.devices > 1:
        raise ConfigError(
            f"training.devices={config.training.devices} in a study, where cells run in parallel; set "
            "training.devices=1 and choose --jobs"
        )
    cells_of(config, data_digest="")


def prepare_study(config: StudyConfig, folder: Path) -> list[str]:
    """Write the plan of a study and the folders of its cells; return the cells' names.

    Cells that exist are left as they are; those that failed before will be tried again.

    Raises:
        ConfigError: if a cell's configuration does not fit, or a cell with results would leave the study.
        DataError: if the data cannot be read.
    """
    require_study(config)
    config = with_threads(config)
    require_kept(config, folder)
    path = data_folder(config, folder)
    if config.data.path is None and not path.exists():
        _write_phantoms(config, path)
    pack = open_images(config.data, path=path)
    located = config.model_copy(update={"data": config.data.model_copy(update={"path": str(path.resolve())})})
    cells = cells_of(located, data_digest=pack.digest)
    for cell in cells:
        prepare_cell(cell, folder / "cells" / cell.name)
        (folder / "cells" / cell.name / "failed.json").unlink(missing_ok=True)
    names = [cell.name for cell in cells]
    write_text(folder / "study.yaml", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
    write_json(folder / "plan.json", {"cells": names, "data": {"digest": pack.digest, "layout": pack.layout}})
    return names


def _write_phantoms(config: StudyConfig, path: Path) -> None:
    try:
        write_phantoms(path, size=config.data.size, **config.phantoms.model_dump())
    except DataError:
        if not path.exists():  # else another start of the same study was faster
            raise


def study_status(folder: Path) -> list[CellStatus]:
    """Return where each cell of a study's plan stands, read from its folder alone.

    Raises:
        MissingFileError: if there is no study in it.
    """
    if not (folder / "plan.json").is_file():
        raise MissingFileError(
            f"no study in '{folder}' (no plan.json); start it with 'trustseg study CONFIG', or give its --output"
        )
    return [_status(folder / "cells" / name) for name in planned_cells(folder)]


def _status(cell: Path) -> CellStatus:
    variant = read_checked(cell / "cell.json", Description).variant
    if is_done(cell):
        return CellStatus(cell.name, variant, "done", share=1.0, warning=_warning(cell))
    if (cell / "failed.json").exists():
        return CellStatus(cell.name, variant, "failed", error=read_checked(cell / "failed.json", Failed).error)
    stage, share = "", 0.0
    if (cell / "progress.json").exists():
        progress = read_checked(cell / "progress.json", Progress)
        stage, share = progress.stage, progress.done / max(1, progress.total)
    return CellStatus(
        cell.name,
        variant,
        "running" if is_claimed(cell) else "waiting",
        stage=stage,
        share=share,
        owner=_owner(cell),
        blocked=is_blocked(cell),
        warning=_warning(cell),
    )


def _warning(cell: Path) -> str:
    epochs = warnings_of(cell).get("catastrophic_overfitting")
    if not isinstance(epochs, list):
        return ""
    return f"overfitted to its attack in epochs {', '.join(str(epoch + 1) for epoch in epochs)}"


def _owner(cell: Path) -> int | None:
    lock = cell / "claim.lock"
    text = lock.read_text() if lock.exists() else ""
    return int(text) if text.isdigit() else None


def run_study(config: StudyConfig, folder: Path, *, jobs: int = 1, observer: Observer | None = None) -> None:
    """Run all cells of a study that are not done; cells that another start of it works on are waited for.

    Args:
        config: the study.
        folder: where it lives; a study that was begun there goes on.
        jobs: worker processes; how many there are changes no result.
        observer: called several times a second with the status of all cells.

    Raises:
        ConfigError: if the configuration does not fit.
        RunError: if some cells failed; all others are finished then.
    """
    prepare_study(config, folder)
    threads = with_threads(config).training.threads or 1
    workers = {0: _start_worker(folder, threads, 0)} if awaiting_surrogate(folder) else {}
    try:
        while True:
            alive = {number: worker for number, worker in workers.items() if worker.poll() is None}
            for worker in workers.values():
                _look_after(folder, worker)
            workers = alive
            status = study_status(folder)
            if observer is not None:
                observer(status)
            if not alive and all(cell.state in ("done", "failed") for cell in status):
                break
            waiting = sum(cell.state == "waiting" and not cell.blocked for cell in status)
            owners = {cell.owner for cell in status if cell.state == "running"}
            idle = sum(worker.pid not in owners for worker in alive.values())
            while len(workers) < jobs and waiting > idle:
                number = min(set(range(jobs)) - workers.keys())
                workers[number] = _start_worker(folder, threads, number)
                idle += 1
            time.sleep(0.3)
    finally:
        _end(list(workers.values()))
    failed = [cell for cell in status if cell.state == "failed"]
    if failed:
        raise RunError(
            f"{len(failed)} of {len(status)} cells failed, the others are done; first: {failed[0].name}: "
            f"{failed[0].error}; see {folder}/workers.log, fix the cause and run the same command again"
        )


def _start_worker(folder: Path, threads: int, number: int) -> subprocess.Popen[bytes]:
    with private_log(folder / "workers.log") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "trustseg.study.worker", str(folder), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=worker_environment(threads, number) | {COMMAND: command_line()},
            start_new_session=True,  # Ctrl-C is for this process, which ends its workers
        )


def _end(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask the workers to end, and make them after a few seconds."""
    for worker in workers:
        worker.terminate()
    for worker in workers:
        try:
            worker.wait(timeout=5)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


def _look_after(folder: Path, worker: subprocess.Popen[bytes]) -> None:
    """Mark the cell of a worker that was killed as failed, so that it is not tried for ever.

    Raises:
        RunError: if the worker broke outside of any cell.
    """
    code = worker.returncode
    if code is None or code == 0:
        return
    number = -code if code < 0 else code - 128
    if number not in set(signal.Signals):
        last = (folder / "workers.log").read_text(errors="replace").strip().splitlines()[-1:]
        raise RunError(f"a worker failed ({' '.join(last)}); see {folder}/workers.log, then run trustseg doctor")
    killer = signal.Signals(number)
    cause = "; out of memory is the usual cause: lower --jobs or training.batch_size" * (killer is signal.SIGKILL)
    for cell in study_status(folder):
        if cell.owner == worker.pid and cell.state == "waiting":
            error = f"its process was ended by {killer.name}{cause or '; run the same command again'}"
            write_json(folder / "cells" / cell.name / "failed.json", {"error": error})
