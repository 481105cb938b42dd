"""What README.md and docs/ show is there: Python blocks run, commands exist, links lead somewhere, tables are complete.

The Python blocks of a page run in order and in one namespace; commands are only held against those of ``trustseg``.
"""

import re
import shlex
import tomllib
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from trustseg.attacks import ATTACKS, OBJECTIVES, PRESETS, UNCERTAINTY_ATTACKS, backward_passes
from trustseg.calibration import MAPS
from trustseg.cli import app
from trustseg.evaluation.masking_checks import CHECKS
from trustseg.losses import LOSSES
from trustseg.metrics import metrics_of
from trustseg.selection import SELECTIONS
from trustseg.shifts import SHIFTS
from trustseg.uncertainty import AGGREGATIONS, MEASURES

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)  # language, content
OPTIONAL = ("highdicom", "monai", "transformers")  # packages that pages show: their blocks run where they are installed
SHELLS = ("", "sh", "bash", "console")
CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
INLINE = re.compile(r"`([^`]+)`")
COMMAND = get_command(app)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")


def python_in(page: Path) -> list[str]:
    return [block for language, block in BLOCK.findall(page.read_text()) if language == "python"]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if python_in(page)], ids=lambda page: str(page.relative_to(ROOT))
)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "docs"}
    for block in python_in(page):
        if not any(
            find_spec(name) is None for name in OPTIONAL if f"import {name}" in block or f"from {name}" in block
        ):
            exec(compile(block, str(page), "exec"), namespace)
    assert namespace.keys() > {"__name__", "__builtins__"}


def commands_in(text: str) -> Iterator[list[str]]:
    """Yield the words of each ``trustseg`` command in a page: in its shell blocks, and in its sentences."""
    blocks = [block for language, block in BLOCK.findall(text) if language in SHELLS]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    for line in [*lines, *INLINE.findall(BLOCK.sub("", text))]:
        if "trustseg " not in line:
            continue
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        command: list[str] | None = None
        for word in words:
            if word == "trustseg":
                command = []
            elif command is not None and re.fullmatch(r"[;&|()<>]+", word):
                yield command
                command = None
            elif command is not None:
                command.append(word)
        if command is not None:
            yield command


def unknown_in(words: list[str]) -> list[str]:
    """Return what a command has that ``trustseg`` does not: its verb, or options of it."""
    command, rest = COMMAND, list(words)
    while isinstance(command, TyperGroup) and rest and not rest[0].startswith("-"):
        default = getattr(command, "default", None)  # of 'trustseg review FOLDER'
        verb = default if default and rest[0] not in command.commands else rest.pop(0)
        if verb not in command.commands:
            return [verb]
        command = command.commands[verb]
    known = options_of(command) | {"-h", "--help", "--debug"}
    return [word for word in rest if word.startswith("-") and word.partition("=")[0] not in known]


def options_of(command: Any, *, below: bool = False) -> set[str]:  # noqa: ANN401 - Typer's Click is private
    """Return the options of a command, and if asked of all verbs below it."""
    own = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    inner = command.commands.values() if below and isinstance(command, TyperGroup) else ()
    return own.union(*(options_of(verb, below=True) for verb in inner))


def test_commands_and_options_exist() -> None:
    options = options_of(COMMAND, below=True)
    for page in PAGES:
        text = page.read_text()
        assert [(command, found) for command in commands_in(text) if (found := unknown_in(command))] == [], page
        named = {code.split()[0] for code in INLINE.findall(BLOCK.sub("", text)) if code.startswith("--")}
        assert named <= options, page


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("```sh\ntrustseg study a.yaml --slurm   # not --cluster\n```\n", ["--slurm"]),
        ("```\ntrustseg defer fit RUN \\\n  --most=0.2 --at-most 0.1\n```\n", ["--most=0.2"]),
        ("```bash\nfor x in a; do\n  trustseg report $x && trustseg sutdy $x\ndone\n```\n", ["sutdy"]),
        ("```python\nx = 1\n```\nAs `trustseg data inspect` says.\n", ["inspect"]),
        ("```sh\ntrustseg evaluate \"$1\" $(printf -- '--a %s' b) --b; trustseg --version -h\n```\n", []),
        ("```\ntrustseg --jobs 2\n```\n", ["--jobs"]),
        ("```yaml\n# trustseg nothing\n```\n", []),
    ],
)
def test_a_command_that_does_not_exist_is_found(text: str, unknown: list[str]) -> None:
    assert [word for command in commands_in(text) for word in unknown_in(command)] == unknown


