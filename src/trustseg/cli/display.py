"""Lines and tables on the terminal; progress is in ``progress``."""

import sys
from collections.abc import Iterable, Sequence

from trustseg.text import printable

__all__ = ["print_table", "say"]


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
