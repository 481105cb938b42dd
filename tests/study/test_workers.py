"""A study finishes whatever happens to its processes, shown with workers, most of them forked from a warm process."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file
from tests.study.small import dying_worker, gone, run_written, states, wait_for, written
from tests.training.tiny import tiny_worker
from tests.warm import Started, start, start_worker

from trustseg.errors import RunError
from trustseg.study import runner, worker
from trustseg.study.runner import prepare_study, run_study, study_status

pytestmark = pytest.mark.slow


@pytest.fixture
def warm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_start_worker", start_worker)


def records(folder: Path) -> list[pl.DataFrame]:
    return [pl.read_parquet(folder / "cells" / cell.name / "records.parquet") for cell in study_status(folder)]


def weights(folder: Path) -> list[dict[str, np.ndarray]]:
    cells = (folder / "cells" / cell.name for cell in study_status(folder))
    return [load_file(cell / "model" / "model.safetensors") for cell in cells]


def same_results(one: Path, other: Path) -> bool:
    tables = all(left.equals(right) for left, right in zip(records(one), records(other), strict=True))
    models = zip(weights(one), weights(other), strict=True)
    return tables and all(np.array_equal(left[key], right[key]) for left, right in models for key in left)


@pytest.mark.usefixtures("warm")
def test_a_worker_killed_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = written(tmp_path, epochs=3)
    run_study(config, tmp_path / "whole", jobs=2)
    workers = chain([dying_worker], repeat(tiny_worker))
    monkeypatch.setattr(
        runner, "_start_worker", lambda folder, *_: start(next(workers), folder, log=folder / "workers.log")
    )
    with pytest.raises(RunError, match="SIGKILL"):  # one at a time, or the other might take both cells
        run_study(config, tmp_path / "killed", jobs=1)
    assert sorted(states(tmp_path / "killed")) == ["done", "failed"]
    run_study(config, tmp_path / "killed", jobs=2)
    assert same_results(tmp_path / "whole", tmp_path / "killed")


@contextmanager
def parent(tmp_path: Path) -> Iterator[Started]:
    """A process that runs the study with a worker of its own; it is gone at the end, whatever the test found."""
    process = start(run_written, tmp_path, log=tmp_path / "parent.log")
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
        process.wait()
    wait_for(lambda: all(gone(owner) for owner in owners), seconds=60)
    assert states(tmp_path / "run") == ["waiting", "waiting"]


@pytest.mark.slow
def test_two_parents_share_the_work(tmp_path: Path) -> None:
    config = written(tmp_path)
    with parent(tmp_path) as one, parent(tmp_path) as other:
        assert (one.wait(), other.wait()) == (0, 0)
    assert states(tmp_path / "run") == ["done", "done"]
    prepare_study(config, tmp_path / "alone")
    assert start(worker.main, [str(tmp_path / "alone")], log=tmp_path / "alone.log").wait() == 0
    assert same_results(tmp_path / "run", tmp_path / "alone")


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ("model.weights=[nowhere.safetensors, null]", r"no weights file 'nowhere\.safetensors'"),
        ("training.learning_rate=[1.0e+30, 1.0e-3]", r"of epoch \d+ is not finite"),
    ],
)
def test_a_failing_cell_does_not_stop_the_others(tmp_path: Path, values: str, words: str) -> None:
    config = written(tmp_path, "grid.adversarial.selection=[none]", f"grid.{values}")
    with pytest.raises(RunError, match=f"1 of 2 cells failed.*{words}"):
        run_study(config, tmp_path / "run", jobs=2)
    assert states(tmp_path / "run") == ["failed", "done"]
    assert "Traceback" in (tmp_path / "run" / "workers.log").read_text()