def test_links_lead_somewhere() -> None:
    links = [(page, link) for page in PAGES for link in LINK.findall(CODE.sub("", page.read_text()))]
    assert [(page, link) for page, link in links if not (page.parent / link).exists()] == []


def test_files_and_names_in_the_guide_for_contributors_exist() -> None:
    text = CODE.sub(lambda code: code[0] if code[0].count("`") == 2 else "", (ROOT / "CONTRIBUTING.md").read_text())
    names = [code for code in INLINE.findall(text) if "NAME" not in code]
    files = [
        file.relative_to(ROOT).as_posix() for top in ("src", "tests", "scripts") for file in (ROOT / top).rglob("*.py")
    ]
    paths = [name for name in names if re.fullmatch(r"[\w/]+\.py", name)]
    assert [path for path in paths if not any(f"/{file}".endswith(f"/{path}") for file in files)] == []
    words = set(
        re.findall(r"\w+", "".join((ROOT / file).read_text() for file in files if file != "tests/test_docs.py"))
    )
    assert {name for name in names if re.fullmatch(r"\w+(\.\w+)*", name)} - {*paths} >= {"unpaired_masks"}
    unknown = {word for name in names if re.fullmatch(r"\w+(\.[a-z_]+)*", name) for word in name.split(".")} - words
    assert unknown == set()


def rows_under(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, without its header."""
    section = (ROOT / "docs" / page).read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


@pytest.mark.parametrize(
    ("page", "heading", "names"),
    [
        ("attacks.md", "The attacks", ATTACKS),
        ("attacks.md", "The objectives", OBJECTIVES),
        ("attacks.md", "The attack suite", PRESETS),
        ("attacks.md", "Attacks on uncertainty", UNCERTAINTY_ATTACKS),
        ("attacks.md", "Signs of gradient masking", CHECKS),
        ("uncertainty.md", "The measures", MEASURES),
        ("uncertainty.md", "From map to image score", AGGREGATIONS),
        ("uncertainty.md", "Calibration after training", MAPS),
    ],
)
def test_tables_name_every_entry_of_a_dictionary(page: str, heading: str, names: Iterable[str]) -> None:
    assert [row[0].strip("` ") for row in rows_under(page, heading)] == list(names)


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("losses.md", LOSSES),
        ("training.md", SELECTIONS),
        ("shifts.md", SHIFTS),
        ("audit.md", metrics_of("image")),
    ],
)
def test_pages_name_every_entry_of_a_dictionary(page: str, names: Iterable[str]) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert [name for name in names if f"`{name}`" not in text] == []


def test_the_site_lists_every_page_once() -> None:
    """Every page stands in one table of contents; what the build generates is listed by ``reference/api.rst``."""
    entry = re.compile(r"^```\{toctree\}\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    docs, listed = ROOT / "docs", ["index"]
    for page in docs.rglob("*.md"):
        for block in entry.findall(page.read_text(encoding="utf-8")):
            for line in filter(None, block.splitlines()):
                line = line.partition("<")[2].rstrip(">") or line
                if not line.startswith(":"):
                    found = [file for end in ("md", "py", "rst") for file in page.parent.glob(f"{line}.{end}")]
                    listed += [file.relative_to(docs).with_suffix("").as_posix() for file in found]
    pages = [
        *docs.glob("*.md"),
        *docs.glob("*/*.md"),
        *docs.glob("*/*.rst"),
        *docs.glob("results/*/README.md"),
        *docs.glob("results/*/comparison.md"),
    ]
    pages += docs.glob("tutorials/*.py")
    assert sorted(listed) == sorted(page.relative_to(docs).with_suffix("").as_posix() for page in pages)


def test_the_architecture_names_every_package_in_its_row() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = [set(layer.split(" | ")) for layer in reversed(contracts[0]["layers"])]
    rows = [set(INLINE.findall(row[0])) for row in rows_under("architecture.md", "Packages")]
    assert rows == [*layers[:-2], layers[-2] | layers[-1]]  # the command and its module


def test_published_budgets_are_those_of_the_presets() -> None:
    for name, _, *passes in rows_under("attacks.md", "The attack suite"):
        preset = name.strip("`")
        assert passes == [str(backward_passes(preset, evidential=evidential)) for evidential in (False, True)]
