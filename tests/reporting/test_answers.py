"""Tables and sentences hold the numbers of the evidence, and say what an interval allows to say."""

from pathlib import Path

import polars as pl
import pytest
from tests.reporting.fake_results import write_study

from trustseg.reporting.answers import all_tables, headlines, sentence
from trustseg.reporting.evidence import Difference, Evidence, Metric, collect
from trustseg.reporting.results import load_results
from trustseg.study.statistics import Interval


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
    assert (row["models"], row["empty"]) == (4, 2)
    assert row["lowest_dice"] <= row["highest_dice"]


def test_images_behind_dice_are_the_same_under_every_condition(evidence: Evidence) -> None:
    frame = all_tables(evidence)["robustness"].frame().filter(pl.col("variant") == "beta, none")
    assert frame["images"].to_list() == [30] * 9
    summary, rest = (all_tables(evidence)[key].frame() for key in ("summary", "repetitions"))
    assert summary["images"].to_list() == (rest["images"] - rest["empty"]).to_list()


def test_false_positives_are_told_by_their_area(evidence: Evidence) -> None:
    """The synthetic study predicts nothing on empty masks when clean, 40 times the pressure of 1/2 under PGD 4/255."""
    frame = all_tables(evidence)["false_positives"].frame().filter(pl.col("variant") == "beta, none")
    assert frame.select("images", "clean", "attacked").row(0) == (2, 0.0, pytest.approx(20 / 64**2))


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
        ("dice", 0.05, float("nan"), float("nan"), "undefined"),
        ("dice", float("nan"), float("nan"), float("nan"), "undefined"),
    ],
)
def test_verdict(metric: Metric, value: float, low: float, high: float, verdict: str) -> None:
    interval = Interval(value=value, low=low, high=high, count=9, patients=9)
    assert Difference("a", "b", ("clean", 0.0), metric, interval).verdict == verdict


@pytest.mark.parametrize(
    ("low", "tentative", "shown"),
    [
        (0.01, True, "better †"),
        (-0.01, True, "includes 0 †"),
        (0.01, False, "better"),
        (float("nan"), True, "undefined"),
    ],
)
def test_few_trainings_speak_for_themselves_only(low: float, tentative: bool, shown: str) -> None:
    interval = Interval(value=0.05, low=low, high=0.09, count=9, patients=9)
    found = Difference("a", "b", ("clean", 0.0), "dice", interval, tentative)
    assert found.verdict + found.mark == shown


@pytest.mark.parametrize(("folds", "seeds", "tentative"), [(1, 2, True), (1, 3, False), (3, 1, False)])
def test_three_seeds_or_folds_are_enough(tmp_path: Path, folds: int, seeds: int, tentative: bool) -> None:
    folder = write_study(
        tmp_path / "study", heads=("beta",), regimes=("none", "random"), folds=folds, seeds=seeds, images=9, patients=9
    )
    found = collect(load_results(folder), draws=5)
    assert {item.tentative for item in found.differences} == {tentative}
    caption = all_tables(found)["summary"].title
    assert f"Folds: {folds}, seeds: {seeds}, trained models behind each variant: {folds * seeds}." in caption
    assert ("for these trained models" in caption) == tentative


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
