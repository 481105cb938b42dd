"""``trustseg card``: model cards from the records next to a model."""

from pathlib import Path
from typing import Annotated

import typer

from trustseg.cli.display import say
from trustseg.cli.settings import MODEL

__all__ = ["card"]


def card(
    model: Annotated[Path, MODEL],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")] = Path("card"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the cards in the folder.")] = False,
) -> None:
    """Write a Hugging Face model card (README.md) and a CHAI Applied Model Card (XML) from the records of a run.

    What only you can know is marked 'user'. Research use only.
    """
    from trustseg.errors import ConfigError

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
