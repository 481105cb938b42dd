"""Reading a study folder: what is finished, what is missing, and one sentence for whatever is broken."""

import json
import math
import shutil
from pathlib import Path

import polars as pl
import pytest
import yaml
from tests.reporting.fake_results import keep_rows, write_study
from tests.reporting.given import EVIDENTIAL, collected, one_run

from trustseg.errors import DataError, MissingFileError
from trustseg.records import CALIBRATION, HISTOGRAMS, RECORDS, TableSchema
from trustseg.reporting import build_report
from trustseg.reporting.cell_tables import load_training
from trustseg.reporting.checks import load_checks
from trustseg.reporting.overview import basis
from trustseg.reporting.results import load_results
from trustseg.reporting.score_tables import repetitions

FIRST = Path("cells") / "beta-none-fold0-seed0"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write_study(tmp_path / "study", heads=("beta",), seeds=1, images=6, patients=4, gallery=False)


def test_cells_and_records_of_a_study(study: Path) -> None:
    results = load_results(study)
    assert len(results.cells) == results.records["cell"].n_unique() == 22
    assert results.variants[0] == "classical, no adversarial training"
    assert {missing.variant for missing in results.missing} == {"evidential, uncertain selection"}
    reasons = [missing.reason for missing in results.missing]
    assert reasons == ["failed: loss became NaN at step 12 <b>of</b> epoch 3", "not finished"]
    assert results.records.filter(pl.col("variant") == EVIDENTIAL)["image"].n_unique() == 32


def test_records_of_an_older_version_are_clean_or_attacked(study: Path) -> None:
    results = load_results(study)
    assert "kind" not in pl.read_parquet(results.cells[0].folder / "records.parquet").columns
    kinds = results.records.select(clean=pl.col("condition") == "clean", kind="kind").unique()
    assert set(kinds.rows()) == {(True, "clean"), (False, "attack")}
    assert set(results.records["severity"]) == {0}
    assert results.populations.is_empty()


def test_the_plan_decides_which_cells_count(small: Path) -> None:
    """A folder that an earlier grid left behind is not part of the study; order is the plan's."""
    names = ["beta-uncertain-fold0-seed0", "lost", "beta-none-fold0-seed0"]
    (small / "plan.json").write_text(json.dumps({"cells": names}))
    results = load_results(small)
    assert [cell.id for cell in results.cells] == [names[0], names[2]]
    assert [(cell.id, cell.reason) for cell in results.missing] == [("lost", "its folder is gone")]


@pytest.mark.parametrize(
    ("given", "said"),
    [("nowhere", r"no folder .*nowhere"), ("empty", "holds no study"), ("run", r"run 'trustseg evaluate ")],
)
def test_folders_without_results(tmp_path: Path, given: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "model" / "model.json").write_text("{}")
    with pytest.raises(MissingFileError, match=said):
        load_results(tmp_path / given)


def test_no_finished_cell_names_the_first_reason(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"none of the 1 cells .* loss became NaN"):
        load_results(one_run(tmp_path / "study", failed=1))


def _evaluation(copied: Path, run: Path, suffix: str, **labels: str) -> None:
    """Copy a cell to where the evaluation of a run lies."""
    folder = run / f"evaluation-test{suffix}"
    shutil.copytree(copied, folder)
    path = folder / "records.parquet"
    pl.read_parquet(path).with_columns(**{key: pl.lit(label) for key, label in labels.items()}).write_parquet(path)
    (folder / "evaluation.json").write_text("{}")
    (folder / "metrics.csv").unlink()


def test_evaluations_of_a_run_are_variants(small: Path, tmp_path: Path) -> None:
    """A run's evaluations on test images, or one evaluation by its folder, read as the cell with the same tables."""
    (cell,) = (cell for cell in load_results(small).cells if cell.selection == "none")
    run, labels = tmp_path / "run", ["cell", "variant", "head"]
    for suffix in ("", "-calibrated"):
        name, variant = f"{cell.id}{suffix}", f"{cell.variant}{suffix}"
        _evaluation(cell.folder, run, suffix, cell=name, variant=variant, head=cell.head)
    (run / "metrics.csv").write_text("epoch,train_loss\n0,0.5\n")
    both = load_results(run)
    assert both.variants == [cell.variant, f"{cell.variant}-calibrated"]
    assert all((log := load_training(one)) is not None and log["train_loss"].to_list() == [0.5] for one in both.cells)
    single = load_results(run / "evaluation-test")
    assert single.records.drop(labels).equals(both.records.filter(cell=cell.id).drop(labels))


def test_a_run_is_called_by_its_head_and_selection(small: Path, tmp_path: Path) -> None:
    """``evaluate`` calls its variant like the run; the suffix of a calibrated one matters beside a plain one."""
    cell = next(cell for cell in load_results(small).cells if cell.selection == "none")
    run = tmp_path / "one"
    for suffix in ("-calibrated", "", "-mc5-dropout0.2"):
        _evaluation(cell.folder, run, suffix, cell=f"one{suffix}", variant=f"one{suffix}")
        if suffix == "-calibrated":
            assert load_results(run).variants == [cell.variant]
    suffixes = ("", ", calibrated", ", mc5, dropout0.2")
    assert load_results(run).variants == [f"{cell.variant}{suffix}" for suffix in suffixes]


def test_the_names_of_earlier_versions_are_read(tmp_path: Path) -> None:
    folder = one_run(tmp_path / "study", selections=("random",), stress=True)
    now = load_results(folder)
    for cell in folder.glob("cells/*"):
        about, records = cell / "cell.json", cell / "records.parquet"
        about.write_text(about.read_text().replace('"selection"', '"regime"'))
        pl.read_parquet(records).rename({"selection": "regime"}).write_parquet(records)
        (cell / "masking_checks.json").rename(cell / "suspicions.json")
    found = load_results(folder)
    assert [cell.selection for cell in found.cells] == ["random"] * len(now.cells)
    assert found.records.equals(now.records)
    assert load_checks(found) == load_checks(now) != ()


