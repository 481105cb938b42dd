"""Harm that the frozen policy does not see, counted by hand."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.reporting.fake_results import write_study
from tests.reporting.fake_stress import THRESHOLD
from tests.reporting.under_stress import EPS, plain, row_of, value_of

from trustseg.reporting.contents import Contents
from trustseg.reporting.report_data import ReportData, collect
from trustseg.reporting.results import load_results
from trustseg.reporting.unnoticed import deploy, unnoticed_table
from trustseg.statistics import Interval


def test_unnoticed_harm_by_hand(stressed: ReportData, stress: Contents) -> None:
    variant = "beta, none"
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
    folder = write_study(tmp_path / "s", heads=("beta",), regimes=("none",), images=6, patients=6, stress=True)
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
    variant = "beta, random"
    row = row_of(stress, "unnoticed", variant=variant, condition="PGD 2/255")
    clean, attacked = (
        plain(stressed, variant, name, eps).group_by("image").agg(pl.col("u_entropy_mean").mean())["u_entropy_mean"]
        for name, eps in (("clean", 0.0), ("pgd", EPS))
    )
    pairs = np.sign(attacked.to_numpy()[:, None] - clean.to_numpy()[None, :])
    assert value_of(row, "detection") == pytest.approx(((pairs + 1) / 2).mean())


def test_a_score_that_is_never_known_detects_nothing(stressed: ReportData) -> None:
    variant = "beta, none"
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
