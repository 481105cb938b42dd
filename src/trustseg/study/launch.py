"""A study on a SLURM cluster: an array of jobs of one cell each, requeued at the limit, resumed where they stopped.

The batch system is told through submitit, which asks SLURM for a signal before the limit and puts the job back into the
queue. Mixtures make a second array, held back until the first has ended. A cell keeps its own checkpoints, so nothing
is handed over: the interrupted epoch starts anew and ends with the same weights. Submission returns at once. Folder and
data must lie on a file system that the nodes share.
"""

import getpass
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trustseg.config import StudyConfig
from trustseg.errors import ConfigError, MissingPackageError, RunError
from trustseg.files import make_folder, read_json, write_json
from trustseg.run_files import Failed, read_checked
from trustseg.study.mixtures import mixture_of
from trustseg.study.profiles import SlurmProfile
from trustseg.study.runner import CellStatus, prepare_study, study_status
from trustseg.study.worker import work

if TYPE_CHECKING:
    from submitit.core.utils import DelayedSubmission

__all__ = [
    "CellTask",
    "Submission",
    "batch_script",
    "queue_states",
    "status_in_queue",
    "submit_study",
    "submitted_cells",
]


@dataclass(frozen=True, slots=True)
class CellTask:
    """What a job runs: a cell of the study in a folder."""

    folder: str

    def __call__(self, name: str) -> None:
        """Run one cell.

        Raises:
            RunError: if the cell failed, so that the batch system shows the job as failed, too.
        """
        folder = Path(self.folder)
        work(folder, only=[name])
        failed = folder / "cells" / name / "failed.json"
        if failed.exists():
            raise RunError(read_checked(failed, Failed).error)

    def checkpoint(self, name: str) -> "DelayedSubmission":
        """Return the job that goes on: the same one."""
        from submitit.core.utils import DelayedSubmission

        return DelayedSubmission(self, name)


@dataclass(frozen=True, slots=True)
class Submission:
    """What was put into the queue.

    Attributes:
        jobs: job id -> cell.
        script: the batch script of the first array.
        logs: folder of the jobs' output.
    """

    jobs: Mapping[str, str]
    script: str
    logs: Path


def submit_study(config: StudyConfig, folder: Path, *, profile: SlurmProfile) -> Submission:
    """Put the cells of a study into SLURM's queue, those apart that are done or already there.

    Args:
        folder: where the study lives, on a file system that the nodes share.
        profile: what a cell is given, see ``load_profile``.

    Raises:
        MissingPackageError: if submitit is not installed.
        ConfigError: if there is no SLURM here, or it refuses the jobs.
        DataError: if the data cannot be read.
    """
    _require_submitit()
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise ConfigError("no SLURM on this machine (no sbatch or srun); run this on a login node of the cluster")
    import submitit

    queue = queue_states(folder)  # before failed cells are opened again
    prepare_study(config, folder)
    names = [cell.name for cell in study_status(folder) if cell.state == "waiting" and cell.name not in queue]
    logs = _logs(folder)
    if not names:
        return Submission({}, "", logs)
    make_folder(logs)
    executor = submitit.SlurmExecutor(folder=logs, max_num_timeout=profile.requeues)
    task, submitted = CellTask(str(folder.resolve())), dict[str, str]()
    mixtures = [name for name in names if mixture_of(folder / "cells" / name) is not None]
    running = [job for cell, job in submitted_cells(folder).items() if cell in queue]
    try:
        for array in ([name for name in names if name not in mixtures], mixtures):
            after = [*running, *submitted] if array is mixtures else []
            executor.update_parameters(**_parameters(config, profile, after=after))
            jobs = executor.map_array(task, array) if array else []
            submitted |= {job.job_id: name for job, name in zip(jobs, array, strict=True)}
            write_json(logs / "jobs.json", {**_jobs(folder), **submitted})
    except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
        last = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise ConfigError(f"SLURM refused the jobs ({last[0].strip()}); change that as slurm.FIELD=value") from error
    number = next(iter(submitted)).partition("_")[0]
    return Submission(submitted, (logs / f"{number}_submission.sh").read_text(encoding="utf-8"), logs)


