"""The house keeps its shape: light imports, explicit names, small files."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import trustseg

SOURCE = Path(trustseg.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
PACKAGES = sorted(file.parent for file in FILES if file.name == "__init__.py")
HEAVY = ("torch", "lightning", "matplotlib", "numpy", "polars", "plotly", "segmentation_models_pytorch")

PROBE = """
import contextlib, sys
with contextlib.suppress(SystemExit):
    {statement}
print("LOADED", *sorted(set(sys.modules) & set({heavy!r})), sep=",")
"""


def loaded_by(statement: str) -> list[str]:
    """Return the heavy modules that a fresh interpreter holds after the statement."""
    code = PROBE.format(statement=statement, heavy=HEAVY)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    _, *modules = result.stdout.splitlines()[-1].split(",")
    return modules


@pytest.mark.parametrize(
    "statement",
    [
        "import trustseg",
        "import trustseg.errors, trustseg.files",
        "import trustseg.config",
        "from trustseg.cli import app; app(['--help'])",
        "from trustseg.cli import app; app(['train', '--help'])",
        "from trustseg.cli import app; app(['--version'])",
    ],
)
def test_light_imports_stay_light(statement: str) -> None:
    assert loaded_by(statement) == []


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.relative_to(SOURCE.parent).as_posix())
def test_every_package_says_what_it_offers(package: Path) -> None:
    name = ".".join(package.relative_to(SOURCE.parent).parts)
    module = importlib.import_module(name)
    offered = getattr(module, "__all__", None)
    if offered is None:  # a package that only holds modules
        definitions = ast.parse((package / "__init__.py").read_text(encoding="utf-8")).body
        assert not any(isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef) for node in definitions)
        return
    # As ruff sorts them: CONSTANTS, Classes, functions.
    assert list(offered) == sorted(offered, key=lambda word: (not word.isupper(), not word[0].isupper(), word))
    assert len(set(offered)) == len(offered)
    assert [word for word in offered if not hasattr(module, word)] == []


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_files_are_small_and_hold_no_assert(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    asserts = [node.lineno for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Assert)]
    assert asserts == []  # they vanish under -O, and a user deserves a sentence
