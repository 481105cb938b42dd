"""Scripts: tables between the marks of a page are written all or not at all, and say what was measured."""

import ast
import json
import re
import shutil
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from tests.reporting.fake_results import write_study

ROOT = Path(__file__).parents[1]
OUTSIDE = [
    file for folder in ("benchmarks", "docs/tutorials", "examples", "scripts") for file in (ROOT / folder).glob("*.py")
]
START, END = r"<!-- table: (?P<name>\w+) -->", "<!-- end -->"


@pytest.fixture(autouse=True)
def _beside_the_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))


def named(match: re.Match[str]) -> str:
    return f"| {match['name']} \\1 |"


def test_every_table_is_written_anew_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("é\n<!-- table: a -->\nold\n\n<!-- end -->\nmiddle\n<!-- table: b -->\n<!-- end -->", "utf-8")
    wanted = "é\n<!-- table: a -->\n\n| a \\1 |\n\n<!-- end -->\nmiddle\n<!-- table: b -->\n\n| b \\1 |\n\n<!-- end -->"
    for _ in range(2):  # what was written is replaced in its turn
        import_module("marks").fill(page, START, END, named)
        assert page.read_text("utf-8") == wanted


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "holds no mark '<!-- table"),
        ("<!-- end -->\n", "holds no mark"),
        ("<!-- table: a -->\nold\n", "holds 1 marks, 0 with an end"),
        ("<!-- end -->\n<!-- table: a -->\nold\n", "holds 1 marks, 0 with an end"),
        ("<!-- table: a -->\nold\n<!-- table: b -->\nold\n<!-- end -->\n", "holds 2 marks, 1 with an end"),
    ],
)
def test_a_missing_mark_is_refused_and_the_page_left_alone(tmp_path: Path, text: str, sentence: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(SystemExit, match=sentence):
        import_module("marks").fill(page, START, END, named)
    assert page.read_text() == text


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder with the summary of a study."""
    folder = tmp_path / "docs" / "results" / "study"
    (folder / "tables").mkdir(parents=True)
    (folder / "tables" / "summary.md").write_text("| variant |\n| --- |\n| beta |\n")
    pl.DataFrame({"variant": ["beta"], "dice": [0.5], "dice_low": [0.25], "dice_high": [0.75]}).write_csv(
        folder / "tables" / "summary.csv"
    )
    return folder


def test_the_readme_gets_the_summary_and_a_case(tmp_path: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = import_module("readme_table")
    monkeypatch.setattr(script, "ROOT", tmp_path)
    study = write_study(tmp_path / "study", heads=("beta",), selections=("none",), seeds=1, images=8, patients=6)
    shutil.copytree(results / "tables", study / "tables")
    (tmp_path / "docs" / "images").mkdir()
    page = tmp_path / "README.md"
    page.write_text(f"# A\n{script.START}\n{script.END}\n")
    script.main(study)
    assert page.read_text() == f"# A\n{script.START}\n\n| variant |\n| --- |\n| beta |\n\n{script.END}\n"
    with Image.open(tmp_path / "docs" / "images" / "case.jpg") as picture:
        assert min(picture.size) > 100


def test_the_findings_get_rows_and_intervals(tmp_path: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = import_module("findings")
    monkeypatch.setattr(script, "ROOT", tmp_path)
    page = tmp_path / "findings.md"
    page.write_text("<!-- table: study/summary variant, dice~ -->\n<!-- end -->\n")
    script.main(page)
    table = "| Variant | Dice |\n| --- | --- |\n| beta | 0.500 [0.250, 0.750] |"
    assert page.read_text() == f"<!-- table: study/summary variant, dice~ -->\n\n{table}\n\n<!-- end -->\n"


def test_the_findings_are_said_in_words_and_rows_are_kept_or_left_out(
    tmp_path: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = import_module("findings")
    monkeypatch.setattr(script, "ROOT", tmp_path)
    names = ["beta, fraction=0.1", "beta, mode=append, loss=trades"]
    pl.DataFrame({"name": ["H1", "H5"], "variant": names}).write_csv(results / "tables" / "two.csv")
    page = tmp_path / "findings.md"
    for kept, row in (("name=H5", "beta, TRADES"), ("name!=H5", "beta, 10 % attacked")):
        page.write_text(f"<!-- table: study/two {kept}, variant -->\n<!-- end -->\n")
        script.main(page)
        assert page.read_text().splitlines()[2:5] == ["| Variant |", "| --- |", f"| {row} |"]


@pytest.mark.parametrize(("script", "pages"), [("readme_table", "README.md"), ("publish_results", "docs/results")])
def test_the_pages_of_the_repository_hold_the_marks(script: str, pages: str) -> None:
    marks = import_module(script)
    place = ROOT / pages
    texts = [file.read_text("utf-8") for file in ([place] if place.is_file() else place.glob("*/README.md"))]
    found = [(text.count(f"{marks.START}\n"), text.count(marks.END)) for text in texts]
    assert (1, 1) in found
    assert set(found) <= {(0, 0), (1, 1)}


@pytest.mark.parametrize(("page", "table"), [("README.md", "attacked"), ("docs/results/qata_cpu/README.md", "clean")])
def test_the_page_of_qata_holds_the_published_table(page: str, table: str) -> None:
    script = import_module("qata_tables")
    rows = getattr(script, table)()
    assert len(rows.splitlines()) > 4
    assert f"\n\n{rows}\n\n{script.END}" in (ROOT / page).read_text(encoding="utf-8")


def test_the_page_of_benchmarks_is_that_of_the_figures_that_are_kept(tmp_path: Path) -> None:
    main = import_module("performance_page").main
    kept = ROOT / "docs" / "results" / "performance"
    shutil.copytree(kept, tmp_path, dirs_exist_ok=True)
    main(tmp_path / "bench.json", tmp_path / "page.md")
    assert (tmp_path / "page.md").read_text() == (ROOT / "docs" / "performance.md").read_text()
    assert (tmp_path / "history.csv").read_text() == (kept / "history.csv").read_text()
    suites = json.loads((kept / "bench.json").read_text())["cpu"]
    next(iter(suites.values()))["machine"]["gpu"] = "Some GPU"
    for measured, absent in (("cpu", "GPU"), ("gpu", "CPU")):
        (tmp_path / "bench.json").write_text(json.dumps({measured: suites}))
        main(tmp_path / "bench.json", tmp_path / "page.md")
        said = f"## {absent}\n\nNo {absent} was at hand: nothing on this page was measured on one.\n"
        assert said in (tmp_path / "page.md").read_text()
        assert "Measured on Some GPU beside AMD EPYC" in (tmp_path / "page.md").read_text()


def test_what_files_outside_of_the_package_import_is_there() -> None:
    for node in (node for file in OUTSIDE for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("trustseg"):
            module = import_module(str(node.module))
            for name in node.names:
                wanted = f"{node.module}.{name.name}"
                assert hasattr(module, name.name) or find_spec(wanted), wanted
