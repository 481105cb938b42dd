"""``trustseg study``: train and evaluate a grid of models."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from trustseg.cli.display import note, print_table, say
from trustseg.cli.options import SETTINGS_HELP, Keys, output_option, split_settings
from trustseg.cli.progress import duration
from trustseg.errors import ConfigError
from trustseg.system import available_cores
from trustseg.text import plural

if TYPE_CHECKING:
    from trustseg.config import StudyConfig

__all__ = ["default_jobs", "study"]

_UNITS = ((1e6, "millions of images"), (1e3, "thousands of images"), (1, "images"))


def default_jobs() -> int:
    """Return how many cells run side by side: one on a machine with a GPU, else one for each core, at most eight."""
    if Path("/proc/driver/nvidia/version").exists():
        return 1
    return min(8, available_cores())


def study(
    settings: Annotated[list[str], typer.Argument(help=f"{SETTINGS_HELP} With --cluster also slurm.FIELD=value.")],
    output: Annotated[Path | None, output_option("Study folder. Default: runs/NAME.")] = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, help="Cells to run at once. Default: one per core, up to 8; 1 with a GPU."),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show cells, passes and estimated time, and exit.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Show the state of every cell, and exit.")] = False,
    hypotheses: Annotated[
        Path | None, typer.Option(help="YAML file of hypotheses that the report tests; kept in the study's folder.")
    ] = None,
    cluster: Annotated[Literal["slurm"] | None, typer.Option(help="Submit the cells to a cluster: slurm.")] = None,
    profile: Annotated[
        str, typer.Option(help="What a cell is given on the cluster: generic, lucia, or a YAML file.")
    ] = "generic",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --cluster: show what would be submitted, and exit.")
    ] = False,
    keys: Keys = False,
) -> None:
    """Train and evaluate every cell of a grid; resumes if run again."""
    from trustseg.config import load_study

    file, overrides = split_settings(settings)
    if file is None:
        raise ConfigError("no study file; give a YAML file, such as those in experiments/")
    asked = [text for text in overrides if text.startswith("slurm.")]
    if (asked or dry_run) and cluster is None:
        raise ConfigError(f"got {asked[0] if asked else '--dry-run'} without a cluster; add --cluster slurm")
    config = load_study(file, [text for text in overrides if text not in asked])
    folder = output or Path("runs") / config.name
    if status:
        _show_status(folder)
        return
    _check_hypotheses(hypotheses, config, folder)
    if plan:
        _show_plan(config, folder, jobs or default_jobs())
        return
    if cluster is not None:
        _submit(config, folder, profile, asked, hypotheses=hypotheses, dry_run=dry_run)
        return

    from trustseg.cli.progress import watched_study
    from trustseg.study.runner import run_study

    _require(config, folder)
    _keep_hypotheses(hypotheses, folder)
    with watched_study() as observer:
        run_study(config, folder, jobs=jobs or default_jobs(), observer=observer)
    say(f"study: {folder}")
    say(f"next: trustseg report {folder}")


def _show_status(folder: Path) -> None:
    from trustseg.study.launch import status_in_queue

    for cell in status_in_queue(folder):
        words = (f"{cell.state:8} {cell.stage:10} {cell.share:4.0%}", cell.name, cell.queue, cell.warning, cell.error)
        say("  ".join(word for word in words if word))


def _show_plan(config: "StudyConfig", folder: Path, jobs: int) -> None:
    """Print the cells of each variant, their passes, and the time left."""
    from trustseg.cli.checks import idle_attacks
    from trustseg.config import with_values
    from trustseg.reporting.labels import describe_variant
    from trustseg.study.plan import plan_study

    for sentence in dict.fromkeys(idle_attacks(with_values(config, values) for values in config.combinations())):
        note(sentence)
    say("counting cells and timing one step of training ...", err=True)
    plan = plan_study(config, folder)
    most = max(max(row.training, row.evaluation) for row in plan.variants)
    unit, words = next((unit, words) for unit, words in _UNITS if most >= 10 * unit or unit == 1)
    header = ("variant", "cells", "done", "training", "evaluation", "time left")
    rows = [
        (
            describe_variant(row.variant, head=row.head, selection=row.selection),
            str(row.cells),
            str(row.done),
            *(f"{passes / unit:.{0 if unit == 1 else 1}f}" for passes in (row.training, row.evaluation)),
            duration(row.seconds),
        )
        for row in plan.variants
    ]
    print_table(header, rows, width=120)
    cells = sum(row.cells for row in plan.variants)
    say(
        f"{cells} cells; estimated forward and backward passes, in {words}; time from {plan.basis}: "
        f"about {duration(plan.seconds)} with one job, {duration(plan.seconds / jobs)} with --jobs {jobs}"
    )


def _check_hypotheses(file: Path | None, config: "StudyConfig", folder: Path) -> None:
    """Refuse a file of hypotheses about what no run can have, and say which this grid cannot test, and why."""
    from trustseg.study.grid import cells_of
    from trustseg.study.hypotheses import FILE, load_hypotheses, require_hypotheses, untestable

    stated = file or folder / FILE
    hypotheses = load_hypotheses(stated) if file is not None or stated.is_file() else []
    if file is not None:
        require_hypotheses(hypotheses, where=file)
    cells = cells_of(config, data_digest="")
    reasons = untestable(hypotheses, [cell.config for cell in cells])
    if reasons:
        say(f"this grid cannot test {len(reasons)} of {len(hypotheses)} hypotheses:", err=True)
        for name, reason in reasons.items():
            say(f"  {name}: {reason}", err=True)
    if len({(cell.config.training.seed, cell.config.data.fold) for cell in cells}) == 1:
        say("one seed: the variance between trainings is unknown; grid.training.seed=[0, 1, 2] estimates it", err=True)


def _keep_hypotheses(file: Path | None, folder: Path) -> None:
    """Copy a file of hypotheses, if one was given, into the study's folder."""
    from trustseg.files import replacing
    from trustseg.study.hypotheses import FILE

    if file is not None and file.resolve() != (folder / FILE).resolve():
        with replacing(folder / FILE) as temporary:
            shutil.copyfile(file, temporary)


