"""Processes that start at once: forked from one that has imported what trains and measures, which takes seconds."""

import multiprocessing
import os
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from subprocess import TimeoutExpired

from tests.training.tiny import tiny_worker

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    ["tests.training.tiny", "trustseg.training", "trustseg.evaluation", "trustseg.study.cell", "trustseg.study.worker"]
)


@dataclass
class Started:
    """A process with as much of the interface of ``subprocess.Popen`` as a study asks for."""

    process: ForkServerProcess

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.process.exitcode

    def terminate(self) -> None:
        self.process.terminate()

    def kill(self) -> None:
        self.process.kill()

    def wait(self, timeout: float | None = None) -> int:
        self.process.join(timeout)
        if self.process.exitcode is None:
            raise TimeoutExpired("worker", timeout or 0)
        return self.process.exitcode


def start(target: Callable[..., None], *arguments: object, log: Path) -> Started:
    """Call a function of a module in a new process, whose output goes to ``log``."""
    process = _SERVER.Process(target=_logged, args=(log, target, *arguments), daemon=True)
    process.start()
    return Started(process)


def start_worker(folder: Path, jobs: int, number: int) -> Started:
    """Start a worker as ``trustseg.study.runner`` does, but for the command line, the environment and the network."""
    return start(tiny_worker, folder, log=folder / "workers.log")


def _logged(log: Path, target: Callable[..., None], *arguments: object) -> None:
    with log.open("ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    target(*arguments)
