"""``trustseg study``: many models, one question."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trustseg.cli.run import KEYS, SETTINGS_HELP, split_settings

if TYPE_CHECKING:
    from trustseg.config import StudyConfig

__all__ = ["default_jobs", "study"]


def default_jobs() -> int:
    """Return how many cells run side by side: one on a machine with a GPU, else one for each core, at most eight."""
    if Path("/proc/driver/nvidia/version").exists():
        return 1
    return min(8, len(os.sched_getaffinity(0)))


def study(
    settings: Annotated[list[str], typer.Argument(help=SETTINGS_HELP)],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Study folder. Default: runs/NAME.")] = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, help="Cells side by side. Default: one a core, at most 8; 1 with a GPU."),
    ] = None,
    status: Annotated[bool, typer.Option("--status", help="Only show where the study stands.")] = False,
    keys: Annotated[bool, KEYS] = False,
) -> None:
    """Train and evaluate every cell of a grid; started again, it goes on and repeats nothing that is done."""
    from trustseg.config import load_study
    from trustseg.errors import ConfigError

    file, overrides = split_settings(settings)
    if file is None:
        raise ConfigError("no study file was given, a YAML file was expected; see experiments/ for examples")
    config = load_study(file, overrides)
    folder = output or Path("runs") / config.name

    from trustseg.cli.display import watched_study
    from trustseg.study.runner import run_study, study_status

    if status:
        for cell in study_status(folder):
            typer.echo(f"{cell.state:8} {cell.stage:10} {cell.share:4.0%}  {cell.name}  {cell.error}".rstrip())
        return
    _require(config)
    with watched_study() as observer:
        run_study(config, folder, jobs=jobs or default_jobs(), observer=observer)
    sys.stdout.write(f"study: {folder}\nnext: trustseg report {folder}\n")


def _require(config: "StudyConfig") -> None:
    """Refuse, before a study writes anything, a model that cannot be built and images that cannot be split."""
    from trustseg.cli.checks import require_models, require_splits, runs_of
    from trustseg.data import open_dataset

    runs = runs_of(config)
    require_models(runs)
    if config.data.path is not None:
        require_splits(runs, open_dataset(config.data.path, size=config.data.size, channels=config.data.channels))
