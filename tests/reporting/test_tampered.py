"""Files of a study that were tampered with: one sentence that names the file, never a traceback."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.reporting.fake_results import write_study

from trustseg.errors import DataError
from trustseg.reporting import build_report
from trustseg.reporting.cell_tables import load_training
from trustseg.reporting.checks import load_checks
from trustseg.reporting.costs import costs
from trustseg.reporting.deferral import read_deferrals
from trustseg.reporting.findings import find_caveats
from trustseg.reporting.gallery import load_gallery
from trustseg.reporting.report_data import ReportData, collect
from trustseg.reporting.results import load_results
from trustseg.reporting.shifted import table_version

CELL = Path("cells") / "beta-none-fold0-seed0"
MISSING = object()

WRONG: dict[str, dict[str, list[object]]] = {
    "cell.json": {
        "id": [None],
        "head": [3],
        "selection": [MISSING],
        "variant": [[]],
        "seed": ["<script>", 1.5],
        "fold": [True, None],
        "values": [[1]],
        "mixture": [{"members": "abc"}],
    },
    "done.json": {
        "seconds_training": ["x", None, float("inf")],
        "seconds_evaluation": [[1], -1],
        "epochs": ["12", {}],
        "catastrophic_overfitting": [3],
    },
    "provenance.json": {"data": [3, None, {"notes": 3}], "commit": [[1]], "dirty": ["yes"], "command": [1]},
    "evaluation.json": {
        "passes": ["x", [1], 1.5],
        "seconds_per_image": [None, {"a": 1}, float("nan")],
        "shift_table": ["1"],
    },
    "masking_checks.json": {"checks": [MISSING, [1], [{"name": "noise"}]]},
    "policy.json": {"measure": ["<script>"], "aggregation": [3], "threshold": ["much"], "at_most": [-1]},
    "../../plan.json": {"cells": [3, [None]]},
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    """A study of one cell, with every file that an evaluation may leave."""
    folder = tmp_path_factory.mktemp("tampered") / "study"
    write_study(folder, heads=("beta",), selections=("none",), seeds=1, images=4, patients=4, stress=True)
    (folder / "plan.json").write_text(json.dumps({"cells": [CELL.name]}))
    return collect(load_results(folder), draws=2)


@pytest.fixture
def study(sound: ReportData, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound.results.folder, tmp_path / "study"))


def _read_all(folder: Path, sound: ReportData) -> int:
    """Read every file but the tables, and return the number of cells."""
    results = load_results(folder)
    load_checks(results)
    load_gallery(results)
    table_version(results)
    for cell in results.cells:
        load_training(cell)
    found = replace(sound, results=results)
    costs(found)
    find_caveats(found)
    read_deferrals(found, draws=2)
    return len(results.cells)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values_are_refused(sound: ReportData, study: Path, name: str) -> None:
    path = study / CELL / name
    whole: dict[str, Any] = json.loads(path.read_text())
    for key, values in WRONG[name].items():
        for value in values:
            content = whole | {key: value}
            path.write_text(json.dumps({name: held for name, held in content.items() if held is not MISSING}))
            with pytest.raises(DataError, match=path.name) as caught:
                _read_all(study, sound)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b'{"a": ', b"\xff\xfe\x00", b"null", b"[" * 10**5])
def test_what_is_no_object_is_refused(sound: ReportData, study: Path, content: bytes) -> None:
    names = ("cell.json", "done.json", "provenance.json", "evaluation.json", "masking_checks.json", "policy.json")
    for name in names:
        path = study / CELL / name
        before = path.read_bytes()
        path.write_bytes(content)
        with pytest.raises(DataError, match=name):
            _read_all(study, sound)
        path.write_bytes(before)


def test_a_report_refuses_before_it_writes(study: Path) -> None:
    path = study / CELL / "evaluation.json"
    path.write_text(path.read_text().replace("0.004", '"soon"'))
    with pytest.raises(DataError, match=r"evaluation\.json' is damaged \(seconds_per_image: input should be a valid"):
        build_report(study, draws=2)
    assert not (study / "report.html").exists()


def test_further_keys_and_absent_files_are_fine(sound: ReportData, study: Path) -> None:
    for name in ("cell.json", "done.json", "provenance.json", "evaluation.json", "masking_checks.json"):
        path = study / CELL / name
        path.write_text(json.dumps(json.loads(path.read_text()) | {"of a later version": [1]}))
    assert _read_all(study, sound) == len(sound.results.cells)
    for name in (
        "provenance.json",
        "evaluation.json",
        "masking_checks.json",
        "policy.json",
        "gallery.npz",
        "config.yaml",
    ):
        (study / CELL / name).unlink()
    assert _read_all(study, sound) == len(sound.results.cells)
