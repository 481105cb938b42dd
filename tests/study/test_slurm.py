"""A study on a real SLURM of one node, started here: a preempted job is requeued, a killed one is submitted again."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file
from tests.study.small import wait_for, written

from trustseg.study.launch import queue_states, status_in_queue, submit_study, submitted_cells
from trustseg.study.profiles import load_profile
from trustseg.study.runner import run_study, study_status

SCRIPT = Path(__file__).parents[2] / "scripts" / "slurm_here.sh"
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch")
pytestmark = [
    pytest.mark.slurm,
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(map(shutil.which, NEEDED)), reason="needs root and slurm-wlm: make slurm-test"
    ),
]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    pytest.importorskip("submitit")
    monkeypatch.setenv("SLURM_HERE_PORT", "17817")
    subprocess.run([SCRIPT, "start", tmp_path / "slurm"], check=True)
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm" / "slurm.conf"))
    try:
        yield
    finally:
        subprocess.run(["scancel", f"--user={os.environ.get('USER', 'root')}"], check=False)
        subprocess.run([SCRIPT, "stop", tmp_path / "slurm"], check=True)


def scontrol(*arguments: str) -> str:
    return subprocess.run(["scontrol", *arguments], capture_output=True, text=True, check=True).stdout


def begun(folder: Path) -> dict[str, int]:
    """Cells that have finished an epoch but not their training, each with its process."""
    cells = study_status(folder)
    return {c.name: c.owner for c in cells if c.state == "running" and 0 < c.share < 0.8 and c.owner is not None}


def results(folder: Path) -> list[tuple[pl.DataFrame, dict[str, np.ndarray]]]:
    cells = [folder / "cells" / cell.name for cell in study_status(folder)]
    return [
        (pl.read_parquet(cell / "records.parquet"), load_file(cell / "model" / "model.safetensors")) for cell in cells
    ]


def test_a_study_with_a_preempted_and_a_killed_job(tmp_path: Path, slurm: None) -> None:
    folder = tmp_path / "cluster"
    config = written(tmp_path, "grid.model.head=[bernoulli, beta]", "training.validation_every=12", epochs=12)
    profile = load_profile("generic", ["slurm.timeout_min=30", "slurm.gpus_per_node=0", "slurm.cpus_per_task=1"])

    first = submit_study(config, folder, profile=profile)
    assert len(first.jobs) == 4
    assert "#SBATCH --array=0-3" in first.script
    assert submit_study(config, folder, profile=profile).jobs == {}  # all are in the queue

    wait_for(lambda: bool(begun(folder)))
    preempted = next(iter(begun(folder)))
    job = submitted_cells(folder)[preempted]
    subprocess.run(["scancel", "--signal=USR2", job], check=False)
    wait_for(lambda: "Restarts=1" in scontrol("show", "job", job))
    wait_for(lambda: queue_states(folder)[preempted].startswith("PENDING"))
    scontrol("update", f"jobid={job}", "StartTime=now")  # SLURM lets a requeued job wait for two minutes

    wait_for(lambda: bool(set(begun(folder)) - {preempted}))
    killed, process = next((name, owner) for name, owner in begun(folder).items() if name != preempted)
    os.kill(process, signal.SIGKILL)
    wait_for(lambda: killed not in queue_states(folder))
    (lost,) = (cell for cell in status_in_queue(folder) if cell.name == killed)
    assert (lost.state, submitted_cells(folder)[killed] in lost.error) == ("waiting", True)
    assert list(submit_study(config, folder, profile=profile).jobs.values()) == [killed]

    wait_for(lambda: all(cell.state == "done" for cell in study_status(folder)))
    run_study(config, tmp_path / "local", jobs=2)  # one thread each, as on the cluster
    for (table, weights), (same_table, same_weights) in zip(results(folder), results(tmp_path / "local"), strict=True):
        assert table.equals(same_table)
        assert all(np.array_equal(weights[key], same_weights[key]) for key in same_weights)
