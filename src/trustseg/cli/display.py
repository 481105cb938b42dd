"""Lines and tables on the terminal; progress is in ``progress``."""

import sys
from collections.abc import Iterable, Sequence

from trustseg.text import printable

__all__ = ["note", "print_table", "say"]


def say(line: str, *, err: bool = False) -> None:
    """Print one line, on stderr if asked; what a terminal would obey in it, such as a file's name, is escaped."""
    print(printable(line), file=sys.stderr if err else sys.stdout, flush=True)


def note(sentence: str) -> None:
    """Print on stderr what a user should know, but need not act on."""
    say(f"note: {sentence}", err=True)


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, width: int) -> None:
    """Print a table on stdout, its words as they are, at most ``width`` characters wide where that is no terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*header, header_style="bold", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(printable(words)) for words in row))  # rich takes [qata] or [0, 1] in a str for markup
    Console(width=None if sys.stdout.isatty() else width).print(table)
