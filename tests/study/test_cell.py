"""A cell goes on where it was stopped, at any stage, and ends with the same tables."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.training.tiny import TINY, pack, repeatable_metrics

from trustseg.config import load_study
from trustseg.files import write_json
from trustseg.study import cell as module
from trustseg.study.cell import claimed, is_claimed, prepare_cell, run_cell, warnings_of
from trustseg.study.folder import is_done
from trustseg.study.grid import Cell, cells_of
from trustseg.training import checkpointing
from trustseg.training.module import SegmentationModule

TABLES = ("records.parquet", "histograms.parquet", "calibration.parquet")


pytestmark = pytest.mark.usefixtures("small_and_tidy")


def a_cell(tmp_path: Path, *settings: str) -> Cell:
    file = tmp_path / "study.yaml"
    file.write_text("evaluation: {attacks: [{name: fgsm, eps: [2/255, 4/255]}], gallery: 2}\n")
    study = load_study(file, [*TINY, "training.epochs=2", "grid.data.fold=[1]", *settings])
    (cell,) = cells_of(study, data_digest=pack().digest)
    return cell


def test_what_is_in_a_finished_cell(tmp_path: Path) -> None:
    cell = a_cell(tmp_path)
    folder = tmp_path / cell.name
    prepare_cell(cell, folder)
    assert not is_done(folder)
    run_cell(folder, cell.config, pack())
    assert is_done(folder)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {
        *TABLES,
        *("cell.json", "config.yaml", "done.json", "evaluation.json", "gallery.npz", "metrics.csv"),
        *("model/data.json", "model/epoch.json", "model/model.json", "model/model.safetensors", "model/splits.json"),
        *("progress.json", "provenance.json", "policy.json", "validation.parquet"),
    }
    about = json.loads((folder / "cell.json").read_text())
    assert about["id"] == cell.name
    assert (about["head"], about["selection"], about["fold"], about["seed"]) == ("beta", "uncertain", 1, 0)
    records = pl.read_parquet(folder / "records.parquet")
    assert records["selection"].unique().to_list() == ["uncertain"]
    assert records.group_by("condition", "eps").len()["len"].n_unique() == 1
    done = json.loads((folder / "done.json").read_text())
    assert done["seconds_training"] > 0
    assert done["seconds_evaluation"] > 0
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    prepare_cell(cell, folder)
    run_cell(folder, cell.config, pack())
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_cell_whose_tables_have_an_older_form_is_measured_again_and_not_trained_again(tmp_path: Path) -> None:
    cell = a_cell(tmp_path)
    folder = tmp_path / "a"
    prepare_cell(cell, folder)
    run_cell(folder, cell.config, pack())
    files = [folder / name for name in ("model/model.safetensors", "records.parquet")]
    model, records = (file.stat().st_mtime_ns for file in files)
    about, kept = (json.loads((folder / name).read_text()) for name in ("cell.json", "evaluation.json"))
    (folder / "cell.json").write_text(json.dumps(about | {"tables": about["tables"] - 1}))
    (folder / "evaluation.json").write_text(json.dumps(kept | {"fingerprint": "of another version"}))
    prepare_cell(cell, folder)
    assert not is_done(folder)
    run_cell(folder, cell.config, pack())
    assert is_done(folder)
    assert files[0].stat().st_mtime_ns == model
    assert files[1].stat().st_mtime_ns > records


def test_a_finished_cell_keeps_the_warnings_of_its_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpointing, "overfitted", lambda single, double: True)
    cell = a_cell(tmp_path)
    prepare_cell(cell, tmp_path / "cell")
    assert warnings_of(tmp_path / "cell") == {}
    run_cell(tmp_path / "cell", cell.config, pack())
    assert json.loads((tmp_path / "cell" / "done.json").read_text())["catastrophic_overfitting"] == [0, 1]


def test_a_finished_cell_tells_the_epochs_it_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flat(self: SegmentationModule, found: dict[str, Any], **options: Any) -> None:  # noqa: ANN401
        log(self, {name: 0.5 if name == "validation_score" else value for name, value in found.items()}, **options)

    log = SegmentationModule.log_dict
    monkeypatch.setattr(SegmentationModule, "log_dict", flat)  # no epoch is better than the first
    cell = a_cell(tmp_path, "training.epochs=4", "training.patience=1")
    prepare_cell(cell, tmp_path / "cell")
    run_cell(tmp_path / "cell", cell.config, pack())
    assert json.loads((tmp_path / "cell" / "done.json").read_text())["epochs"] == 2


def test_interrupted_equals_undisturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell, whole = a_cell(tmp_path), tmp_path / "whole"
    prepare_cell(cell, whole)
    run_cell(whole, cell.config, pack())
    for last in (("training", 1), ("evaluation", 1), ("evaluation", 3)):
        killed = tmp_path / "killed at {} {}".format(*last)
        prepare_cell(cell, killed)
        with monkeypatch.context() as patch:

            def killing(path: Path, content: object, last: tuple[str, int] = last) -> None:
                write_json(path, content)
                if isinstance(content, dict) and (content.get("stage"), content.get("done")) == last:
                    raise KeyboardInterrupt

            patch.setattr(module, "write_json", killing)
            with pytest.raises(KeyboardInterrupt):
                run_cell(killed, cell.config, pack())
        assert not is_done(killed)
        run_cell(killed, cell.config, pack())
        for table in TABLES:
            assert pl.read_parquet(whole / table).equals(pl.read_parquet(killed / table))
        assert repeatable_metrics(whole).equals(repeatable_metrics(killed))
        spent = json.loads((killed / "progress.json").read_text())["seconds"]
        assert spent.keys() == {"training", "evaluation"}


def test_a_claim_is_for_one(tmp_path: Path) -> None:
    assert not is_claimed(tmp_path)
    with claimed(tmp_path) as mine:
        assert mine
        assert is_claimed(tmp_path)
        with claimed(tmp_path) as other:
            assert not other
        assert is_claimed(tmp_path)
    assert not is_claimed(tmp_path)
    with claimed(tmp_path) as again:
        assert again


def test_a_claim_ends_with_its_process(tmp_path: Path) -> None:
    code = "import fcntl, sys, time; lock = open(sys.argv[1], 'a'); fcntl.flock(lock, fcntl.LOCK_EX); print(flush=True)"
    command = [sys.executable, "-c", f"{code}; time.sleep(60)", str(tmp_path / "claim.lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        owner.stdout.readline()
        assert is_claimed(tmp_path)
        with claimed(tmp_path) as mine:
            assert not mine
        owner.kill()
        owner.wait()
        with claimed(tmp_path) as mine:
            assert mine


@pytest.mark.slow
def test_a_cell_that_is_measured_otherwise_is_not_trained_again(tmp_path: Path) -> None:
    cell = a_cell(tmp_path)
    folder = tmp_path / cell.name
    prepare_cell(cell, folder)
    run_cell(folder, cell.config, pack())
    trained = (folder / "model" / "model.safetensors").stat().st_mtime_ns
    prepare_cell(cell, folder)
    assert is_done(folder)  # nothing is to be measured otherwise
    wider = cell.config.evaluation.model_copy(update={"shifts": ("jpeg",), "severities": (2,), "masking_checks": 1})
    other = replace(cell, config=cell.config.model_copy(update={"evaluation": wider}))
    prepare_cell(other, folder)
    assert not is_done(folder)
    run_cell(folder, other.config, pack())
    assert is_done(folder)
    assert (folder / "model" / "model.safetensors").stat().st_mtime_ns == trained
    assert "jpeg_2" in set(pl.read_parquet(folder / "records.parquet")["condition"])
    checks = json.loads((folder / "masking_checks.json").read_text())
    assert len(checks["images"]) == 1
    assert {check["status"] for check in checks["checks"]} <= {"ok", "suspicious", "not_run"}
