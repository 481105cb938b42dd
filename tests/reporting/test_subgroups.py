"""Scores by subgroup, counted by hand."""

import numpy as np
import polars as pl
import pytest
from tests.reporting.given import EVIDENTIAL, plain, value_of, with_records

from trustseg.reporting.contents import Contents
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.subgroups import subgroup_table, subgroups_of
from trustseg.statistics import Interval


def test_subgroups_by_hand(stressed: ReportData, stress: Contents) -> None:
    assert "subgroups" not in stress.tables  # nothing to tell apart
    records = stressed.results.records
    even = pl.col("image").is_in(records["image"].unique().sort().gather_every(2).to_list())
    site = pl.when(even).then(pl.lit("north")).otherwise(pl.lit(""))
    grouped = with_records(stressed, records.with_columns(group_site=site, group_same=pl.lit("x")))
    table = subgroup_table(grouped, stress.deferrals)
    rows = {row["group"]: row for row in table.rows if row["variant"] == EVIDENTIAL}
    assert [(row["attribute"], group) for group, row in rows.items()] == [("site", "north"), ("site", "unknown")]
    clean = plain(stressed, EVIDENTIAL, "clean", 0.0).filter(pl.col("mask_px") > 0)
    for name, inside in (("north", even), ("unknown", ~even)):
        means = clean.filter(inside).group_by("image").agg(pl.col("dice").mean())
        assert value_of(rows[name], "dice") == pytest.approx(means["dice"].mean())
        assert all(isinstance(rows[name][key], Interval) for key in ("robust", "undetected", "deferral"))
    marked = [name for name, row in rows.items() if "lowest" in str(row["remark"])]
    assert marked == [min(rows, key=lambda name: value_of(rows[name], "dice"))]


def test_numbers_are_cut_and_views_are_read_from_names() -> None:
    views = [f"sub-S{row:02d}_vp-{'ll' if row % 5 == 0 else 'pa'}_dx" for row in range(31)]
    ages = [str(age) for age in range(20, 80, 2)] + ["", None]
    columns = {"image": [*views, "covid_1"], "kind": ["clean"] * 32, "group_age": ages, "group_sex": ["f", "m"] * 16}
    groups = subgroups_of(pl.DataFrame(columns))
    assert set(groups) == {"age", "sex", "view"}
    sizes = dict(zip(*np.unique(list(groups["age"].values()), return_counts=True), strict=True))
    assert sorted(sizes.values()) == [2, 10, 10, 10]
    assert sizes["unknown"] == 2
    assert set(groups["view"].values()) == {"lateral", "frontal", "unknown"}
