"""``trustseg evidence``: what the records of a run can serve in frameworks of regulation."""

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
        Path | None, typer.Option(help="Predictions of this model that people reviewed ('trustseg review report').")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the pack in the folder.")] = False,
) -> None:
    """Write an evidence pack: tables of frameworks with states and hashes, datasheet, instructions draft, SBOM, index.

    It supports preparing documentation and is no conformity assessment. Research use only.
    """
    from trustseg.errors import ConfigError

    if output.is_dir() and any(output.iterdir()) and not overwrite:
        raise ConfigError(f"'{output}' is not empty; give another --output, or --overwrite to replace the pack in it")

    from trustseg.evidence import write_pack
    from trustseg.files import read_json

    index = write_pack(model, output, key=sign, review=review)
    frameworks = read_json(output / "items.json")["frameworks"]
    for framework in frameworks if isinstance(frameworks, list) else []:
        say(f"{framework['title']}: {framework['counts']}")
    say(f"index: {index}")
