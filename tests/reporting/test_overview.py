"""The first screen's table holds the data, its captions tell what stands behind it, its small form is small."""

import re

import polars as pl

from trustseg.reporting.image_scores import mean_of
from trustseg.reporting.overview import basis, compact, summary
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.score_tables import measures


def test_summary_holds_the_evidence(data: ReportData) -> None:
    frame = summary(data).frame()
    assert frame["variant"].to_list() == data.results.variants
    assert frame["robust_dice_under"].unique().to_list() == ["PGD 4/255"]
    assert frame["worst_dice_under"].unique().to_list() == ["PGD 8/255"]
    dice = mean_of(data.results, "beta, none", ("clean", 0.0), "dice", draws=60)
    row = frame.row(by_predicate=pl.col("variant") == "beta, none", named=True)
    assert (row["dice"], row["dice_low"], row["dice_high"]) == (dice.value, dice.low, dice.high)
    assert row["robust_dice"] > row["worst_dice"]


def test_measures_of_evidence_stand_beside_entropy(data: ReportData) -> None:
    """Entropy judges all; mutual information is told of the head that has it, and nothing of the other."""
    table = summary(data)
    assert "pixel nAUSE (mutual information) ↓" in [column.title for column in table.columns]
    frame = table.frame()
    heads = frame["variant"].str.split(",").list.first()
    assert frame.filter(heads == "bernoulli")["nause_mutual_information"].null_count() == 3
    other = measures(data).frame().filter(pl.col("measure") == "mutual information")
    beta = frame.filter(heads == "beta")
    for end in ("", "_low", "_high"):
        assert beta[f"nause_mutual_information{end}"].to_list() == other[f"nause{end}"].to_list()
    assert not any(frame[name].null_count() for name in frame.columns if "mutual_information" not in name)


def test_the_small_form_for_a_readme(data: ReportData) -> None:
    lines = compact(data).markdown().splitlines()
    titles = (
        "Variant | Dice clean (per image) | Dice pooled | Dice PGD 4/255 | Dice PGD 8/255 | nAUSE (entropy) ↓ | ECE ↓"
    )
    assert lines[0] == f"| {titles} |"
    assert len(lines) == 2 + 6 + 2
    assert all(len(re.findall(r" <sub>\[[^]]*\]</sub>", line)) == 6 for line in lines[2:8])
    assert lines[-1] == basis(data)
