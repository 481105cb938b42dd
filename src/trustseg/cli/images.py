"""The images of a command: opened with a progress bar, and with what was noted while they were read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from trustseg.cli.display import say

if TYPE_CHECKING:
    from trustseg.config import DataConfig
    from trustseg.data import Pack
    from trustseg.data.decode import Progress

__all__ = ["images_of", "progress_of", "say_notes"]

_MANY_IMAGES = 1000  # seconds of work, worth more than one line
_SHOWN = 5


def images_of(data: "DataConfig", *, path: Path | str | None = None, model: Path | None = None) -> "Pack":
    """Return the pack that a configuration names, and print what was noted while its images were read.

    Args:
        data: section ``data`` of the configuration.
        path: another data set to be read with the same settings; ``data.path`` by default.
        model: folder of a model; deep images are scaled as those of its training were.
    """
    from trustseg.config import open_images
    from trustseg.data.reading import reading_beside

    reading = None if model is None else reading_beside(model)
    with progress_of("packing") as progress:
        pack = open_images(data, path=path, scale=None if reading is None else reading.scale, progress=progress)
    say_notes(pack)
    _say_padding(data.size)
    return pack


def _say_padding(size: int) -> None:
    """Say on stderr if the network has to pad images of this size."""
    from trustseg.models.segmenter import STRIDE

    below = size // STRIDE * STRIDE
    if size != below:
        say(
            f"note: data.size={size} is no multiple of {STRIDE}, so that the network pads each image to "
            f"{below + STRIDE} pixels by repeating its edges; data.size={below} and {below + STRIDE} need no padding",
            err=True,
        )


def say_notes(pack: "Pack") -> None:
    """Print on stderr, one line each, what was noted while the images of a pack were read."""
    for note in pack.notes:
        say(f"note: {note}", err=True)
    if lost := pack.lost:
        more = f", and {len(lost) - _SHOWN:,} more" if len(lost) > _SHOWN else ""
        say(f"note: lesions vanished in {', '.join(lost[:_SHOWN])}{more}", err=True)


@contextmanager
def progress_of(label: str) -> "Iterator[Progress]":
    """Yield a progress callback: a bar on a terminal, plain lines elsewhere, both on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain_lines(label)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _plain_lines(label: str) -> "Progress":
    """Return a progress callback that writes a line at the end, of a large dataset one each tenth of the way."""
    tenths = 0

    def show(done: int, total: int) -> None:
        nonlocal tenths
        if done * 10 // total > tenths:
            tenths = done * 10 // total
            if done == total or total >= _MANY_IMAGES:
                say(f"{label}: {done} of {total}", err=True)

    return show
