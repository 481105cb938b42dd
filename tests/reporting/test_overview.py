"""The first screen's table holds the data, its captions tell what stands behind it, its small form is small."""

import io
import math
import re
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console
from tests.reporting.given import CLEAN, EVIDENTIAL, collected, interval, one_run

from trustseg.reporting import print_summary
from trustseg.reporting.differences import Difference
from trustseg.reporting.findings import find_caveats
from trustseg.reporting.image_scores import mean_of
from trustseg.reporting.overview import basis, compact_table, headlines, interval_scope, summary
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.score_tables import measures

NAN = math.nan


def test_summary_holds_the_evidence(data: ReportData) -> None:
    frame = summary(data).frame()
    assert frame["variant"].to_list() == data.results.variants
    assert frame["robust_dice_under"].unique().to_list() == ["PGD 4/255"]
    assert frame["worst_dice_under"].unique().to_list() == ["PGD 8/255"]
    dice = mean_of(data.results, EVIDENTIAL, CLEAN, "dice")
    row = frame.row(by_predicate=pl.col("variant") == EVIDENTIAL, named=True)
    assert (row["dice"], row["dice_low"], row["dice_high"]) == (dice.value, dice.low, dice.high)
    assert row["robust_dice"] > row["worst_dice"]


def test_measures_of_evidence_stand_beside_entropy(data: ReportData) -> None:
    """Entropy judges all; mutual information is told of the head that has it, and nothing of the other."""
    table = summary(data)
    assert "pixel nAUSE (mutual information) ↓" in [column.heading for column in table.columns]
    frame = table.frame()
    heads = frame["variant"].str.split(",").list.first()
    assert frame.filter(heads == "classical")["nause_mutual_information"].null_count() == 3
    other = measures(data).frame().filter(pl.col("measure") == "mutual information")
    beta = frame.filter(heads == "evidential")
    for end in ("", "_low", "_high"):
        assert beta[f"nause_mutual_information{end}"].to_list() == other[f"nause{end}"].to_list()
    assert not any(frame[name].null_count() for name in frame.columns if "mutual_information" not in name)


def test_the_small_form_for_a_readme(data: ReportData) -> None:
    lines = compact_table(data).markdown().splitlines()
    dice = "Dice clean (per image) | pooled Dice | Dice PGD 4/255 | Dice PGD 8/255"
    assert lines[0] == f"| Variant | {dice} | nAUSE (entropy) ↓ | ECE ↓ |"
    assert len(lines) == 2 + 6 + 2
    assert all(len(re.findall(r" <sub>\[[^]]*\]</sub>", line)) == 6 for line in lines[2:8])
    assert lines[-1] == basis(data)


def printed(frame: pl.DataFrame) -> list[str]:
    stream = io.StringIO()
    print_summary(frame, console=Console(file=stream, width=80, color_system=None))
    return stream.getvalue().splitlines()


def test_print_summary_fits_a_terminal(data: ReportData) -> None:
    frame = summary(data).frame().with_columns(robust_dice_under=pl.lit("PGD-10 4/255"))
    lines = printed(frame)
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    assert "Dice PGD-10 4/255" in lines[0]
    value, low, high = (frame[f"dice{end}"][0] for end in ("", "_low", "_high"))
    assert lines[2].startswith("classical, no")  # the rest of the name stands below
    assert f"{value:.2f} [{low:.2f}, {high:.2f}]" in lines[2]
    held = {"variant": ["a [b]"], "dice": [0.126], "dice_low": [NAN], "dice_high": [NAN], "other": [1]}
    head, _, row = printed(pl.DataFrame(held))
    assert head.split() == ["variant", "Dice", "clean"]
    assert row.split() == ["a", "[b]", "0.13", "[nan,", "nan]"]  # brackets are no markup


@pytest.mark.parametrize(
    ("metric", "value", "low", "high", "margin", "verdict"),
    [
        ("dice", 0.05, 0.01, 0.09, 0.0, "better"),
        ("nause", 0.05, 0.01, 0.09, 0.0, "worse"),
        ("aurc", -0.05, -0.09, -0.01, 0.0, "better"),
        ("dice", -0.05, -0.09, -0.01, 0.0, "worse"),
        ("dice", 0.05, -0.01, 0.09, 0.0, "includes 0"),
        ("dice", 0.05, 0.0, 0.09, 0.0, "includes 0"),
        ("dice", 0.05, NAN, NAN, 0.0, "undefined"),
        ("dice", NAN, NAN, NAN, 0.0, "undefined"),
        ("dice", 0.06, 0.03, 0.09, 0.02, "better"),
        ("dice", 0.06, 0.02, 0.09, 0.02, "margin not reached"),  # the whole interval has to lie beyond the margin
        ("ece", 0.04, 0.001, 0.09, 0.02, "margin not reached"),
        ("ece", -0.06, -0.09, -0.03, 0.02, "better"),
        ("dice", -0.06, -0.09, -0.03, 0.02, "worse"),
        ("dice", 0.0, -0.019, 0.019, 0.02, "within the margin"),
        ("dice", 0.01, 0.001, 0.019, 0.02, "within the margin"),
        ("dice", 0.001, -0.019, 0.021, 0.02, "includes 0"),
        ("dice", 0.0, 0.0, 0.0, 0.02, "identical"),
    ],
)
def test_verdicts(metric: str, value: float, low: float, high: float, margin: float, verdict: str) -> None:
    found = Difference("a", "b", CLEAN, metric, interval(value, low, high), trainings=2, margin=margin)
    assert found.verdict == verdict


