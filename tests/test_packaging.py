"""What is shipped: metadata, files that are not Python, modules that import without those of POSIX, and the lock."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import trustseg

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "trustseg"
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = SETTINGS["project"]
POSIX_ONLY = {"crypt", "fcntl", "grp", "nis", "posix", "pty", "pwd", "resource", "spwd", "syslog", "termios", "tty"}

LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")

EVERY_MODULE = """
import importlib, sys
for name in {missing!r}:
    sys.modules[name] = None
for name in {modules!r}:
    importlib.import_module(name)
"""


def test_the_version_stands_in_one_place() -> None:
    assert PROJECT["dynamic"] == ["version"]
    assert SETTINGS["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "trustseg.__version__"}
    for file in ("CITATION.cff", "CHANGELOG.md", "README.md"):  # which name the release
        assert trustseg.__version__ in (ROOT / file).read_text(encoding="utf-8"), file


def test_every_file_that_is_not_python_is_shipped() -> None:
    patterns = SETTINGS["tool"]["setuptools"]["package-data"]["trustseg"]
    shipped = {file for pattern in patterns for file in SOURCE.glob(pattern)}
    others = {file for file in SOURCE.rglob("*") if file.is_file() and file.suffix not in (".py", ".pyc")}
    assert others - shipped == set()
    assert all(list(SOURCE.glob(pattern)) for pattern in patterns)
    assert (SOURCE / "py.typed") in shipped


def test_every_package_has_an_init() -> None:
    folders = {file.parent for file in SOURCE.rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_the_python_versions_are_those_of_the_workflow() -> None:
    named = {line.rpartition(" ")[2] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)}
    tested = re.search(r"python: \[(.*)\]", (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8"))
    assert tested is not None
    assert named == set(tested[1].replace('"', "").split(", "))


def test_what_is_installed_is_this_version() -> None:
    try:
        installed = importlib.metadata.version("trustseg")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("trustseg is not installed")
    assert installed == trustseg.__version__


def test_modules_of_posix_are_guarded() -> None:
    """An unguarded import stands at the top of a module, a guarded one under ``try`` or ``if``."""
    for file in SOURCE.rglob("*.py"):
        for node in ast.parse(file.read_bytes()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert POSIX_ONLY.isdisjoint(names), file


@pytest.mark.slow
def test_every_module_can_be_imported_without_fcntl() -> None:
    modules = [
        ".".join(file.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")
        for file in sorted(SOURCE.rglob("*.py"))
        if file.name != "__main__.py" and file.parent.name != "art"  # which runs; which needs an extra
    ]
    code = EVERY_MODULE.format(missing=["fcntl", "resource"], modules=modules)
    found = subprocess.run([sys.executable, "-c", code], timeout=300, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


def test_the_lock_names_versions_and_hashes_only() -> None:
    version = r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!_-]+(?: ; [^/]+)?"
    line = re.compile(rf"(?:{version}|    --hash=sha256:[0-9a-f]{{64}})(?: \\)?")
    assert [text for text in LOCK.splitlines() if not line.fullmatch(text)] == []  # an address, say
    requirements = [entry for entry in re.split(r"\n(?=\S)", LOCK.strip()) if entry]
    assert len(requirements) > 50
    assert [entry for entry in requirements if "--hash=sha256:" not in entry] == []


def test_compromised_releases_are_left_out_of_the_lock() -> None:
    versions = dict(re.findall(r"^(lightning|pytorch-lightning)==([\d.]+)", LOCK, re.MULTILINE))
    assert set(versions) == {"lightning", "pytorch-lightning"}
    assert all(tuple(map(int, version.split("."))) >= (2, 6, 6) for version in versions.values())
