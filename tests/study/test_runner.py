"""A study finishes whatever happens to its processes: first with stand-ins for workers, then with real ones."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file
from tests import fake

from trustseg.config import StudyConfig, load_study
from trustseg.data import write_phantoms
from trustseg.errors import ConfigError, MissingFileError, RunError
from trustseg.files import write_json
from trustseg.study import runner
from trustseg.study.cell import claimed
from trustseg.study.runner import CellStatus, prepare_study, run_study, study_status

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


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUSTSEG_CACHE", str(tmp_path / "cache"))


def written(tmp_path: Path, *settings: str, epochs: int = 1) -> StudyConfig:
    fake.qata(tmp_path / "data", control=False)
    file = tmp_path / "small.yaml"
    file.write_text(STUDY.replace("PATH", str(tmp_path / "data")).replace("EPOCHS", str(epochs)))
    return load_study(file, settings)


# What a worker does, without torch: it takes the first cell that is free and does as FOLDER/orders says.
STAND_IN = """
import fcntl, json, os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
for name in json.loads((folder / "plan.json").read_text())["cells"]:
    cell = folder / "cells" / name
    if (cell / "done.json").exists() or (cell / "failed.json").exists():
        continue
    with (cell / "claim.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        with (folder / "starts").open("a") as starts:
            starts.write(name + " ")
        order = (folder / "orders").read_text() if (folder / "orders").exists() else ""
        (folder / "orders").unlink(missing_ok=True)
        exec(order)
        (cell / "done.json").write_text("{}")
"""


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let workers be stand-ins; returns their process ids as they are started."""
    started: list[int] = []

    def start(folder: Path, jobs: int) -> subprocess.Popen[bytes]:
        with (folder / "workers.log").open("ab") as log:
            worker = subprocess.Popen([sys.executable, "-c", STAND_IN, str(folder)], stdout=log, stderr=log)
        started.append(worker.pid)
        return worker

    monkeypatch.setattr(runner, "_start_worker", start)
    return started


def ordered(tmp_path: Path, order: str) -> Path:
    """Return a study's folder whose first worker does ``order``."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "orders").write_text(order)
    return folder


def states(folder: Path) -> list[str]:
    return [cell.state for cell in study_status(folder)]


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_finished_study_whose_checks_await_a_model_gets_a_worker(
    tmp_path: Path, stand_ins: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, folder = written(tmp_path), tmp_path / "run"
    run_study(config, folder)
    before = len(stand_ins)
    run_study(config, folder)
    assert len(stand_ins) == before
    monkeypatch.setattr(runner, "awaiting_surrogate", lambda folder: [folder / "cells"])
    run_study(config, folder)
    assert len(stand_ins) == before + 1
    assert gone(stand_ins[-1])


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_all_cells_are_run_once(tmp_path: Path, stand_ins: list[int], jobs: int) -> None:
    config, folder = written(tmp_path), tmp_path / "run"
    seen: list[list[str]] = []
    run_study(config, folder, jobs=jobs, observer=lambda cells: seen.append([cell.state for cell in cells]))
    assert states(folder) == ["done", "done"]
    assert sorted((folder / "starts").read_text().split()) == sorted(cell.name for cell in study_status(folder))
    assert seen[0] == ["waiting", "waiting"]
    assert seen[-1] == ["done", "done"]
    assert len(stand_ins) <= min(jobs, 2)
    assert all(gone(pid) for pid in stand_ins)
    stand_ins.clear()
    run_study(config, folder, jobs=jobs)
    assert stand_ins == []  # nothing to do, nobody started


def test_a_killed_worker_is_noted_and_the_others_go_on(tmp_path: Path, stand_ins: list[int]) -> None:
    config, folder = written(tmp_path), ordered(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(RunError, match=r"1 of 2 cells failed.*ended by SIGKILL; out of memory.*workers\.log"):
        run_study(config, folder, jobs=1)
    assert states(folder) == ["failed", "done"]
    run_study(config, folder, jobs=1)
    assert states(folder) == ["done", "done"]


@pytest.mark.parametrize("order", ["os.kill(os.getpid(), signal.SIGTERM)", "sys.exit(128 + signal.SIGTERM)"])
def test_an_ended_worker_is_not_taken_for_a_lack_of_memory(tmp_path: Path, stand_ins: list[int], order: str) -> None:
    with pytest.raises(RunError, match=r"ended by SIGTERM; run the same command again"):
        run_study(written(tmp_path), ordered(tmp_path, order), jobs=1)


def test_a_worker_that_cannot_work(tmp_path: Path, stand_ins: list[int]) -> None:
    folder = ordered(tmp_path, "raise OSError('libtorch.so is missing')")
    with pytest.raises(RunError, match=r"could not work \(OSError: libtorch\.so is missing\).*trustseg doctor"):
        run_study(written(tmp_path), folder, jobs=1)
    assert all(gone(pid) for pid in stand_ins)


def test_an_interrupted_study_ends_its_workers(tmp_path: Path, stand_ins: list[int]) -> None:
    folder = ordered(tmp_path, "time.sleep(60)")

    def interrupting(cells: object) -> None:
        if (folder / "starts").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(written(tmp_path), folder, jobs=1, observer=interrupting)
    assert stand_ins
    assert all(gone(pid) for pid in stand_ins)


def test_cells_of_another_start_are_waited_for(tmp_path: Path, stand_ins: list[int]) -> None:
    config, folder = written(tmp_path), tmp_path / "run"
    prepare_study(config, folder)
    (folder / "orders").write_text("[time.sleep(0.01) for _ in range(6000) if not (folder / 'go').exists()]")
    with subprocess.Popen([sys.executable, "-c", STAND_IN, str(folder)]) as other:
        wait_for(lambda: "running" in states(folder))
        seen: list[list[CellStatus]] = []

        def observer(cells: object) -> None:
            seen.append(study_status(folder))
            if len(seen) == 8:
                (folder / "go").touch()

        run_study(config, folder, jobs=2, observer=observer)
        assert len(seen) > 8
        assert (seen[0][0].state, seen[0][0].owner) == ("running", other.pid)
        assert states(folder) == ["done", "done"]
        assert len(stand_ins) == 1  # for the other cell, and not again and again for the one that is taken


def wait_for(reached: Callable[[], bool], *, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "this should have happened by now"
        time.sleep(0.05)


def test_no_worker_is_started_for_a_mixture_that_must_wait(tmp_path: Path, stand_ins: list[int]) -> None:
    settings = ("grid.adversarial.selection=[none]", "grid.training.seed=[0, 1]", "mixtures={ensemble: true}")
    config, folder = written(tmp_path, *settings), tmp_path / "run"
    first, second, ensemble = prepare_study(config, folder)
    write_json(folder / "cells" / first / "done.json", {})
    with claimed(folder / "cells" / second):

        def observer(cells: Sequence[CellStatus]) -> None:
            seen.append([(cell.state, cell.blocked) for cell in cells])
            if len(seen) == 6:
                write_json(folder / "cells" / second / "done.json", {})

        seen: list[list[tuple[str, bool]]] = []
        run_study(config, folder, jobs=2, observer=observer)
    assert seen[0] == [("done", False), ("running", False), ("waiting", True)]
    assert seen[-1] == [("done", False)] * 3
    assert (folder / "starts").read_text().split() == [ensemble]
    assert len(stand_ins) == 1


def test_status_warns_of_catastrophic_overfitting(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    write_json(folder / "plan.json", {"cells": ["a", "b", "c"]})
    for name in "abc":
        write_json(folder / "cells" / name / "cell.json", {"variant": name})
    for name in "ab":
        write_json(folder / "cells" / name / "warnings.json", {"catastrophic_overfitting": [3, 4]})
    write_json(folder / "cells" / "a" / "done.json", {})
    assert [(cell.state, cell.warning) for cell in study_status(folder)] == [
        ("done", "overfitted to its attack in epochs 3, 4"),
        ("waiting", "overfitted to its attack in epochs 3, 4"),
        ("waiting", ""),
    ]


def test_status_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"no study in '.*', a folder with plan\.json was expected"):
        study_status(tmp_path)


def test_status_tells_stage_and_share(tmp_path: Path) -> None:
    config, folder = written(tmp_path), tmp_path / "run"
    first, second = prepare_study(config, folder)
    write_json(folder / "cells" / first / "progress.json", {"stage": "training", "done": 3, "total": 4})
    write_json(folder / "cells" / second / "failed.json", {"error": "it broke"})
    one, other = study_status(folder)
    assert (one.name, one.state, one.stage, one.share, one.owner) == (first, "waiting", "training", 0.75, None)
    assert (other.variant, other.state, other.error) == ("uncertain", "failed", "it broke")
    prepare_study(config, folder)  # another start tries again
    assert states(folder) == ["waiting", "waiting"]


def test_studies_run_cells_on_one_device(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"training\.devices=2 in a study, 1 was expected"):
        prepare_study(written(tmp_path, "training.devices=2"), tmp_path / "run")


def test_phantoms_are_made_once(tmp_path: Path) -> None:
    config = written(tmp_path, "data.path=null", "phantoms={train: 4, test: 2, control: 0}")
    names = prepare_study(config, tmp_path / "run")
    (made,) = (tmp_path / "run").glob("phantoms_*")
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    assert prepare_study(config, tmp_path / "run") == names
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before


def test_phantoms_that_another_start_made_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(path: Path, **options: Any) -> Path:  # noqa: ANN401
        write_phantoms(path, **options)
        return write_phantoms(path, **options)

    monkeypatch.setattr(runner, "write_phantoms", late)
    config = written(tmp_path, "data.path=null", "phantoms={train: 4, test: 2, control: 0}")
    names = prepare_study(config, tmp_path / "run")
    assert names == [cell.name for cell in study_status(tmp_path / "run")] != []


# From here on with real workers, two at a time: each then has one thread, and equal threads give equal bits.


def records(folder: Path) -> list[pl.DataFrame]:
    return [pl.read_parquet(folder / "cells" / cell.name / "records.parquet") for cell in study_status(folder)]


def weights(folder: Path) -> list[dict[str, np.ndarray]]:
    cells = (folder / "cells" / cell.name for cell in study_status(folder))
    return [load_file(cell / "model" / "model.safetensors") for cell in cells]


def same_results(one: Path, other: Path) -> bool:
    tables = all(left.equals(right) for left, right in zip(records(one), records(other), strict=True))
    models = zip(weights(one), weights(other), strict=True)
    return tables and all(np.array_equal(left[key], right[key]) for left, right in models for key in left)


@pytest.mark.slow
def test_a_study_and_its_second_run(tmp_path: Path) -> None:
    config, folder = written(tmp_path), tmp_path / "run"
    run_study(config, folder, jobs=2)
    assert states(folder) == ["done", "done"]
    before = {path: path.stat().st_mtime_ns for path in (folder / "cells").rglob("*")}
    since = time.monotonic()
    run_study(config, folder, jobs=2)
    assert time.monotonic() - since < 3
    assert {path: path.stat().st_mtime_ns for path in (folder / "cells").rglob("*")} == before


@pytest.mark.slow
def test_mixtures_come_after_their_members(tmp_path: Path) -> None:
    settings = ("grid.adversarial.selection=[none]", "grid.training.seed=[0, 1]")
    config = written(tmp_path, *settings, "mixtures={ensemble: true, mc_dropout: 2}")
    seen: list[set[str]] = []
    run_study(
        config, tmp_path / "run", jobs=2, observer=lambda cells: seen.append({c.name for c in cells if c.blocked})
    )
    assert states(tmp_path / "run") == ["done"] * 4
    first, second, ensemble, sampled = study_status(tmp_path / "run")
    assert (seen[0], seen[-1]) == ({ensemble.name, sampled.name}, set())
    ended = [
        (tmp_path / "run" / "cells" / cell.name / "done.json").stat().st_mtime_ns
        for cell in (first, second, ensemble, sampled)
    ]
    assert max(ended[:2]) < ended[2]
    assert ended[0] < ended[3]
    tables = records(tmp_path / "run")
    assert all(table.columns == tables[0].columns for table in tables)


@pytest.mark.slow
def test_a_worker_killed_in_the_middle(tmp_path: Path) -> None:
    config = written(tmp_path, epochs=4)
    run_study(config, tmp_path / "whole", jobs=2)

    def killing(cells: object) -> None:
        for cell in study_status(tmp_path / "killed"):
            if cell.state == "running" and cell.share >= 0.5 and cell.owner and not killed:
                killed.append(cell.owner)
                os.kill(cell.owner, signal.SIGKILL)

    killed: list[int] = []
    with pytest.raises(RunError, match="SIGKILL"):
        run_study(config, tmp_path / "killed", jobs=2, observer=killing)
    assert sorted(states(tmp_path / "killed")) == ["done", "failed"]
    run_study(config, tmp_path / "killed", jobs=2)
    assert same_results(tmp_path / "whole", tmp_path / "killed")


PARENT = """
import sys
from pathlib import Path
from trustseg.config import load_study
from trustseg.study.runner import run_study
run_study(load_study(sys.argv[1]), Path(sys.argv[2]), jobs=2)
"""


@contextmanager
def parent(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs the study; it is gone at the end, whatever the test found."""
    command = [sys.executable, "-c", PARENT, str(tmp_path / "small.yaml"), str(tmp_path / "run")]
    with subprocess.Popen(command) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_a_killed_parent_leaves_no_workers(tmp_path: Path) -> None:
    written(tmp_path, epochs=500)
    with parent(tmp_path) as process:
        plan = tmp_path / "run" / "plan.json"
        wait_for(lambda: plan.exists() and any(cell.stage and cell.owner for cell in study_status(tmp_path / "run")))
        owners = [cell.owner for cell in study_status(tmp_path / "run") if cell.owner]
        process.kill()
    wait_for(lambda: all(gone(owner) for owner in owners), seconds=10)
    assert states(tmp_path / "run") == ["waiting", "waiting"]


@pytest.mark.slow
def test_two_parents_share_the_work(tmp_path: Path) -> None:
    config = written(tmp_path)
    with parent(tmp_path) as one, parent(tmp_path) as other:
        assert (one.wait(), other.wait()) == (0, 0)
    assert states(tmp_path / "run") == ["done", "done"]
    run_study(config, tmp_path / "alone", jobs=2)
    assert same_results(tmp_path / "run", tmp_path / "alone")


@pytest.mark.slow
def test_a_failing_cell_does_not_stop_the_others(tmp_path: Path) -> None:
    config = written(tmp_path, "grid.adversarial.selection=[none]", "grid.model.weights=[nowhere.safetensors, null]")
    with pytest.raises(RunError, match=r"1 of 2 cells failed.*no weights file 'nowhere\.safetensors'"):
        run_study(config, tmp_path / "run", jobs=2)
    assert states(tmp_path / "run") == ["failed", "done"]
    assert "Traceback" in (tmp_path / "run" / "workers.log").read_text()


@pytest.mark.slow
def test_a_cell_that_diverges_is_marked_with_its_epoch(tmp_path: Path) -> None:
    config = written(tmp_path, "grid.adversarial.selection=[none]", "grid.training.learning_rate=[1.0e+30, 1.0e-3]")
    with pytest.raises(RunError, match=r"1 of 2 cells failed.*of epoch \d+ is not finite"):
        run_study(config, tmp_path / "run", jobs=2)
    assert states(tmp_path / "run") == ["failed", "done"]
