"""``trustseg demo`` and ``trustseg doctor``."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trustseg.cli.display import say
from trustseg.cli.options import output_option

if TYPE_CHECKING:
    from trustseg.config import StudyConfig

__all__ = ["demo", "doctor"]

EXPERIMENTS = Path(__file__).parent.parent / "experiments"


def demo(
    quick: Annotated[bool, typer.Option("--quick", help="Tiny version to test the installation.")] = False,
    output: Annotated[Path | None, output_option("Study folder. Default: runs/demo or runs/tiny.")] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Cells to run at once.")] = None,
) -> None:
    """Generate chest X-rays, train and attack six models (2 heads x 3 selections), write report.html."""
    from trustseg.cli.progress import progress_of, watched_study
    from trustseg.cli.study import default_jobs
    from trustseg.config import load_study

    since = time.perf_counter()
    config = load_study(EXPERIMENTS / ("tiny.yaml" if quick else "demo.yaml"))
    folder = output or Path("runs") / config.name

    from trustseg.study.runner import run_study

    with watched_study() as observer:
        run_study(config, folder, jobs=jobs or default_jobs(), observer=observer)

    from trustseg.reporting import build_report, print_summary
    from trustseg.tables import read_csv

    with progress_of("report, step") as progress:
        page = build_report(folder, report=progress)
    print_summary(read_csv(page.parent / "tables" / "summary.csv"))
    predictions, cell = _predictions(config, folder)
    say(f"{time.perf_counter() - since:.0f} s; report: {page}")
    say(f"next: trustseg review {predictions} --records {cell}")


def _predictions(config: "StudyConfig", folder: Path) -> tuple[Path, Path]:
    """Predict the test images of a study of phantoms by its last cell, under its policy, unless that was done.

    Returns the folder of the predictions, which is ready to be reviewed, and the cell.
    """
    from trustseg.cli.predict import Choices, with_model
    from trustseg.evaluation.predict import image_files_of
    from trustseg.prediction_folder import TABLE
    from trustseg.study.folder import phantom_folder, planned_cells

    cell, predictions = folder / "cells" / planned_cells(folder)[-1], folder / "predictions"
    if not (predictions / TABLE).is_file():
        ready = with_model(cell / "model", Choices(policy=cell / "policy.json"))
        films = image_files_of(phantom_folder(config, folder) / "Test Set" / "Images")
        ready.run(films, predictions, scale=ready.scale)
    return predictions, cell


def doctor() -> None:
    """Check the installation; the output holds no names or paths and can be pasted into an issue."""
    from trustseg.cli.diagnosis import diagnose
    from trustseg.cli.display import print_table

    findings = list(diagnose())
    rows = [(finding.check, finding.state, finding.found, finding.advice) for finding in findings]
    print_table(("check", "state", "found", "what to do"), rows, width=100)
    if any(finding.state == "missing" for finding in findings):
        raise typer.Exit(2)
