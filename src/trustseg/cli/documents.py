"""``trustseg report``, ``card`` and ``evidence``: what is written from the records of a run."""

from pathlib import Path
from typing import Annotated

import typer

from trustseg.cli.checks import require_empty
from trustseg.cli.display import say
from trustseg.cli.options import Model, Overwrite, output_option
from trustseg.errors import ConfigError

__all__ = ["card", "evidence", "report"]


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
        output_option("HTML file to write; tables/ and figures/ go next to it. [RUN_FOLDER/report.html]"),
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
    if output is not None and output.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"--output must be an HTML file, got '{output}'; give '{output / 'report.html'}'")

    from trustseg.cli.progress import progress_of
    from trustseg.reporting import build_report

    with progress_of("report, step") as progress:
        page = build_report(folder, gallery=gallery, output=output, labels=labels, report=progress)
    say(str(page))


def card(
    model: Model,
    output: Annotated[Path, output_option("Folder to write.")] = Path("card"),
    overwrite: Overwrite = False,
) -> None:
    """Write a Hugging Face model card (README.md) and a CHAI Applied Model Card (XML) from the records of a run.

    What only you can know is marked 'user'. Research use only.
    """
    files = output / "README.md", output / "chai-applied-model-card.xml"
    for file in files:
        if file.exists() and not overwrite:
            raise ConfigError(f"'{file}' exists and may hold what you wrote; give another --output, or --overwrite")

    from trustseg.cards import USER, chai_card, hugging_face_card, read_facts
    from trustseg.files import write_text

    facts = read_facts(model)
    texts = hugging_face_card(facts), chai_card(facts)
    for file, text in zip(files, texts, strict=True):
        write_text(file, text)
        say(f"{file}: {text.count(f'{USER}: ')} entries to fill in, marked '{USER}'")
    if not facts.measured:
        say("no evaluation of this model on test images was found: run 'trustseg evaluate' first for its figures")


def evidence(
    model: Model,
    output: Annotated[Path, output_option("Folder to write.")] = Path("evidence"),
    sign: Annotated[Path | None, typer.Option(help="Private SSH key that signs the digests.")] = None,
    review: Annotated[
        Path | None, typer.Option(help="Predictions of this model that people reviewed with 'trustseg review'.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="With --review: folder of the review. Default: review in the predictions.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="With --review: folder of the images, if they were moved.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write an evidence pack: tables of frameworks with states and hashes, datasheet, instructions draft, SBOM, index.

    It supports preparing documentation and is no conformity assessment. Research use only.
    """
    require_empty(output, overwrite=overwrite)
    if review is None and (state is not None or images is not None):
        raise ConfigError("--state and --images are about a review; give its predictions by --review")

    from trustseg.evidence import write_pack
    from trustseg.files import read_json

    index = write_pack(model, output, key=sign, review=review, state=state, images=images)
    frameworks = read_json(output / "items.json")["frameworks"]
    for framework in frameworks if isinstance(frameworks, list) else []:
        say(f"{framework['title']}: {framework['counts']}")
    say(f"index: {index}")
