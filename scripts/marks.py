"""Tables that stand between two marks of a page and are written anew by a script."""

import re
import sys
from collections.abc import Callable
from pathlib import Path


def fill(page: Path, start: str, end: str, table: Callable[[re.Match[str]], str]) -> None:
    """Write tables between the marks of a page, in the place of what stands there.

    Args:
        page: a Markdown file; it is left alone unless all is well.
        start: regular expression of the mark before a table, which ends its line; each one found is filled.
        end: regular expression of the mark after it.
        table: what is given the match of both marks, with the named groups of ``start``, and returns the table.

    Raises:
        SystemExit: if no start is found, or one without its end.
    """
    text = page.read_text(encoding="utf-8")
    filled, found = re.subn(
        rf"(?P<from>{start})\n.*?(?P<to>{end})",
        lambda match: f"{match['from']}\n\n{table(match)}\n\n{match['to']}",
        text,
        flags=re.DOTALL,
    )
    starts = len(re.findall(start, text))
    if found < max(starts, 1):
        what = "no mark" if not starts else f"{starts} marks, {found} with an end, for"
        sys.exit(f"'{page}' holds {what} '{start}' ... '{end}', each table needs both; write them where it belongs")
    page.write_text(filled, encoding="utf-8")
