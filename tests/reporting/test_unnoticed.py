"""Harm that the frozen policy does not see, counted by hand."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.reporting.deployed_runs import a_run, some_records
from tests.reporting.fake_results import write_study
from tests.reporting.fake_stress import THRESHOLD
from tests.reporting.under_stress import EPS, plain, row_of, value_of

from trustseg.deferral import load_policy
from trustseg.errors import DataError
from trustseg.reporting.contents import Contents
from trustseg.reporting.deployed import SCORE, deployed, is_deployed, policy_by
from trustseg.reporting.report_data import ReportData, collect
from trustseg.reporting.results import load_results
from trustseg.reporting.unnoticed import deploy, unnoticed_table
from trustseg.statistics import Interval


def test_unnoticed_harm_by_hand(stressed: ReportData, stress: Contents) -> None:
    variant = "evidential, no adversarial training"
    clean, attacked = plain(stressed, variant, "clean", 0.0), plain(stressed, variant, "pgd", EPS)
    kept = (attacked["u_entropy_mean"] <= THRESHOLD).to_numpy()
    empty = (attacked["mask_px"] == 0).to_numpy()
    fall = clean["dice"].to_numpy() - attacked["dice"].to_numpy() >= 0.1
    alarm = (attacked["predicted_px"] / attacked["pixels"] >= 0.01).to_numpy()
    row = row_of(stress, "unnoticed", variant=variant, condition="PGD 2/255")
    assert value_of(row, "undetected") == pytest.approx((np.where(empty, alarm, fall) & kept).mean())
    assert value_of(row, "deferral") == pytest.approx((~kept).mean())
    aware = row_of(stress, "unnoticed", variant=variant, condition="deferral-aware 2/255")
    assert value_of(aware, "deferral") == 0  # all scores were pushed below the threshold
    assert value_of(aware, "detection") < 0.1
    assert row_of(stress, "unnoticed", variant=variant, condition="clean")["undetected"] is None


def test_only_clean_and_attacked_images_of_runs_with_a_policy_are_deployed(
    stressed_study: Path, tmp_path: Path
) -> None:
    folder = write_study(tmp_path / "s", heads=("beta",), selections=("none",), images=6, patients=6, stress=True)
    first, second = sorted(folder.glob("cells/*"))
    (first / "policy.json").unlink()
    records = deploy(load_results(folder)).records
    assert records["cell"].unique().to_list() == [second.name]
    assert set(records["kind"]) == {"clean", "attack"}
    (second / "policy.json").unlink()
    results = load_results(folder)
    assert deploy(results).records.is_empty()
    assert unnoticed_table(collect(results, draws=5), draws=5).rows == ()


def test_detection_is_the_share_of_pairs_that_the_score_tells_apart(stressed: ReportData, stress: Contents) -> None:
    variant = "evidential, random selection"
    row = row_of(stress, "unnoticed", variant=variant, condition="PGD 2/255")
    clean, attacked = (
        plain(stressed, variant, name, eps).group_by("image").agg(pl.col("u_entropy_mean").mean())["u_entropy_mean"]
        for name, eps in (("clean", 0.0), ("pgd", EPS))
    )
    pairs = np.sign(attacked.to_numpy()[:, None] - clean.to_numpy()[None, :])
    assert value_of(row, "detection") == pytest.approx(((pairs + 1) / 2).mean())


def test_a_score_that_is_never_known_detects_nothing(stressed: ReportData) -> None:
    variant = "evidential, no adversarial training"
    records = stressed.results.records.filter(pl.col("variant") == variant)
    score = pl.when(pl.col("kind") == "clean").then("u_entropy_mean")
    unknown = records.with_columns(u_entropy_mean=score)
    blind = replace(stressed.results, records=unknown, cells=tuple(stressed.results.cells_of(variant)))
    rows = unnoticed_table(replace(stressed, results=blind), draws=5).rows
    attacked = [row for row in rows if row["condition"] != "clean"]
    assert len(attacked) == 4
    for row in attacked:
        detection, deferral = row["detection"], row["deferral"]
        assert isinstance(detection, Interval)
        assert isinstance(deferral, Interval)
        assert math.isnan(detection.value)
        assert deferral.value == 1  # what has no score is reviewed


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


def test_a_run_with_a_policy_is_deployed(tmp_path: Path) -> None:
    cell = a_run(tmp_path, "a", column="u_entropy_mean", threshold=0.5)
    assert is_deployed(cell)
    (cell.folder / "policy.json").unlink()
    assert not is_deployed(cell)


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
    with pytest.raises(DataError, match="no score entropy_mean; choose one of variance_mean"):
        deployed(some_records("a", "clean", [0.9] * 10, [0.1] * 10).drop("u_entropy_mean"), policy)
