"""A study of two cells on a few small images, and how a test follows it."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests import fake
from tests.training.tiny import tiny_worker

from trustseg.config import StudyConfig, load_study
from trustseg.files import write_json
from trustseg.study import cell
from trustseg.study.runner import run_study, study_status

STUDY = """
name: small
data: {path: PATH, size: 32}
model: {head: bernoulli}
training: {epochs: EPOCHS, batch_size: 2, validation_every: 1, validation_steps: 1, accelerator: cpu}
adversarial: {warmup_epochs: 0, ramp_epochs: 0}
evaluation: {attacks: [{name: fgsm, eps: [4/255]}], gallery: 1}
grid:
  adversarial.selection: [none, uncertain]
"""


def written(tmp_path: Path, *settings: str, epochs: int = 1) -> StudyConfig:
    fake.qata(tmp_path / "data", control=False)
    file = tmp_path / "small.yaml"
    file.write_text(STUDY.replace("PATH", str(tmp_path / "data")).replace("EPOCHS", str(epochs)))
    return load_study(file, settings)


def run_written(folder: Path) -> None:
    """Run the study that ``written`` left in a folder, in a process of its own."""
    run_study(load_study(folder / "small.yaml"), folder / "run")


def dying_worker(folder: Path) -> None:
    """Work on a study in a process of its own until two epochs of a training are done."""

    def killing(path: Path, content: object) -> None:
        write_json(path, content)
        if isinstance(content, dict) and (content.get("stage"), content.get("done")) == ("training", 2):
            os.kill(os.getpid(), signal.SIGKILL)

    cell.write_json = killing  # type: ignore[attr-defined]  # which the module imports
    tiny_worker(folder)


def states(folder: Path) -> list[str]:
    return [cell.state for cell in study_status(folder)]


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def wait_for(reached: Callable[[], bool], *, seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "this should have happened by now"
        time.sleep(0.05)


def described(cell: Path, **changed: object) -> None:
    """Write the ``cell.json`` of a cell, with what is ``changed`` in it."""
    about = {"id": cell.name, "variant": cell.name, "head": "beta", "selection": "none", "fold": 0, "seed": 0}
    write_json(cell / "cell.json", about | changed)