@pytest.mark.parametrize("name", ["records.parquet", "histograms.parquet", "calibration.parquet"])
def test_broken_parquet_is_named(small: Path, name: str) -> None:
    (small / FIRST / name).write_bytes(b"PAR1 not a table")
    with pytest.raises(DataError, match=f"cannot read .*{name}"):
        load_results(small)


@pytest.mark.parametrize("text", ["a: [", "", "null", "{}", "[1]"])
@pytest.mark.parametrize("name", ["study.yaml", FIRST / "config.yaml"])
def test_broken_settings_are_named(small: Path, name: str | Path, text: str) -> None:
    (small / name).write_text(text)
    with pytest.raises(DataError, match=Path(name).name):
        load_results(small)


def test_records_of_another_cell_are_refused(small: Path) -> None:
    first, second = (cell.folder / "records.parquet" for cell in load_results(small).cells[:2])
    first.write_bytes(second.read_bytes())
    with pytest.raises(DataError, match=f"{first.parent.name}.*holds the records of the cell {second.parent.name}"):
        load_results(small)


def test_an_image_has_one_patient_in_all_cells(small: Path) -> None:
    path = load_results(small).cells[1].folder / "records.parquet"
    first = pl.when(pl.col("image") == "image_000.png").then(pl.lit("x")).otherwise("patient")
    pl.read_parquet(path).with_columns(patient=first).write_parquet(path)
    with pytest.raises(DataError, match=rf"{path.parent.name}/records\.parquet.*image_000\.png.* x"):
        load_results(small)


@pytest.mark.parametrize(
    ("key", "value"),
    [("adversarial.eps", 0.5), ("training.epochs", 99), ("model.head", "bernoulli"), ("training.seed", 7)],
)
def test_settings_of_a_cell_that_are_not_those_of_its_study_are_refused(small: Path, key: str, value: object) -> None:
    (small / "study.yaml").write_text((small / "study.yaml").read_text() + "training: {epochs: 12, seed: 0}")
    path = load_results(small).cells[0].folder / "config.yaml"
    content = yaml.safe_load(path.read_text())
    section, name = key.split(".")
    content.setdefault(section, {})[name] = value
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(DataError, match=rf"{path.parent.name}/config\.yaml.*{key}={value}"):
        load_results(small)


def test_done_without_tables_counts_as_missing(small: Path) -> None:
    (small / FIRST / "records.parquet").unlink()
    missing = load_results(small).missing
    assert [cell.reason for cell in missing] == ["marked as done, but without records.parquet"]


def test_training_log_is_one_row_per_epoch(small: Path) -> None:
    cell = load_results(small).cells[0]
    log = load_training(cell)
    assert log is not None
    assert log["epoch"].to_list() == list(range(12))
    assert log["validation_dice"].null_count() == log["train_loss"].null_count() == 0
    for content in (b"", b"loss\n0.5\n", b"epoch,loss\n0,0.5\n1,<b>\n", b"epoch\nx\n", b"\xff\x00\x01"):
        (cell.folder / "metrics.csv").write_bytes(content)
        with pytest.raises(DataError, match=r"metrics\.csv"):
            load_training(cell)
    (cell.folder / "metrics.csv").unlink()
    assert load_training(cell) is None


@pytest.mark.parametrize("schema", [RECORDS, HISTOGRAMS, CALIBRATION], ids=lambda schema: schema.name)
def test_a_column_that_is_missing_is_named_or_not_needed(tmp_path: Path, schema: TableSchema) -> None:
    path = one_run(tmp_path / "s", images=3) / FIRST / schema.name
    keep_rows(path.parent, pl.col("condition") == "clean")
    whole = pl.read_parquet(path)
    for column in whole.columns:
        whole.drop(column).write_parquet(path)
        try:
            collected(tmp_path / "s", 2)
        except DataError as error:
            assert column in str(error)  # noqa: PT017 - either outcome is fine


def test_notes_on_columns(small: Path) -> None:
    path = small / FIRST / "records.parquet"
    assert load_results(small).notes == ()
    pl.read_parquet(path).with_columns(of_a_later_version=1).write_parquet(path)
    (note,) = load_results(small).notes
    assert note.endswith("passed over: of_a_later_version.")
    for path in small.glob("cells/*/records.parquet"):
        pl.read_parquet(path).drop("linf", "of_a_later_version", strict=False).write_parquet(path)
    (note,) = load_results(small).notes
    assert "linf" in note


def test_the_target_has_the_name_that_the_study_gives_it(small: Path) -> None:
    assert load_results(small).target == "foreground"
    (small / "study.yaml").write_text("data: {target: polyp}")
    data = collected(small, 2)
    assert "images with polyp" in basis(data)
    assert repetitions(data).columns[5].title == "Without polyp"


@pytest.mark.usefixtures("undrawn")
def test_a_report_without_tables_of_pixels_gives_the_scores_of_images(small: Path) -> None:
    for cell in (small / "cells").iterdir():
        for name in ("histograms.parquet", "calibration.parquet"):
            (cell / name).unlink()
    assert any("tables of pixels" in note for note in load_results(small).notes)
    page = build_report(small, gallery=False, draws=5)
    row = pl.read_csv(page.parent / "tables" / "summary.csv").row(0, named=True)
    assert row["dice"] > 0
    assert row["ece"] is None or math.isnan(row["ece"])
