"""The images of a command: opened with a progress bar, and with what was noted while they were read."""

from pathlib import Path
from typing import TYPE_CHECKING

from trustseg.cli.display import note
from trustseg.cli.progress import progress_of
from trustseg.text import first_of

if TYPE_CHECKING:
    from trustseg.config import DataConfig
    from trustseg.data import Pack
    from trustseg.data.training_record import Preprocessing

__all__ = ["images_of", "reading_of", "say_notes"]


def images_of(data: "DataConfig", *, model: Path | None = None) -> "Pack":
    """Return the pack that a configuration names, and print what was noted while its images were read.

    Deep images are scaled as those of the training of the ``model`` in a folder were, if one is given.
    """
    from trustseg.config import open_images
    from trustseg.models.spec import STRIDE

    reading = None if model is None else reading_of(model)
    with progress_of("packing") as progress:
        pack = open_images(data, scale=None if reading is None else reading.scale, progress=progress)
    say_notes(pack)
    below = data.size // STRIDE * STRIDE
    if data.size != below:
        note(
            f"data.size={data.size} is not a multiple of {STRIDE}: the network pads each image to {below + STRIDE} "
            f"pixels; data.size={below} or {below + STRIDE} avoids it"
        )
    return pack


def reading_of(model: Path) -> "Preprocessing | None":
    """Return how the images of a model's training were read; None, which is said on stderr, if that is not known."""
    from trustseg.data.training_record import read_preprocessing

    reading = read_preprocessing(model)
    if reading is None:
        note(f"no data.json in '{model}': these images decide on their own how deep images are scaled")
    return reading


def say_notes(pack: "Pack") -> None:
    """Print on stderr, one line each, what was noted while the images of a pack were read, and which files it names."""
    for sentence in pack.notes:
        note(sentence)
    for what, names in (("ignored files:", pack.passed_over), ("foreground lost by resizing in", pack.lost)):
        if names:
            note(f"{what} {first_of(names, 5)}")
