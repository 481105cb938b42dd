"""What a policy decides on records, and which policy stands for another score."""

from pathlib import Path

import polars as pl
import pytest
from tests.reporting.deployed_runs import a_run, some_records

from trustseg.deferral import load_policy
from trustseg.errors import DataError
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.unnoticed import SCORE, deployed, is_deployed, policy_by


def test_another_score_gets_a_policy_of_the_same_aim(data: ReportData, tmp_path: Path) -> None:
    """Of ten validation patients at most four may be reviewed: conformal, (10 - k + 1) / 11 <= 0.4 for k = 7."""
    cell = a_run(tmp_path, "a", column="u_entropy_mean", threshold=0.05)
    found = policy_by(cell, measure="variance", column="u_variance_mean")
    assert (found.column, found.target, found.at_most) == ("u_variance_mean", "review_rate", 0.4)
    assert found.threshold == pytest.approx(1.4)
    assert policy_by(cell, measure="entropy", column="u_entropy_mean").threshold == 0.05  # the frozen one
    (cell.folder / "validation.parquet").write_text("no table")
    with pytest.raises(DataError, match=r"validation\.parquet"):
        policy_by(cell, measure="variance", column="u_variance_mean")


def test_a_run_is_deployed_with_both_files(tmp_path: Path) -> None:
    cell = a_run(tmp_path, "a", column="u_entropy_mean", threshold=0.5)
    assert is_deployed(cell)
    for name in ("policy.json", "validation.parquet"):
        kept = (cell.folder / name).read_bytes()
        (cell.folder / name).unlink()
        assert not is_deployed(cell)
        (cell.folder / name).write_bytes(kept)


def test_what_a_policy_decides_on_each_record(tmp_path: Path) -> None:
    """In turn unharmed, kept, reviewed, at the threshold, unknown, just harmed, just not, unharmed, unsure, empty."""
    policy = load_policy(a_run(tmp_path, "a", column="u_entropy_mean", threshold=0.5).folder / "policy.json")
    clean = some_records("a", "clean", [0.9] * 10, [0.1] * 10)
    dice = [0.9, 0.5, 0.5, 0.5, 0.5, 0.79, 0.81, 0.95, 0.5, 0.0]
    scores = [0.1, 0.1, 0.9, 0.5, float("nan"), 0.1, 0.1, 0.1, float("inf"), 0.1]
    records = pl.concat([clean, some_records("a", "pgd", dice, scores)])
    found = deployed(records, policy)
    assert found.drop(SCORE, "reviewed", "unnoticed").select(records.columns).equals(records)
    before, after = found.filter(pl.col("kind") == "clean"), found.filter(pl.col("kind") == "attack")
    assert before["unnoticed"].is_null().all()
    assert not before["reviewed"].any()
    assert after["reviewed"].to_list() == [False, False, True, False, True, False, False, False, True, False]
    assert after["unnoticed"].to_list() == [False, True, False, True, False, True, False, False, False, True]


def test_an_image_without_a_clean_record_cannot_fall(tmp_path: Path) -> None:
    policy = load_policy(a_run(tmp_path, "a", column="u_entropy_mean", threshold=0.5).folder / "policy.json")
    clean = some_records("a", "clean", [0.9] * 10, [0.1] * 10).filter(pl.col("image") != "i1")
    found = deployed(pl.concat([clean, some_records("a", "pgd", [0.1] * 10, [0.1] * 10)]), policy)
    after = found.filter(pl.col("kind") == "attack")
    assert after["unnoticed"].to_list() == [True, False, *([True] * 8)]  # the last one has an alarm of its own


def test_records_that_lack_the_score_are_named(tmp_path: Path) -> None:
    policy = load_policy(a_run(tmp_path, "a", column="u_entropy_mean", threshold=0.5).folder / "policy.json")
    with pytest.raises(DataError, match="no entropy_mean, one of variance_mean was expected"):
        deployed(some_records("a", "clean", [0.9] * 10, [0.1] * 10).drop("u_entropy_mean"), policy)
