"""A study finishes whatever happens to its processes, shown with stand-ins for workers."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.study.small import described, gone, states, wait_for, written

from trustseg.data import write_phantoms
from trustseg.errors import ConfigError, DataError, MissingFileError, RunError
from trustseg.files import write_json
from trustseg.study import runner
from trustseg.study.cell import claimed
from trustseg.study.runner import CellStatus, prepare_study, run_study, study_status

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
        if (cell / "done.json").exists():
            continue
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

    def start(folder: Path, threads: int, number: int) -> subprocess.Popen[bytes]:
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
    with pytest.raises(RunError, match=r"a worker failed \(OSError: libtorch\.so is missing\).*trustseg doctor"):
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
        described(folder / "cells" / name)
    for name in "ab":
        write_json(folder / "cells" / name / "warnings.json", {"catastrophic_overfitting": [3, 4]})
    write_json(folder / "cells" / "a" / "done.json", {})
    assert [(cell.state, cell.warning) for cell in study_status(folder)] == [
        ("done", "overfitted to its attack in epochs 4, 5"),
        ("waiting", "overfitted to its attack in epochs 4, 5"),
        ("waiting", ""),
    ]


def test_status_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"no study in '.*' \(no plan\.json\)"):
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
    with pytest.raises(ConfigError, match=r"training\.devices=2 in a study"):
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


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("progress.json", {"stage": "training", "done": -1, "total": 4}),
        ("progress.json", {"stage": "training", "done": "1", "total": 4}),
        ("failed.json", {"error": ["no memory"]}),
        ("cell.json", {"variant": 3}),
    ],
)
def test_a_tampered_file_is_named(tmp_path: Path, file: str, content: object) -> None:
    cell = tmp_path / "cells" / "a"
    write_json(tmp_path / "plan.json", {"cells": ["a"]})
    described(cell)
    write_json(cell / file, content)
    with pytest.raises(DataError, match=file):
        study_status(tmp_path)
