"""``trustseg report``: the HTML page, tables and figures of a study, a run or an evaluation."""

from pathlib import Path
from typing import Annotated

import typer

from trustseg.cli.display import say

__all__ = ["report"]


def report(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_FOLDER", help="Folder of a study, of a run that was evaluated, or of one evaluation."
        ),
    ],
    gallery: Annotated[
        bool, typer.Option("--gallery/--no-gallery", help="Include example images (of patients, for real data).")
    ] = True,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="HTML file to write; tables/ and figures/ go next to it. [RUN_FOLDER/report.html]"
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="YAML file: your own names of 'variants' and 'conditions', and words for the first screen ('report').",
            metavar="FILE",
        ),
    ] = None,
) -> None:
    """Write report.html, tables/ (CSV, LaTeX) and figures/ (PDF, PNG) of a study, a run or an evaluation."""
    from trustseg.errors import ConfigError

    if output is not None and output.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"--output must be an HTML file, got '{output}'; give '{output / 'report.html'}'")

    from trustseg.cli.progress import progress_of
    from trustseg.reporting import build_report

    with progress_of("report, step") as progress:
        page = build_report(folder, gallery=gallery, output=output, labels=labels, report=progress)
    say(str(page))
