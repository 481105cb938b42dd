"""Which score finds bad segmentations and unknown images, against the scores on tensors; scores by subgroup by hand."""

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from tests.reporting.fake_results import without_foreground
from tests.reporting.given import CLEAN, EVIDENTIAL, collected, named, one_run, plain, value_of, with_records

from trustseg.metrics import aurc, nause
from trustseg.metrics.detection import auroc, average_precision, fpr_at_tpr
from trustseg.reporting.contents import Contents
from trustseg.reporting.detection import failure_detection_table, population_tables, populations_of, same_orders
from trustseg.reporting.image_rankings import read_scores
from trustseg.reporting.labels import words
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.subgroups import subgroups, subgroups_of
from trustseg.reporting.tables import Table
from trustseg.statistics import Interval

TAU = 0.7


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    """Ties in every score; the variance orders images as the entropy does; unknown images have scores of their own."""
    folder = tmp_path_factory.mktemp("detection") / "study"
    one_run(folder, heads=("bernoulli", "beta"), seeds=2, images=26, patients=11, stress=True)
    for number, path in enumerate(sorted(folder.glob("cells/*/records.parquet"))):
        records = pl.read_parquet(path)
        elsewhere = pl.col("kind") == "population"
        drawn = np.random.default_rng(number).integers(0, 9, (4, len(records))) / 10
        noise = [pl.lit(pl.Series(row)) for row in drawn]
        shift = pl.when(elsewhere).then(noise[3] / 5).otherwise(0.0)
        untouched = elsewhere & pl.col("image").str.contains("image_00")
        records = records.with_columns(
            u_entropy_mean=(noise[0] + pl.col("u_entropy_mean").round(1) + shift).round(2),
            u_entropy_quantile_mean=(noise[1] + shift).round(2),
            u_vacuity_mean=pl.when(pl.col("u_vacuity_mean").is_not_null()).then((noise[2] + shift).round(2)),
            predicted_px=pl.when(untouched).then(0).otherwise("predicted_px"),
        )
        squared = pl.when(pl.col("u_variance_mean").is_not_null()).then((pl.col("u_entropy_mean") ** 2).round(4))
        records.with_columns(u_variance_mean=squared).write_parquet(path)
    return collected(folder, 30)


@pytest.fixture(scope="module")
def tables(data: ReportData) -> dict[str, Table]:
    return named(population_tables(data))


def test_finders_equal_the_scores_on_tensors(data: ReportData) -> None:
    rows = failure_detection_table(data, tau=TAU).rows
    columns = {words(column): column for column in data.results.records.columns}
    assert {row["score"] for row in rows} >= {"entropy mean", "vacuity mean"}
    for row in rows:
        held = read_scores(data.results, str(row["variant"]), CLEAN, columns[str(row["score"])])
        pairs = [
            (torch.from_numpy(u[np.isfinite(u)]), torch.from_numpy(r[np.isfinite(u)]))
            for u, r in zip(held.uncertainty, held.risk, strict=True)
        ]
        expected = [
            np.mean([float(aurc(u, r)) for u, r in pairs]),
            np.mean([float(nause(u, r)) for u, r in pairs]),  # nAURC: the quotient is the same
            np.mean([float(auroc(u, r > 1 - TAU)) for u, r in pairs]),
        ]
        assert [value_of(row, key) for key in ("aurc", "naurc", "auroc")] == pytest.approx(expected, nan_ok=True)
        assert -1 <= value_of(row, "size") <= 1


def test_the_best_of_a_variant_comes_first(data: ReportData) -> None:
    for _, rows in failure_detection_table(data, tau=TAU).frame().group_by("variant"):
        assert rows["place"].to_list() == list(range(1, len(rows) + 1))
        assert rows["aurc"].is_sorted()
    assert failure_detection_table(data, tau=0.001).frame()["auroc"].is_nan().all()  # nothing failed


def test_two_names_for_one_score_are_told(data: ReportData) -> None:
    said = same_orders(data)
    assert any("entropy mean and variance mean" in sentence for sentence in said if "classical" in sentence)
    assert not any("vacuity mean" in sentence and "entropy" in sentence for sentence in said)


