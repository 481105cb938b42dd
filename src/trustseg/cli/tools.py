"""``trustseg demo`` and ``trustseg doctor``."""

import time
from pathlib import Path
from typing import Annotated

import typer

from trustseg.cli.display import say

__all__ = ["demo", "doctor"]

EXPERIMENTS = Path(__file__).parent.parent / "experiments"


def demo(
    quick: Annotated[
        bool, typer.Option("--quick", help="A tiny version, under a minute; its numbers mean nothing.")
    ] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Default: runs/demo or runs/tiny.")] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Cells run side by side.")] = None,
) -> None:
    """Generate chest X-rays, train 2 heads x 3 regimes on them, attack and measure them, write report.html."""
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
    say(f"{time.perf_counter() - since:.0f} s; report: {page}")


def doctor() -> None:
    """Tell what is installed, what is missing and what to do about it, without names or paths: fit for an issue."""
    from trustseg.cli.diagnosis import diagnose
    from trustseg.cli.display import print_table

    findings = list(diagnose())
    rows = [(finding.check, finding.state, finding.found, finding.advice) for finding in findings]
    print_table(("check", "state", "found", "what to do"), rows, width=160)
    if any(finding.state == "missing" for finding in findings):
        raise typer.Exit(2)
