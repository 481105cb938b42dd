"""What SLURM is told, without SLURM: the script, the queue as stand-ins print it, the jobs that are submitted."""

import stat
from pathlib import Path

import pytest
from tests.study.small import written

from trustseg.config import StudyConfig
from trustseg.errors import ConfigError, MissingPackageError, RunError
from trustseg.files import write_json
from trustseg.study import launch
from trustseg.study.launch import CellTask, batch_script, queue_states, status_in_queue, submit_study
from trustseg.study.profiles import SlurmProfile, load_profile
from trustseg.study.runner import prepare_study


@pytest.fixture
def config(tmp_path: Path) -> StudyConfig:
    return written(tmp_path, "grid.adversarial.selection=[none, random, uncertain]")


def profile(*settings: str) -> SlurmProfile:
    return load_profile("lucia", ["slurm.account=lung", "slurm.timeout_min=240", *settings])


def program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(stat.S_IRWXU)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins for SLURM's programs: jobs get the number 7, the queue is what ``queue`` holds."""
    pytest.importorskip("submitit")
    folder = tmp_path / "bin"
    program(folder, "srun", "exit 1")
    program(folder, "sbatch", 'echo "Submitted batch job 7"')
    program(folder, "squeue", f"cat {folder}/queue 2>/dev/null")
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder


def lines(script: str) -> list[str]:
    return [line.removeprefix("#SBATCH --") for line in script.splitlines() if line.startswith("#SBATCH")]


def test_the_script_asks_for_what_the_profile_says(tmp_path: Path, config: StudyConfig) -> None:
    pytest.importorskip("submitit")
    script = batch_script(config, tmp_path / "run", profile=profile("slurm.setup=[module load Python]"), cells=3)
    asked = lines(script)
    for line in ("account=lung", "partition=gpu", "gpus-per-node=1", "cpus-per-task=8", "mem=61440M", "time=240"):
        assert line in asked
    assert {"array=0-2%3", "requeue", "signal=USR2@90", "open-mode=append"} <= set(asked)
    assert script.index("module load Python") < script.index("export OMP_NUM_THREADS=8") < script.index("srun ")
    assert "--cpus-per-task=8" in script.splitlines()[-1]
    assert not (tmp_path / "run").exists()  # a dry run writes nothing


def test_one_cell_is_no_array_and_no_gpu_is_asked_for(tmp_path: Path, config: StudyConfig) -> None:
    pytest.importorskip("submitit")
    asked = lines(
        batch_script(config, tmp_path, profile=profile("slurm.gpus_per_node=0", "slurm.mem_gb=null"), cells=1)
    )
    assert not any(line.startswith(("array", "gpus", "mem")) for line in asked)


def test_cells_are_submitted_once(tmp_path: Path, config: StudyConfig, cluster: Path) -> None:
    folder = tmp_path / "run"
    names = prepare_study(config, folder)
    write_json(folder / "cells" / names[0] / "done.json", {})
    first = submit_study(config, folder, profile=profile())
    assert first.jobs == {"7_0": names[1], "7_1": names[2]}
    assert first.script == (folder / "slurm" / "7_submission.sh").read_text()
    (cluster / "queue").write_text("7_0|RUNNING|None\n7_1|PENDING|Resources\n9_0|RUNNING|None\n")
    assert queue_states(folder) == {names[1]: "RUNNING", names[2]: "PENDING (Resources)"}
    done, running, pending = status_in_queue(folder)
    assert (done.state, done.queue) == ("done", "")
    assert (running.state, running.queue) == ("running", "7_0 RUNNING")
    assert (pending.state, pending.queue) == ("waiting", "7_1 PENDING (Resources)")
    assert submit_study(config, folder, profile=profile()).jobs == {}

    (cluster / "queue").write_text("7_0|RUNNING|None\n")  # the other one was killed
    lost = status_in_queue(folder)[2]
    assert lost.state == "waiting"
    assert "its job 7_1 ended before it was done" in lost.error
    assert submit_study(config, folder, profile=profile()).jobs == {"7": names[2]}


def test_mixtures_begin_when_their_members_have_ended(tmp_path: Path, config: StudyConfig, cluster: Path) -> None:
    settings = ["grid.adversarial.selection=[none]", "grid.training.seed=[0, 1]", "mixtures={ensemble: true}"]
    config, folder = written(tmp_path, *settings), tmp_path / "run"
    program(cluster, "sbatch", f'echo x >> {cluster}/calls; echo "Submitted batch job $(wc -l < {cluster}/calls)"')
    first, second, ensemble = prepare_study(config, folder)
    assert submit_study(config, folder, profile=profile()).jobs == {"1_0": first, "1_1": second, "2": ensemble}
    scripts = [(folder / "slurm" / f"{number}_submission.sh").read_text() for number in (1, 2)]
    assert ["dependency=afterany:1" in lines(script) for script in scripts] == [False, True]

    write_json(folder / "cells" / first / "done.json", {})
    (cluster / "queue").write_text("1_1|RUNNING|None\n")  # the ensemble's job was cancelled
    assert submit_study(config, folder, profile=profile()).jobs == {"3": ensemble}
    assert "dependency=afterany:1" in lines((folder / "slurm" / "3_submission.sh").read_text())


def test_a_cluster_that_is_not_there(tmp_path: Path, config: StudyConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"no SLURM on this machine.*a login node of the cluster"):
        submit_study(config, tmp_path / "run", profile=profile())
    assert not (tmp_path / "run").exists()
    assert queue_states(tmp_path / "run") == {}


def test_a_cluster_that_refuses(tmp_path: Path, config: StudyConfig, cluster: Path) -> None:
    program(cluster, "sbatch", 'echo "sbatch: error: invalid partition specified: gpu" >&2; exit 1')
    with pytest.raises(ConfigError, match=r"SLURM refused the jobs \(.*invalid partition specified: gpu"):
        submit_study(config, tmp_path / "run", profile=profile())


def test_without_submitit(tmp_path: Path, config: StudyConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "submitit", None)
    with pytest.raises(MissingPackageError, match=r"run pip install 'trustseg\[slurm\]'"):
        submit_study(config, tmp_path / "run", profile=profile())


def test_a_failed_cell_is_a_failed_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(launch, "work", lambda folder, only: asked.append((folder, only)))
    CellTask(str(tmp_path))("a")
    assert asked == [(tmp_path, ["a"])]
    write_json(tmp_path / "cells" / "a" / "failed.json", {"error": "the loss of epoch 3 is not finite"})
    with pytest.raises(RunError, match="the loss of epoch 3 is not finite"):
        CellTask(str(tmp_path))("a")


def test_a_preempted_job_is_the_same_job_again(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    again = CellTask(str(tmp_path)).checkpoint("a")
    assert (again.function, again.args) == (CellTask(str(tmp_path)), ("a",))
