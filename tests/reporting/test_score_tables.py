"""Tables and sentences hold the numbers of the data, and say what an interval allows to say."""

from pathlib import Path

import polars as pl
import pytest
from tests.reporting.fake_results import counted, write_study

from trustseg.reporting import score_tables
from trustseg.reporting.contents import Contents
from trustseg.reporting.overview import headlines, summary
from trustseg.reporting.report_data import ReportData, collect
from trustseg.reporting.results import load_results
from trustseg.reporting.score_tables import calibration_regions


def test_every_table_has_all_keys_in_every_row(stress: Contents) -> None:
    for table in stress.tables.values():
        assert all({column.key for column in table.columns} <= set(row) for row in table.rows)
        assert len(table.frame()) == len(table.rows)


def test_repetitions_count_what_is_there(data: ReportData) -> None:
    frame = score_tables.repetitions(data).frame()
    row = frame.row(by_predicate=pl.col("variant") == "evidential, no adversarial training", named=True)
    assert (row["folds"], row["seeds"], row["images"], row["patients"], row["epochs"]) == (2, 2, 32, 20, 12)
    assert row["seconds_training"] == pytest.approx(4 * 61.5)
    assert (row["models"], row["empty"]) == (4, 2)
    assert row["lowest_dice"] <= row["highest_dice"]


def test_images_behind_dice_are_the_same_under_every_condition(data: ReportData) -> None:
    frame = score_tables.robustness(data).frame().filter(pl.col("variant") == "evidential, no adversarial training")
    assert frame["images"].to_list() == [30] * 9
    whole, rest = summary(data).frame(), score_tables.repetitions(data).frame()
    assert whole["images"].to_list() == (rest["images"] - rest["empty"]).to_list()


def test_false_positives_are_told_by_their_area(data: ReportData) -> None:
    """The synthetic study predicts nothing on empty masks when clean, 40 times the pressure of 1/2 under PGD 4/255."""
    frame = (
        score_tables.false_positives(data).frame().filter(pl.col("variant") == "evidential, no adversarial training")
    )
    assert frame.select("images", "clean", "attacked").row(0) == (2, 0.0, pytest.approx(20 / 64**2))


def test_every_measure_is_told_and_the_one_judged_by_agrees(data: ReportData) -> None:
    frame = score_tables.measures(data).frame()
    beta = frame.filter(pl.col("variant") == "evidential, no adversarial training")
    assert beta["measure"].to_list() == ["mutual information", "vacuity", "entropy"]
    judged = score_tables.ranking(data).frame().filter(pl.col("variant") == "evidential, no adversarial training")
    assert beta.row(0)[2:5] == judged.select("nause", "nause_low", "nause_high").row(0)
    assert beta["robust_nause"][0] == judged["nause"][1]


def test_headlines_are_about_uncertain_against_random(data: ReportData) -> None:
    found = headlines(data)
    assert [pair for pair, _ in found] == [
        "classical, uncertain selection minus classical, random selection",
        "evidential, uncertain selection minus evidential, random selection",
    ]
    asked = ("Dice, clean: ", "Dice, PGD 4/255: ", "pixel nAUSE, PGD 4/255: ")
    assert all(score in text for score, text in zip(asked, found[0][1], strict=True))
    assert found[0][1][1].startswith("Classical, uncertain selection segments better: ")


def test_one_patient_gives_no_interval(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", heads=("beta",), selections=("none",), seeds=1, images=4, patients=4)
    for path in folder.glob("cells/*/records.parquet"):
        records = pl.read_parquet(path)
        first = pl.col("image") == records["image"][0]
        mask = pl.when(first).then(0).otherwise(pl.max_horizontal("mask_px", 1))
        hit = pl.when(first).then(0).otherwise("intersection_px")
        counted(records.with_columns(mask_px=mask, intersection_px=hit)).write_parquet(path)
    table = score_tables.false_positives(collect(load_results(folder), draws=20))
    ((_, images, clean, attacked),) = table.cells()
    assert images == ("1", "")
    assert clean[1] == attacked[1] == "— (n = 1)"
    assert 0 <= float(clean[0]) <= 1


def test_calibration_by_region_reads_its_own_pixels(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", heads=("beta",), selections=("none",), seeds=1, images=6, gallery=False)
    path = next(folder.glob("cells/*/calibration.parquet"))
    whole = pl.read_parquet(path)
    assert calibration_regions(collect(load_results(folder), draws=5), draws=5).rows == ()
    certain = whole.with_columns(sum_probability=pl.lit(0.0), sum_reference=pl.col("count") * 1.0)
    none = whole.with_columns(pl.lit(0).alias(name).cast(whole.schema[name]) for name in whole.columns[2:5])
    regions = {"whole": whole, "boundary": certain, "foreground": none}
    pl.concat(frame.with_columns(region=pl.lit(name)) for name, frame in regions.items()).write_parquet(path)
    data = collect(load_results(folder), draws=5)
    row = calibration_regions(data, draws=5).frame().row(0, named=True)
    assert row["whole"] == data.score("evidential, no adversarial training", ("clean", 0.0), "ece").value
    assert row["boundary"] == 1.0
    assert row["foreground"] != row["foreground"]  # no pixel: undefined
