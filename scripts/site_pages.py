"""The pages of the site: what is generated from commands, settings, schemas and entries, and files of the project.

A page asks for a list or a file with a comment, such as ``<!-- generated: commands -->`` or
``<!-- include: CHANGELOG.md -->``; ``docs/conf.py`` calls ``filled`` on every page. To print one:
``python scripts/site_pages.py docs/reference/commands.md``.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from inspect import getdoc
from pathlib import Path
from typing import Any, Final

from typer.main import get_command

from trustseg.cli import app
from trustseg.config import describe_keys, describe_options

__all__ = ["DOCS", "LISTS", "PROJECT", "filled"]

ROOT: Final = Path(__file__).parent.parent
DOCS: Final = ROOT / "docs"
PROJECT: Final[Mapping[str, str]] = {
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "CODE_OF_CONDUCT.md": "project/conduct.md",
    "CHANGELOG.md": "project/changelog.md",
    "README.md": "index.md",
}
"""Files of the repository that are pages of the site."""

_LIST: Final = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
_INCLUDE: Final = re.compile(r"\A<!-- include: ([\w.]+) -->\s*\Z")
_TITLE: Final = re.compile(r"^# ", re.MULTILINE)
_LINK: Final = re.compile(r"\[([^\]]*)\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)")


def filled(text: str, page: Path) -> str:
    """Return the source of a page with the lists and the file it asks for, and links that hold within the site.

    Args:
        text: the source.
        page: its file.

    Raises:
        KeyError: if there is no such list.
    """
    origin = page
    if included := _INCLUDE.match(text):
        origin = ROOT / included[1]
        text = origin.read_text(encoding="utf-8")
    if page.suffix == ".md" and not _TITLE.search(text):  # a table that a script wrote
        text = f"# {page.stem.capitalize()}\n\n{text}"
    text = _LIST.sub(lambda found: "\n".join(LISTS[found[1]]()), text)
    return _LINK.sub(lambda found: _link(found, origin.parent, page.parent), text)


def _link(found: re.Match[str], origin: Path, folder: Path) -> str:
    """Return a link of a file in ``origin`` for a page in ``folder``; files outside of the site are only named."""
    words, target, anchor = found[1], found[2], found[3] or ""
    file = Path(os.path.normpath(origin / target))
    if not file.exists():
        return found[0]
    inside = DOCS / PROJECT[file.name] if file.parent == ROOT and file.name in PROJECT else file
    if not inside.is_relative_to(DOCS) or inside.is_dir():
        return words
    return f"[{words}]({Path(os.path.relpath(inside, folder)).as_posix()}{anchor})"


def _table(header: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def commands() -> Iterator[str]:
    """Yield a section for every command, with its arguments and options."""
    yield from _command(get_command(app), "trustseg")


def _command(command: Any, path: str) -> Iterator[str]:  # noqa: ANN401 - Typer's Click is private
    yield f"## `{path}`\n"
    yield f"{command.help}\n"
    inner = getattr(command, "commands", {})
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    usage = [path, "[OPTIONS]", *(_metavar(each) for each in arguments), *(["COMMAND"] if inner else [])]
    yield f"```text\n{' '.join(usage)}\n```\n"
    rows = [(_code(_metavar(each)), "", each.help or "") for each in arguments]
    for each in command.params:
        if each.param_type_name == "option" and each.name != "help":
            names = ", ".join(_code(name) for name in (*each.opts, *each.secondary_opts))
            rows.append((names, _default(each), each.help or ""))
    if rows:
        yield from _table(("argument or option", "default", "meaning"), rows)
    for name, verb in inner.items():
        yield from _command(verb, f"{path} {name}")


def _metavar(argument: Any) -> str:  # noqa: ANN401 - Typer's Click is private
    name = argument.name.upper()
    several = "..." if argument.nargs == -1 else ""
    return f"{name}{several}" if argument.required else f"[{name}]{several}"


def _default(option: Any) -> str:  # noqa: ANN401 - Typer's Click is private
    value = option.default
    if value is None or value is False or value == () or value == [] or callable(value):
        return "required" if option.required else ""
    return _code(", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value))


def keys() -> Iterator[str]:
    """Yield a table of the keys of each section of a configuration."""
    sections: dict[str, list[Sequence[str]]] = {}
    for key, default, allowed, meaning in describe_keys():
        sections.setdefault(key.partition(".")[0] if "." in key else "", []).append(
            (_code(key), _code(default), allowed, meaning)
        )
    for section, rows in sections.items():
        yield f"### {f'`{section}`' if section else 'Of a study'}\n"
        yield from _table(("key", "default", "allowed", "meaning"), rows)


def options() -> Iterator[str]:
    """Yield a table of the options of attacks, losses, aggregations and metrics."""
    rows = [(_code(name), _code(default), allowed, meaning) for name, default, allowed, meaning in describe_options()]
    yield from _table(("entry: option", "default", "allowed", "meaning"), rows)


def records() -> Iterator[str]:
    """Yield a table of the columns of each table that an evaluation writes."""
    from trustseg.records import CALIBRATION, HISTOGRAMS, MINIMAL, RECORDS

    for schema in (RECORDS, HISTOGRAMS, CALIBRATION, MINIMAL):
        yield f"## `{schema.name}`\n"
        yield f"One row for each {', '.join(map(_code, schema.key))}.\n"
        columns = [*schema.columns.items(), *((f"{prefix}*", column) for prefix, column in schema.prefixes.items())]
        rows = [
            (
                _code(name),
                column.kind,
                _range(column),
                "" if column.known else "yes",
                "yes" if column.optional or name.endswith("*") else "",
            )
            for name, column in columns
        ]
        yield from _table(("column", "type", "values", "may be undefined", "may be absent"), rows)


def _range(column: Any) -> str:  # noqa: ANN401 - trustseg.table_schema.Column, which needs polars
    if column.values:
        return ", ".join(map(_code, column.values))
    if column.low is None:
        return ""
    if column.high is None:
        return f">= {column.low:g}"
    high = _code(column.high) if isinstance(column.high, str) else f"{column.high:g}"
    return f"{column.low:g} to {high}"


def entries() -> Iterator[str]:
    """Yield a table of the entries of each dictionary."""
    from trustseg.attacks import ATTACKS
    from trustseg.data import LAYOUTS
    from trustseg.losses import LOSSES
    from trustseg.metrics import METRICS
    from trustseg.models import ARCHITECTURES
    from trustseg.selection import SELECTIONS
    from trustseg.shifts import SHIFTS
    from trustseg.uncertainty import AGGREGATIONS, MEASURES

    dictionaries: dict[str, Mapping[str, Any]] = {
        "trustseg.attacks.ATTACKS": ATTACKS,
        "trustseg.losses.LOSSES": LOSSES,
        "trustseg.uncertainty.MEASURES": MEASURES,
        "trustseg.uncertainty.AGGREGATIONS": AGGREGATIONS,
        "trustseg.selection.SELECTIONS": SELECTIONS,
        "trustseg.shifts.SHIFTS": SHIFTS,
        "trustseg.metrics.METRICS": METRICS,
        "trustseg.models.ARCHITECTURES": ARCHITECTURES,
        "trustseg.data.LAYOUTS": LAYOUTS,
    }
    for name, dictionary in dictionaries.items():
        yield f"## `{name}`\n"
        rows = [(_code(key), entry.label, _first_sentence(entry)) for key, entry in dictionary.items()]
        yield from _table(("name", "label", "what it returns"), rows)


def _first_sentence(entry: object) -> str:
    paragraph = (getdoc(entry) or "").partition("\n\n")[0]
    return " ".join(paragraph.split()).removeprefix("Return ").replace("``", "`")


LISTS: Final[Mapping[str, Callable[[], Iterator[str]]]] = {
    "commands": commands,
    "keys": keys,
    "options": options,
    "records": records,
    "entries": entries,
}

if __name__ == "__main__":
    print(filled(Path(sys.argv[1]).read_text(encoding="utf-8"), Path(sys.argv[1]).resolve()))
