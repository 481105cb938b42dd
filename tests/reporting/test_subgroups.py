"""Scores by subgroup, counted by hand."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from tests.reporting.under_stress import plain

from trustseg.reporting.report_data import ReportData
from trustseg.reporting.subgroups import subgroup_table, subgroups_of
from trustseg.statistics import Interval


def with_columns(data: ReportData, **columns: pl.Expr) -> ReportData:
    results = data.results
    return replace(data, results=replace(results, records=results.records.with_columns(**columns)))


def test_subgroups_by_hand(stressed: ReportData) -> None:
    names = stressed.results.records["image"].unique().sort()
    even = pl.col("image").is_in(names.gather_every(2).to_list())
    site = pl.when(even).then(pl.lit("north")).otherwise(pl.lit(""))
    table = subgroup_table(with_columns(stressed, group_site=site, group_same=pl.lit("x")), draws=20)
    rows = {row["group"]: row for row in table.rows if row["variant"] == "evidential, no adversarial training"}
    assert [row["attribute"] for row in rows.values()] == ["site", "site"]
    assert list(rows) == ["north", "unknown"]
    clean = plain(stressed, "evidential, no adversarial training", "clean", 0.0).filter(pl.col("mask_px") > 0)
    for name, inside in (("north", even), ("unknown", ~even)):
        members = clean.filter(inside)
        dice = rows[name]["dice"]
        assert isinstance(dice, Interval)
        assert dice.value == pytest.approx(members.group_by("image").agg(pl.col("dice").mean())["dice"].mean())
        assert isinstance(rows[name]["robust"], Interval)
        assert isinstance(rows[name]["undetected"], Interval)
        assert isinstance(rows[name]["deferral"], Interval)
    marked = [name for name, row in rows.items() if "lowest" in str(row["remark"])]
    values = {name: row["dice"].value for name, row in rows.items() if isinstance(row["dice"], Interval)}
    assert marked == [min(values, key=values.__getitem__)]


def test_nothing_to_tell_apart_is_an_empty_table(stressed: ReportData) -> None:
    assert subgroup_table(stressed, draws=5).rows == ()


def test_numbers_are_cut_and_views_are_read_from_names() -> None:
    ages = [str(age) for age in range(20, 80, 2)] + ["", None]
    records = pl.DataFrame(
        {
            "image": [f"sub-S{row:02d}_vp-{'ll' if row % 5 == 0 else 'pa'}_dx" for row in range(31)] + ["covid_1"],
            "kind": ["clean"] * 32,
            "group_age": ages,
            "group_sex": ["f", "m"] * 16,
        }
    )
    groups = subgroups_of(records)
    assert set(groups) == {"age", "sex", "view"}
    sizes = dict(zip(*np.unique(list(groups["age"].values()), return_counts=True), strict=True))
    assert sorted(sizes.values()) == [2, 10, 10, 10]
    assert sizes["unknown"] == 2
    assert set(groups["view"].values()) == {"lateral", "frontal", "unknown"}
