"""The house keeps its shape: light imports, explicit names, small files."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import trustseg

SOURCE = Path(trustseg.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
MODULES = {
    ".".join(file.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__"): file for file in FILES
}
HEAVY = ("torch", "lightning", "matplotlib", "numpy", "polars", "plotly", "segmentation_models_pytorch")

BARRED = ("torch", "lightning", "onnx", "trustseg.models", "trustseg.training", "trustseg.evaluation", "trustseg.study")

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


@cache
def parsed(file: Path) -> ast.Module:
    """Return what a file says, without running it."""
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def offered_by(name: str) -> list[str] | None:
    """Return the ``__all__`` of a module, None if it has none."""
    for node in parsed(MODULES[name]).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            found: list[str] = ast.literal_eval(node.value)
            return found
    return None


def _typed_only(tree: ast.Module) -> list[ast.stmt]:
    """Return what stands under ``if TYPE_CHECKING``: names that a package offers and loads when they are asked for."""
    guarded = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    return [line for node in guarded for line in node.body]


def bound_names(tree: ast.Module, *, imports: bool) -> list[str]:
    """Return the names that the top level of a module defines, and those that it imports if asked."""
    found: list[str] = []
    for node in [*tree.body, *_typed_only(tree)]:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.append(node.name)
            case ast.Assign() | ast.AnnAssign():
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                parts = (part for target in targets for part in ast.walk(target))
                found += [part.id for part in parts if isinstance(part, ast.Name)]
            case ast.Import() | ast.ImportFrom() if imports:
                found += [alias.asname or alias.name.partition(".")[0] for alias in node.names]
                if isinstance(node, ast.ImportFrom) and node.module and found[-1] == "*":
                    found += offered_by(node.module) or []
    return found


def taken_by(tree: ast.Module) -> set[tuple[str, str]]:
    """Return the (module, name) pairs of ours that a file imports, or reads as attributes of a module."""
    found: set[tuple[str, str]] = set()
    called: dict[str, str] = {}  # what the file calls a module -> the module
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            called |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if (full := f"{node.module}.{alias.name}") in MODULES:
                    called[alias.asname or alias.name] = full
                elif not alias.name.startswith(("__", "*")):
                    found.add((node.module, alias.name))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (source := called.get(ast.unparse(node.value))):
            found.add((source, node.attr))
    return {(source, name) for source, name in found if source.startswith("trustseg.")}


@pytest.mark.parametrize(
    "statement",
    [
        "import trustseg, trustseg.errors, trustseg.files, trustseg.config",
        "from trustseg.cli import app; app(['--help'])",
        "from trustseg.cli import app; app(['train', '--help'])",
    ],
)
def test_light_imports_stay_light(statement: str) -> None:
    assert loaded_by(statement) == []


def test_reports_and_what_they_count_with_load_no_torch() -> None:
    assert "torch" not in loaded_by("import trustseg.reporting, trustseg.metrics, trustseg.statistics")


def test_a_review_loads_no_torch_and_no_training() -> None:
    modules = [name for name in MODULES if name.startswith("trustseg.review")]
    code = f"import sys, {', '.join(modules)}; print([name for name in sys.modules if name.startswith({BARRED!r})])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


def test_every_module_says_what_it_offers() -> None:
    for name, file in MODULES.items():
        offered, tree = offered_by(name), parsed(file)
        if offered is None:  # a package may lack it that only holds modules
            held = bound_names(tree, imports=file.name == "__init__.py")
            assert [word for word in held if not word.startswith("_")] == [], name
            continue
        # As ruff sorts them: CONSTANTS, Classes, functions.
        ordered = sorted(set(offered), key=lambda word: (not word.isupper(), not word[0].isupper(), word))
        assert offered == ordered, name
        assert set(offered) <= set(bound_names(tree, imports=True)), name


def test_modules_take_from_each_other_only_what_is_offered() -> None:
    for name, file in MODULES.items():
        taken = [(source, word) for source, word in taken_by(parsed(file)) if source in MODULES]
        assert [f"{source}.{word}" for source, word in taken if word not in (offered_by(source) or ())] == [], name


def test_what_is_offered_and_taken_is_read_from_the_text() -> None:
    tree = ast.parse(
        "import os.path as path\n"
        "from trustseg import files, __version__\n"
        "from trustseg.errors import DataError as Error\n"
        "import trustseg.randomness\n"
        "LIMIT: int = 1\n"
        "first, _second = 1, 2\n"
        "class Box: inside = 1\n"
        "def act():\n"
        "    from trustseg.masks import threshold\n"
        "    files.read_json.missing, trustseg.randomness.derive_seed, Box.inside\n"
    )
    assert bound_names(tree, imports=False) == ["LIMIT", "first", "_second", "Box", "act"]
    assert bound_names(tree, imports=True)[:5] == ["path", "files", "__version__", "Error", "trustseg"]
    assert sorted(taken_by(tree)) == [
        ("trustseg.errors", "DataError"),
        ("trustseg.files", "read_json"),
        ("trustseg.masks", "threshold"),
        ("trustseg.randomness", "derive_seed"),
    ]


def test_files_are_small_and_hold_no_assert() -> None:
    for file in FILES:
        assert len(file.read_text(encoding="utf-8").splitlines()) <= 400, file
        asserts = [node.lineno for node in ast.walk(parsed(file)) if isinstance(node, ast.Assert)]
        assert asserts == [], file  # they vanish under -O, and a user deserves a sentence
