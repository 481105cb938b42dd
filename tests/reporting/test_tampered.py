"""Files of a study that were tampered with: one sentence that names the file, never a traceback."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.reporting.given import collected, one_run

from trustseg.errors import DataError
from trustseg.reporting import build_report
from trustseg.reporting.cell_tables import load_training
from trustseg.reporting.checks import load_checks
from trustseg.reporting.deferral import read_deferrals
from trustseg.reporting.findings import find_caveats
from trustseg.reporting.gallery import load_gallery
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.results import load_results
from trustseg.reporting.score_tables import costs
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
NO_OBJECTS = [b"", b"[1, 2]", b'{"a": ', b"\xff\xfe\x00", b"null", b"[" * 10**5]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    """A study of one cell, with every file that an evaluation may leave."""
    folder = one_run(tmp_path_factory.mktemp("tampered") / "study", gallery=True, stress=True)
    (folder / "plan.json").write_text(json.dumps({"cells": [CELL.name]}))
    return collected(folder, 2)


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
    read_deferrals(found)
    return len(results.cells)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values_and_what_is_no_object_are_refused(sound: ReportData, study: Path, name: str) -> None:
    path = study / CELL / name
    whole = json.loads(path.read_text())
    changed = [whole | {key: value} for key, values in WRONG[name].items() for value in values]
    kept = [{key: held for key, held in content.items() if held is not MISSING} for content in changed]
    for content in (*(json.dumps(each).encode() for each in kept), *NO_OBJECTS):
        path.write_bytes(content)
        with pytest.raises(DataError, match=path.name) as caught:
            _read_all(study, sound)
        assert "\n" not in str(caught.value)


def test_a_report_refuses_before_it_writes(study: Path) -> None:
    path = study / CELL / "evaluation.json"
    path.write_text(path.read_text().replace("0.004", '"soon"'))
    with pytest.raises(DataError, match=r"evaluation\.json' is damaged \(seconds_per_image: input should be a valid"):
        build_report(study, draws=2)
    assert not (study / "report.html").exists()


def test_further_keys_and_absent_files_are_fine(sound: ReportData, study: Path) -> None:
    names = ("provenance.json", "evaluation.json", "masking_checks.json")
    for name in ("cell.json", "done.json", *names):
        path = study / CELL / name
        path.write_text(json.dumps(json.loads(path.read_text()) | {"of a later version": [1]}))
    assert _read_all(study, sound) == len(sound.results.cells)
    for name in (*names, "policy.json", "gallery.npz", "config.yaml"):
        (study / CELL / name).unlink()
    assert _read_all(study, sound) == len(sound.results.cells)