def _submit(
    config: "StudyConfig", folder: Path, name: str, settings: list[str], *, hypotheses: Path | None, dry_run: bool
) -> None:
    """Put a study into SLURM's queue, or show what would be put there."""
    from trustseg.study.environment import with_threads
    from trustseg.study.folder import cells_in, is_done
    from trustseg.study.launch import batch_script, submit_study
    from trustseg.study.profiles import load_profile

    profile = load_profile(name, settings)
    _require(config, folder)
    if dry_run:
        cells = [cell for cell in cells_in(with_threads(config), folder) if not is_done(folder / "cells" / cell.name)]
        if not cells:
            say("every cell is done; nothing would be submitted")
            return
        mixtures = sum(cell.mixture is not None for cell in cells)
        typer.echo(batch_script(config, folder, profile=profile, cells=len(cells) - mixtures))
        second = f" and {mixtures} mixtures in a second one" * (mixtures > 0)
        say(
            f"{plural(len(cells) - mixtures, 'cell')}, each a task of one job array{second}; at most "
            f"{profile.most(len(cells))} if each uses its whole time limit"
        )
        return
    _keep_hypotheses(hypotheses, folder)
    submission = submit_study(config, folder, profile=profile)
    for job, cell in submission.jobs.items():
        say(f"{job}  {cell}")
    say(f"{len(submission.jobs)} jobs submitted; logs: {submission.logs}")
    say("next: the same command with --status; without it, lost cells are submitted again")


def _require(config: "StudyConfig", folder: Path) -> None:
    """Refuse, before a study writes anything, cells, a model, images or a folder that do not fit."""
    from trustseg.cli.checks import require_attacks, require_models, require_splits
    from trustseg.cli.images import images_of
    from trustseg.config import with_values
    from trustseg.study.environment import with_threads
    from trustseg.study.folder import require_kept
    from trustseg.study.runner import require_study

    require_study(config)
    runs = [with_values(config, values) for values in config.combinations()]
    require_models(runs)
    require_attacks(runs)
    if config.data.path is not None:
        require_splits(runs, images_of(config.data))
    require_kept(with_threads(config), folder)
