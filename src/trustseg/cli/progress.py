"""Progress of long commands on stderr: a bar on a terminal, elsewhere plain lines with the time left."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trustseg.cli.display import say
from trustseg.progress import ProgressCallback

if TYPE_CHECKING:
    from trustseg.study.runner import CellStatus

__all__ = ["Lines", "duration", "progress_of", "watched_study"]


_SECONDS = 30  # without a line, no longer than that while something happens
_INSTANT = 2  # seconds; a tenth of the way that took less gets no line


@contextmanager
def progress_of(label: str, *, each: bool = False) -> Iterator[ProgressCallback]:
    """Yield what a command calls with the steps that are done and those in all.

    ``label`` is what is being done; ``each`` step, such as an epoch, may get a line where stderr is no terminal.
    """
    if not sys.stderr.isatty():
        yield Lines(label, each=each)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class Lines:
    """Says how far a command is in plain lines: the last step always, others each, or at a tenth or 30 seconds.

    The time left follows from the steps since the first that was reported, as a command may go on with what was done
    before; from the start if that was the first of all. With ``percent`` the steps are percentages.
    """

    def __init__(
        self,
        label: str,
        *,
        each: bool = False,
        percent: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._label, self._each, self._percent, self._clock = label, each, percent, clock
        self._started = self._told = clock()
        self._tenths = 0
        self._since: tuple[float, int] | None = None  # when, and after how many steps, the pace is measured from

    def __call__(self, done: int, total: int) -> None:
        """Count a step."""
        now = self._clock()
        waited, tenths = now - self._told, 10 * done // max(1, total)
        due = waited >= _SECONDS or (tenths > self._tenths and waited >= _INSTANT)
        left = ""
        if self._since is None:
            self._since = (self._started, 0) if done <= 1 else (now, done)
        since, before = self._since
        if done >= total:
            left = f", {duration(now - self._started)}"
        elif done > before:
            left = f", about {duration((now - since) / (done - before) * (total - done))} left"
        if self._each or done >= total or due:
            say(f"{self._label}: {f'{done} %' if self._percent else f'{done} of {total}'}{left}", err=True)
            self._told, self._tenths = now, tenths


def duration(seconds: float) -> str:
    """Return a time in words.

    Example:
        >>> duration(41.3), duration(125), duration(9000)
        ('41 s', '2.1 min', '2.5 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


@contextmanager
def watched_study() -> Iterator[Callable[[Sequence["CellStatus"]], None]]:
    """Show where a study stands: a bar for the whole and one for each running cell; yields the observer."""
    if sys.stderr.isatty():
        with _bars() as observer:
            yield observer
    else:
        yield _Lines()


class _Lines:
    """Plain lines: whenever a cell changes its state or its stage, and every 30 seconds how far the study is."""

    def __init__(self) -> None:
        self.seen: dict[str, str] | None = None
        self.whole = Lines("study", percent=True)

    def __call__(self, cells: Sequence["CellStatus"]) -> None:
        done = sum(cell.state == "done" for cell in cells)
        if self.seen is None:
            self.seen = {cell.name: "done" for cell in cells if cell.state == "done"}
            if done:
                say(f"{done} of {len(cells)} cells were already done", err=True)
        for cell in cells:
            now = f"{cell.state} {cell.stage}".strip() if cell.state == "running" else cell.state
            if now not in (self.seen.get(cell.name, "waiting"), "running"):
                say(f"[{done}/{len(cells)}] {cell.name}: {now}{': ' + cell.error if cell.error else ''}", err=True)
                self.seen[cell.name] = now
        if any(cell.state not in ("done", "failed") for cell in cells):
            self.whole(min(99, int(100 * sum(map(_share, cells)) / len(cells))), 100)  # a cell still runs


def _share(cell: "CellStatus") -> float:
    """Return about how much of a cell is done: training and evaluation are taken for a half each."""
    if cell.state in ("done", "failed"):
        return 1.0
    return (cell.share + (cell.stage == "evaluation")) / 2


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
