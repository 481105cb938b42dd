"""What a user sees: tables on stdout; progress on stderr, on a terminal as bars, elsewhere as plain lines."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trustseg.study.runner import CellStatus

__all__ = ["counted", "print_table", "watched_study"]


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
        table.add_row(*map(Text, row))  # as Text, since rich takes [qata] or [0, 1] for markup
    Console(width=None if sys.stdout.isatty() else width).print(table)


@contextmanager
def counted(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how many of ``total`` are done; yields the function to call with that number."""
    if not sys.stderr.isatty():
        yield lambda done: None
        sys.stderr.write(f"{description}: {total} done\n")
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
                sys.stderr.write(f"{done} of {len(cells)} cells were done before\n")
        for cell in cells:
            now = f"{cell.state} {cell.stage}".strip() if cell.state == "running" else cell.state
            if now not in (self.seen.get(cell.name, "waiting"), "running"):
                sys.stderr.write(f"[{done}/{len(cells)}] {cell.name}: {now}{': ' + cell.error if cell.error else ''}\n")
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
