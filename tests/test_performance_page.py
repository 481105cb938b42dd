"""The page of benchmarks says what was measured, on what, and what was not."""

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
MACHINE: dict[str, object] = {
    "cpu": "Some CPU",
    "cores": 2,
    "threads": 1,
    "gpu": None,
    "torch": "2.11",
    "python": "3.11.7",
    "commit": "ab12",
}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = spec_from_file_location("performance_page", ROOT / "scripts" / "performance_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def figure(**changes: object) -> dict[str, object]:
    usual: dict[str, object] = {
        "name": "a / b",
        "value": 1.04321,
        "unit": "x",
        "target": 1.05,
        "better": "less",
        "holds": True,
        "details": {},
    }
    return {**usual, **changes}


def suite(**machine: object) -> dict[str, object]:
    return {"about": "What it is.", "machine": {**MACHINE, **machine}, "figures": [figure()]}


def page_of(script: ModuleType, folder: Path, content: dict[str, Any]) -> str:
    (folder / "bench.json").write_text(json.dumps(content))
    script.main(folder / "bench.json", folder / "docs" / "page.md")
    return (folder / "docs" / "page.md").read_text()


def test_a_row_holds_figure_target_and_verdict(script: ModuleType, tmp_path: Path) -> None:
    figures = [
        figure(),
        figure(name="rate", value=1234.5, unit="1/s", target=2000, better="more", holds=False),
        figure(name="gap", value=1.5e-6, unit="", target=None, holds=None, details={"a_seconds": 0.12345, "way": "x"}),
    ]
    lines = page_of(script, tmp_path, {"cpu": {"epoch": {**suite(), "figures": figures}}}).splitlines()
    assert "### Epoch" in lines
    assert "What it is." in lines
    assert "| a / b | 1.04 x | ≤ 1.05 | holds |  |" in lines
    assert "| rate | 1.23e+03 1/s | ≥ 2000 | **missed** |  |" in lines
    assert "| gap | 1.5e-06 |  |  | a seconds 0.123, way: x |" in lines
    assert "Measured on Some CPU (2 cores, 1 threads), torch 2.11, Python 3.11.7, commit ab12." in lines


def test_what_was_not_at_hand_is_said(script: ModuleType, tmp_path: Path) -> None:
    without_gpu = page_of(script, tmp_path, {"cpu": {"epoch": suite()}})
    assert "## GPU\n\nNo GPU was at hand: nothing on this page was measured on one.\n" in without_gpu
    without_cpu = page_of(script, tmp_path, {"gpu": {"epoch": suite(gpu="Some GPU")}})
    assert without_cpu.index("No CPU was at hand") < without_cpu.index("Measured on Some GPU beside Some CPU")


def test_a_machine_is_named_where_it_changes(script: ModuleType, tmp_path: Path) -> None:
    suites = {name: suite(cpu=cpu) for name, cpu in (("one", "A"), ("two", "A"), ("three", "B"))}
    page = page_of(script, tmp_path, {"cpu": suites})
    assert page.count("Measured on A") == page.count("Measured on B") == 1
    assert page.index("### Two") < page.index("Measured on B") < page.index("### Three")


def test_the_page_is_that_of_the_figures_that_are_kept(script: ModuleType, tmp_path: Path) -> None:
    kept = ROOT / "docs" / "results" / "performance" / "bench.json"
    if not kept.exists():
        pytest.skip("no figures are kept yet")
    script.main(kept, tmp_path / "page.md")
    assert (tmp_path / "page.md").read_text() == (ROOT / "docs" / "performance.md").read_text()
