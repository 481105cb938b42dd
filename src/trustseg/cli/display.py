"""What a user sees: lines and tables on stdout; progress on stderr, on a terminal as bars, elsewhere as plain lines."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trustseg.text import printable

if TYPE_CHECKING:
    from trustseg.study.runner import CellStatus

__all__ = ["counted", "print_table", "say", "watched_study"]


def say(line: str, *, err: bool = False) -> None:
    """Print one line; what a terminal would obey in it, such as in the name of a file, is shown as its escape.

    Args:
        line: the words.
        err: whether they go to stderr.
    """
    print(printable(line), file=sys.stderr if err else sys.stdout, flush=True)


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, width: int) -> None:
    """Print a table on stdout, its words as they are.

    Args:
        header: names of the columns.
        rows: the words of each row.
        width: characters of a line where stdout is no terminal.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*header, header_style="bold", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for row in rows:
        table.add_row(
            *(Text(printable(words)) for words in row)
        )  # as Text, since rich takes [qata] or [0, 1] for markup
    Console(width=None if sys.stdout.isatty() else width).print(table)


@contextmanager
def counted(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how many of ``total`` are done; yields the function to call with that number."""
    if not sys.stderr.isatty():
        yield lambda done: None
        say(f"{description}: {total} done", err=True)
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bars:
        task = bars.add_task(description, total=total)
        yield lambda done: bars.update(task, completed=done)


@contextmanager
def watched_study() -> Iterator[Callable[[Sequence["CellStatus"]], None]]:
    """Show where a study stands: a bar for the whole and one for each running cell; yields the observer."""
    if sys.stderr.isatty():
        with _bars() as observer:
            yield observer
    else:
        yield _Lines()


class _Lines:
    """One plain line whenever a cell changes its state or its stage, and one for all that were done before."""

    def __init__(self) -> None:
        self.seen: dict[str, str] | None = None

    def __call__(self, cells: Sequence["CellStatus"]) -> None:
        done = sum(cell.state == "done" for cell in cells)
        if self.seen is None:
            self.seen = {cell.name: "done" for cell in cells if cell.state == "done"}
            if done:
                say(f"{done} of {len(cells)} cells were done before", err=True)
        for cell in cells:
            now = f"{cell.state} {cell.stage}".strip() if cell.state == "running" else cell.state
            if now not in (self.seen.get(cell.name, "waiting"), "running"):
                say(f"[{done}/{len(cells)}] {cell.name}: {now}{': ' + cell.error if cell.error else ''}", err=True)
                self.seen[cell.name] = now


@contextmanager
def _bars() -> Iterator[Callable[[Sequence["CellStatus"]], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        whole = progress.add_task("study", total=None)
        tasks: dict[str, TaskID] = {}

        def observer(cells: Sequence["CellStatus"]) -> None:
            done = sum(cell.state in ("done", "failed") for cell in cells)
            progress.update(whole, description=f"study, {done} of {len(cells)} cells", total=len(cells), completed=done)
            for cell in cells:
                if cell.state == "running":
                    words = f"  {cell.name.rpartition('-')[0]}: {cell.stage or 'start'}"
                    if cell.name not in tasks:
                        tasks[cell.name] = progress.add_task(words, total=1.0)
                    progress.update(tasks[cell.name], completed=cell.share, description=words)
                elif cell.name in tasks:
                    progress.remove_task(tasks.pop(cell.name))

        yield observer
