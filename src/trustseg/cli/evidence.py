"""``trustseg evidence``: an evidence pack for regulatory frameworks, from the records of a run."""

from pathlib import Path
from typing import Annotated

import typer

from trustseg.cli.display import say
from trustseg.cli.settings import MODEL

__all__ = ["evidence"]


def evidence(
    model: Annotated[Path, MODEL],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")] = Path("evidence"),
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
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the pack in the folder.")] = False,
) -> None:
    """Write an evidence pack: tables of frameworks with states and hashes, datasheet, instructions draft, SBOM, index.

    It supports preparing documentation and is no conformity assessment. Research use only.
    """
    from trustseg.cli.checks import require_empty
    from trustseg.errors import ConfigError

    require_empty(output, "the pack", overwrite=overwrite)
    if review is None and (state is not None or images is not None):
        raise ConfigError("--state and --images are about a review; give its predictions by --review")

    from trustseg.evidence import write_pack
    from trustseg.files import read_json

    index = write_pack(model, output, key=sign, review=review, state=state, images=images)
    frameworks = read_json(output / "items.json")["frameworks"]
    for framework in frameworks if isinstance(frameworks, list) else []:
        say(f"{framework['title']}: {framework['counts']}")
    say(f"index: {index}")
