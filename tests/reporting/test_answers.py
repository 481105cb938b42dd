"""Tables and sentences hold the numbers of the evidence, and say what an interval allows to say."""

from pathlib import Path

import polars as pl
import pytest
from tests.reporting.fake_results import write_study

from trustseg.reporting.answers import all_tables, headlines, sentence
from trustseg.reporting.report_data import Difference, ReportData, collect
from trustseg.reporting.results import load_results
from trustseg.statistics import Interval


def test_every_table_has_all_keys_in_every_row(evidence: ReportData) -> None:
    for table in all_tables(evidence).values():
        assert table.rows, table.key
        assert all({column.key for column in table.columns} <= set(row) for row in table.rows)
        assert len(table.frame()) == len(table.rows)


def test_repetitions_count_what_is_there(evidence: ReportData) -> None:
    frame = all_tables(evidence)["repetitions"].frame()
    row = frame.row(by_predicate=pl.col("variant") == "beta, none", named=True)
    assert (row["folds"], row["seeds"], row["images"], row["patients"], row["epochs"]) == (2, 2, 32, 20, 12)
    assert row["seconds_training"] == pytest.approx(4 * 61.5)
    assert (row["models"], row["empty"]) == (4, 2)
    assert row["lowest_dice"] <= row["highest_dice"]


def test_images_behind_dice_are_the_same_under_every_condition(evidence: ReportData) -> None:
    frame = all_tables(evidence)["robustness"].frame().filter(pl.col("variant") == "beta, none")
    assert frame["images"].to_list() == [30] * 9
    summary, rest = (all_tables(evidence)[key].frame() for key in ("summary", "repetitions"))
    assert summary["images"].to_list() == (rest["images"] - rest["empty"]).to_list()


def test_false_positives_are_told_by_their_area(evidence: ReportData) -> None:
    """The synthetic study predicts nothing on empty masks when clean, 40 times the pressure of 1/2 under PGD 4/255."""
    frame = all_tables(evidence)["false_positives"].frame().filter(pl.col("variant") == "beta, none")
    assert frame.select("images", "clean", "attacked").row(0) == (2, 0.0, pytest.approx(20 / 64**2))


def test_every_measure_is_told_and_the_one_judged_by_agrees(evidence: ReportData) -> None:
    tables = all_tables(evidence)
    frame = tables["measures"].frame()
    beta = frame.filter(pl.col("variant") == "beta, none")
    assert beta["measure"].to_list() == ["mutual information", "vacuity", "entropy"]
    judged = tables["ranking"].frame().filter(pl.col("variant") == "beta, none")
    assert beta.row(0)[2:5] == judged.select("nause", "nause_low", "nause_high").row(0)
    assert beta["robust_nause"][0] == judged["nause"][1]


def test_sentence() -> None:
    interval = Interval(value=0.05, low=0.01, high=0.09, count=9, patients=9)
    difference = Difference("a", "b", ("pgd", round(4 / 255, 7)), "dice", interval)
    assert sentence(difference) == "Dice, PGD 4/255: +0.050 [+0.010, +0.090]"


def test_headlines_are_about_uncertain_against_random(evidence: ReportData) -> None:
    found = headlines(evidence)
    assert [pair for pair, _ in found] == [
        "bernoulli, uncertain minus bernoulli, random",
        "beta, uncertain minus beta, random",
    ]
    assert [text.split(":")[0] for text in found[0][1]] == ["Dice, clean", "Dice, PGD 4/255", "pixel nAUSE, PGD 4/255"]
    assert found[0][1][1].endswith(": better †")


def test_one_patient_gives_no_interval(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", heads=("beta",), regimes=("none",), seeds=1, images=4, patients=4)
    for path in folder.glob("cells/*/records.parquet"):
        records = pl.read_parquet(path)
        first = pl.col("image") == records["image"][0]
        records.with_columns(mask_px=pl.when(first).then(0).otherwise(pl.max_horizontal("mask_px", 1))).write_parquet(
            path
        )
    table = all_tables(collect(load_results(folder), draws=20))["false_positives"]
    ((_, images, clean, attacked),) = table.cells()
    assert images == ("1", "")
    assert clean[1] == attacked[1] == "— (n = 1)"
    assert 0 <= float(clean[0]) <= 1