@pytest.mark.parametrize(
    ("low", "trainings", "shown"),
    [(0.01, 1, "one training †"), (-0.01, 1, "includes 0 †"), (0.01, 2, "better"), (NAN, 1, "undefined")],
)
def test_one_training_speaks_for_itself_only(low: float, trainings: int, shown: str) -> None:
    found = Difference("a", "b", CLEAN, "dice", interval(0.05, low, 0.09), trainings)
    assert found.verdict + found.mark == shown


LESS = "if perhaps by less than the margin of 0.01"


@pytest.mark.parametrize(
    ("metric", "low", "high", "trainings", "said"),
    [
        ("dice", 0.02, 0.04, 3, "A segments better: Dice, PGD 4/255: +0.030 [+0.020, +0.040]"),
        ("nause", 0.02, 0.04, 3, "A ranks errors worse: pixel nAUSE, PGD 4/255: +0.030 [+0.020, +0.040] (lower "),
        ("nause", -0.04, -0.001, 3, f"A ranks errors better, {LESS}: pixel nAUSE, PGD 4/255: -0.021 [-0.040, -0.001]"),
        ("dice", -0.04, 0.05, 3, "No difference shown in Dice, PGD 4/255: +0.005 [-0.040, +0.050]"),
        ("dice", 0.0, 0.0, 3, "No verdict, as both sides are the same in every image: Dice, PGD 4/255"),
        ("dice", 0.02, 0.04, 1, "No verdict from one training of each; these trained models differ in Dice, PGD 4/255"),
    ],
)
def test_the_answer_says_which_is_better(
    data: ReportData, metric: str, low: float, high: float, trainings: int, said: str
) -> None:
    found = interval((low + high) / 2, low, high)
    difference = Difference("a", "b", data.clean_and_attacked[-1], metric, found, trainings, margin=0.01)
    [(pair, [sentence])] = headlines(replace(data, differences=(difference,)))
    assert pair == "a minus b"
    assert sentence.startswith(said)


def test_variants_that_are_the_same_models_weaken_a_report(data: ReportData) -> None:
    same = Difference("a", "b", CLEAN, "dice", interval(0.0, 0.0, 0.0), trainings=3, margin=0.01)
    assert any(
        "a and b have the same Dice in every image" in each for each in find_caveats(replace(data, differences=(same,)))
    )
    assert not any("the same Dice in every image" in each for each in find_caveats(data))


def test_headlines_are_about_uncertain_against_random(data: ReportData) -> None:
    found = headlines(data)
    heads = ("classical", "evidential")
    assert [pair for pair, _ in found] == [
        f"{head}, uncertain selection minus {head}, random selection" for head in heads
    ]
    asked = ("Dice, clean: ", "Dice, PGD 4/255: ", "pixel nAUSE, PGD 4/255: ")
    assert all(score in text for score, text in zip(asked, found[0][1], strict=True))
    assert found[0][1][1].startswith("Classical, uncertain selection segments better: ")


@pytest.mark.parametrize(("folds", "seeds", "tentative"), [(1, 1, True), (1, 2, False), (3, 1, True)])
def test_a_verdict_needs_two_trainings(tmp_path: Path, folds: int, seeds: int, tentative: bool) -> None:
    selections = ("none", "random")
    one_run(tmp_path / "study", selections=selections, folds=folds, seeds=seeds, images=9, patients=9)
    found = collected(tmp_path / "study")
    assert {item.tentative for item in found.differences} == {tentative}
    caption = summary(found).title
    assert f"Folds: {folds}, seeds: {seeds}, trained models behind each variant: {folds * seeds}." in caption
    assert ("for these trained models" in caption) == tentative
    scope = "not that of the training" if tentative else f"the training, too ({seeds} seeds on both sides)"
    assert scope in interval_scope(found)