def test_detection_equals_the_scores_on_tensors_averaged_over_the_runs(
    data: ReportData, tables: dict[str, Table]
) -> None:
    results = data.results
    assert populations_of(results) == ["ct"]
    rows = {(row["variant"], row["score"]): row for row in tables["populations_all"].rows}
    assert len(rows) == sum(len(results.score_columns(variant)) for variant in results.variants)
    for variant in results.variants:
        for column in results.score_columns(variant):
            expected = []
            for cell in results.cells_of(variant):
                known = results.records.filter(pl.col("cell") == cell.id, pl.col("condition") == "clean")
                other = results.populations.filter(pl.col("cell") == cell.id)
                scores = torch.tensor(known[column].to_list() + other[column].to_list())
                unknown = torch.arange(len(scores)) >= len(known)
                expected.append([float(score(scores, unknown)) for score in (auroc, average_precision, fpr_at_tpr)])
            row = rows[variant, words(column)]
            values = [value_of(row, name) for name in ("auroc", "aupr", "fpr95")]
            assert values == pytest.approx(np.mean(expected, axis=0).tolist())
            found = row["auroc"]
            assert getattr(found, "low", 1) < values[0] < getattr(found, "high", 0)
            assert getattr(found, "patients", 0) == 22  # 11 of the test images and 11 others


def test_areas_are_shares(data: ReportData, tables: dict[str, Table]) -> None:
    for row in tables["population_area"].rows:
        mine = data.results.populations.filter(pl.col("variant") == row["variant"])
        assert value_of(row, "touched") == pytest.approx((mine["predicted_px"] > 0).mean())
        assert value_of(row, "area") == pytest.approx((100 * mine["predicted_px"] / mine["pixels"]).mean())


def test_shifts_and_populations_are_no_attacks_and_no_test_images(stressed: ReportData) -> None:
    assert set(stressed.attacks) == {"fgsm", "pgd", "ensemble", "deferral_aware"}
    assert set(stressed.results.records["kind"]) == {"clean", "attack", "shift"}
    assert set(stressed.results.populations["kind"]) == {"population"}
    assert not stressed.results.records["image"].str.starts_with("ct_").any()


def test_nothing_to_find_and_no_other_population(tmp_path: Path) -> None:
    folder = one_run(tmp_path / "study")
    for path in folder.glob("cells/*/records.parquet"):
        without_foreground(pl.read_parquet(path)).write_parquet(path)
    data = collected(folder)
    assert failure_detection_table(data).rows == ()
    assert same_orders(data) == []
    assert all(not table.rows for table in population_tables(data))


def test_subgroups_by_hand(stressed: ReportData, stress: Contents) -> None:
    assert "subgroups" not in stress.tables  # nothing to tell apart
    records = stressed.results.records
    even = pl.col("image").is_in(records["image"].unique().sort().gather_every(2).to_list())
    site = pl.when(even).then(pl.lit("north")).otherwise(pl.lit(""))
    grouped = with_records(stressed, records.with_columns(group_site=site, group_same=pl.lit("x")))
    table = subgroups(grouped, stress.deferrals)
    rows = {row["group"]: row for row in table.rows if row["variant"] == EVIDENTIAL}
    assert [(row["attribute"], group) for group, row in rows.items()] == [("site", "north"), ("site", "unknown")]
    clean = plain(stressed, EVIDENTIAL, "clean", 0.0).filter(pl.col("mask_px") > 0)
    for name, inside in (("north", even), ("unknown", ~even)):
        means = clean.filter(inside).group_by("image").agg(pl.col("dice").mean())
        assert value_of(rows[name], "dice") == pytest.approx(means["dice"].mean())
        assert all(isinstance(rows[name][key], Interval) for key in ("robust", "undetected", "deferral"))
    mark_label = [name for name, row in rows.items() if "lowest" in str(row["remark"])]
    assert mark_label == [min(rows, key=lambda name: value_of(rows[name], "dice"))]


def test_numbers_are_cut_and_views_are_read_from_names() -> None:
    views = [f"sub-S{row:02d}_vp-{'ll' if row % 5 == 0 else 'pa'}_dx" for row in range(31)]
    ages = [str(age) for age in range(20, 80, 2)] + ["", None]
    columns = {"image": [*views, "covid_1"], "kind": ["clean"] * 32, "group_age": ages, "group_sex": ["f", "m"] * 16}
    sizes = pl.Series(["large", "small"] * 16, dtype=pl.Enum(["small", "large"]))
    groups = subgroups_of(pl.DataFrame(columns).with_columns(group_size=sizes, group_grade=pl.Series([10, 9] * 16)))
    assert set(groups) == {"age", "sex", "size", "grade", "view"}
    assert [list(Counter(groups[name].values())) for name in ("size", "grade")] == [["small", "large"], ["9", "10"]]
    assert list(Counter(groups["age"].values()).items()) == [
        ("up to 39.3333", 10),
        ("above 39.3333 up to 58.6667", 10),
        ("above 58.6667", 10),
        ("unknown", 2),
    ]
    assert set(groups["view"].values()) == {"lateral", "frontal", "unknown"}