def batch_script(config: StudyConfig, folder: Path, *, profile: SlurmProfile, cells: int) -> str:
    """Return the script that ``submit_study`` would give to ``sbatch`` for some number of cells; needs no SLURM.

    Raises:
        MissingPackageError: if submitit is not installed.
    """
    _require_submitit()
    from submitit.slurm.slurm import _make_sbatch_string

    command = f"{sys.executable} -u -m submitit.core._submit {_logs(folder)}"
    parameters = _parameters(config, profile) | ({"map_count": cells} if cells > 1 else {})
    return str(_make_sbatch_string(command=command, folder=_logs(folder), **parameters))


def submitted_cells(folder: Path) -> dict[str, str]:
    """Return the last job that each cell of a study was given to: cell -> job id; empty if it never met a cluster."""
    return {cell: job for job, cell in _jobs(folder).items()}


def queue_states(folder: Path) -> dict[str, str]:
    """Return what SLURM's queue says of the cells of a study: cell -> e.g. ``"PENDING (Resources)"``.

    Cells that are not in the queue are left out; all are where nothing was submitted, or no SLURM is here.
    """
    jobs = _jobs(folder)
    if not jobs or shutil.which("squeue") is None:
        return {}
    command = ["squeue", "--noheader", "--array", f"--user={getpass.getuser()}", "--format=%i|%T|%r"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    states = {}
    for line in found.stdout.splitlines():
        job, state, reason = line.strip().split("|", maxsplit=2)
        if job in jobs:
            states[jobs[job]] = f"{state} ({reason})" if reason not in ("None", "") else state
    return states


def status_in_queue(folder: Path) -> list[CellStatus]:
    """Return where each cell of a study stands, with what SLURM's queue says of it.

    A cell that was submitted, is not finished and has left the queue is waiting with a sentence: its job was ended from
    outside, for want of memory, say.

    Raises:
        MissingFileError: if there is no study in the folder.
    """
    jobs, queue = submitted_cells(folder), queue_states(folder)
    if shutil.which("squeue") is None:
        return study_status(folder)
    found = []
    for cell in study_status(folder):
        job, state = jobs.get(cell.name), queue.get(cell.name, "")
        if job is not None and cell.state in ("running", "waiting"):
            if state:
                running = state.startswith("RUNNING")  # a lock of another node is not seen on every file system
                cell = replace(cell, queue=f"{job} {state}", state="running" if running else "waiting")
            elif cell.state == "waiting":
                log = _logs(folder) / f"{job}_0_log.out"
                error = f"its job {job} ended before it was done; see {log}, submit the study again"
                cell = replace(cell, error=error)
        found.append(cell)
    return found


def _parameters(config: StudyConfig, profile: SlurmProfile, *, after: Iterable[str] = ()) -> dict[str, Any]:
    """Return the options of the batch script, whose jobs begin when those of ``after`` have ended, well or not."""
    cores = profile.cpus_per_task
    arrays = sorted({job.partition("_")[0] for job in after})
    wanted = {
        "job_name": f"trustseg-{config.name}",
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "time": profile.timeout_min,
        "gpus_per_node": profile.gpus_per_node or None,
        "cpus_per_task": cores,
        "mem": None if profile.mem_gb is None else f"{round(profile.mem_gb * 1024)}M",
        "array_parallelism": profile.array_parallelism,
        "signal_delay_s": profile.signal_delay_s,
        "stderr_to_stdout": True,
        "srun_args": [f"--cpus-per-task={cores}"],  # since 22.05 srun does not inherit it
        "setup": [*profile.setup, f"export OMP_NUM_THREADS={cores} MKL_NUM_THREADS={cores}"],
        "additional_parameters": {"requeue": True}
        | ({"dependency": ":".join(["afterany", *arrays])} if arrays else {}),
    }
    return {key: value for key, value in wanted.items() if value is not None}


def _logs(folder: Path) -> Path:
    return folder.resolve() / "slurm"


def _jobs(folder: Path) -> dict[str, str]:
    file = _logs(folder) / "jobs.json"
    return {job: str(cell) for job, cell in read_json(file).items()} if file.is_file() else {}


def _require_submitit() -> None:
    try:
        import submitit  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingPackageError("--cluster slurm needs submitit; run pip install 'trustseg[slurm]'") from error
