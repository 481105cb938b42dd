"""Tables and sentences hold the numbers of the evidence, and say what an interval allows to say."""

import polars as pl
import pytest

from trustseg.reporting.answers import all_tables, headlines, sentence
from trustseg.reporting.evidence import Difference, Evidence, Metric
from trustseg.reporting.image_scores import mean_of
from trustseg.study.statistics import Interval


def test_summary_holds_the_evidence(evidence: Evidence) -> None:
    frame = all_tables(evidence)["summary"].frame()
    assert frame["variant"].to_list() == evidence.results.variants
    assert frame["robust_dice_under"].unique().to_list() == ["PGD 4/255"]
    assert frame["worst_dice_under"].unique().to_list() == ["PGD 8/255"]
    dice = mean_of(evidence.results, "beta, none", ("clean", 0.0), "dice", draws=60)
    row = frame.row(by_predicate=pl.col("variant") == "beta, none", named=True)
    assert (row["dice"], row["dice_low"], row["dice_high"]) == (dice.value, dice.low, dice.high)
    assert row["robust_dice"] > row["worst_dice"]
    assert frame.select(name for name in frame.columns if name != "variant").null_count().sum_horizontal().item() == 0


def test_every_table_has_all_keys_in_every_row(evidence: Evidence) -> None:
    for table in all_tables(evidence).values():
        assert table.rows, table.key
        assert all({column.key for column in table.columns} <= set(row) for row in table.rows)
        assert len(table.frame()) == len(table.rows)


def test_repetitions_count_what_is_there(evidence: Evidence) -> None:
    frame = all_tables(evidence)["repetitions"].frame()
    row = frame.row(by_predicate=pl.col("variant") == "beta, none", named=True)
    assert (row["folds"], row["seeds"], row["images"], row["patients"], row["epochs"]) == (2, 2, 32, 20, 12)
    assert row["seconds_training"] == pytest.approx(4 * 61.5)
    assert row["lowest_dice"] <= row["highest_dice"]


def test_every_measure_is_told_and_the_one_judged_by_agrees(evidence: Evidence) -> None:
    tables = all_tables(evidence)
    frame = tables["measures"].frame()
    beta = frame.filter(pl.col("variant") == "beta, none")
    assert beta["measure"].to_list() == ["mutual information", "vacuity", "entropy"]
    judged = tables["ranking"].frame().filter(pl.col("variant") == "beta, none")
    assert beta.row(0)[2:5] == judged.select("nause", "nause_low", "nause_high").row(0)
    assert beta["robust_nause"][0] == judged["nause"][1]


@pytest.mark.parametrize(
    ("metric", "value", "low", "high", "verdict"),
    [
        ("dice", 0.05, 0.01, 0.09, "better"),
        ("nause", 0.05, 0.01, 0.09, "worse"),
        ("aurc", -0.05, -0.09, -0.01, "better"),
        ("dice", -0.05, -0.09, -0.01, "worse"),
        ("dice", 0.05, -0.01, 0.09, "includes 0"),
        ("dice", 0.05, 0.0, 0.09, "includes 0"),
        ("dice", 0.05, float("nan"), float("nan"), "includes 0"),
    ],
)
def test_verdict(metric: Metric, value: float, low: float, high: float, verdict: str) -> None:
    interval = Interval(value=value, low=low, high=high, count=9, patients=9)
    assert Difference("a", "b", ("clean", 0.0), metric, interval).verdict == verdict


def test_sentence() -> None:
    interval = Interval(value=0.05, low=0.01, high=0.09, count=9, patients=9)
    difference = Difference("a", "b", ("pgd", round(4 / 255, 7)), "dice", interval)
    assert sentence(difference) == "Dice, PGD 4/255: +0.050 [+0.010, +0.090]"


def test_headlines_are_about_uncertain_against_random(evidence: Evidence) -> None:
    found = headlines(evidence)
    assert [pair for pair, _ in found] == [
        "bernoulli, uncertain minus bernoulli, random",
        "beta, uncertain minus beta, random",
    ]
    assert [text.split(":")[0] for text in found[0][1]] == ["Dice, clean", "Dice, PGD 4/255", "pixel nAUSE, PGD 4/255"]
    assert found[0][1][1].endswith(": better")
