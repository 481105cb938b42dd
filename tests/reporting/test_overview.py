"""The first screen's table holds the data, its captions tell what stands behind it, its small form is small."""

import io
import math
import re
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console
from tests.reporting.fake_results import write_study

from trustseg.reporting import load_results, print_summary
from trustseg.reporting.image_scores import mean_of
from trustseg.reporting.overview import basis, compact, covered, headlines, summary
from trustseg.reporting.report_data import Difference, Metric, ReportData, collect
from trustseg.reporting.score_tables import measures
from trustseg.statistics import Interval


def test_summary_holds_the_evidence(data: ReportData) -> None:
    frame = summary(data).frame()
    assert frame["variant"].to_list() == data.results.variants
    assert frame["robust_dice_under"].unique().to_list() == ["PGD 4/255"]
    assert frame["worst_dice_under"].unique().to_list() == ["PGD 8/255"]
    dice = mean_of(data.results, "evidential, no adversarial training", ("clean", 0.0), "dice", draws=60)
    row = frame.row(by_predicate=pl.col("variant") == "evidential, no adversarial training", named=True)
    assert (row["dice"], row["dice_low"], row["dice_high"]) == (dice.value, dice.low, dice.high)
    assert row["robust_dice"] > row["worst_dice"]


def test_measures_of_evidence_stand_beside_entropy(data: ReportData) -> None:
    """Entropy judges all; mutual information is told of the head that has it, and nothing of the other."""
    table = summary(data)
    assert "pixel nAUSE (mutual information) ↓" in [column.title for column in table.columns]
    frame = table.frame()
    heads = frame["variant"].str.split(",").list.first()
    assert frame.filter(heads == "classical")["nause_mutual_information"].null_count() == 3
    other = measures(data).frame().filter(pl.col("measure") == "mutual information")
    beta = frame.filter(heads == "evidential")
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


def test_print_summary_fits_a_terminal(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = pl.read_csv(page.parent / "tables" / "summary.csv")
    frame = frame.with_columns(robust_dice_under=pl.lit("PGD-10 4/255"))
    print_summary(frame, console=Console(width=80, color_system=None))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    assert "Dice PGD-10 4/255" in lines[0]
    value, low, high = (frame[f"dice{end}"][0] for end in ("", "_low", "_high"))
    assert lines[2].startswith("classical, no")  # the rest of the name stands below
    assert f"{value:.2f} [{low:.2f}, {high:.2f}]" in lines[2]


def printed(**columns: object) -> list[str]:
    """Return the lines of a table of one row."""
    stream = io.StringIO()
    print_summary(pl.DataFrame({name: [value] for name, value in columns.items()}), console=Console(file=stream))
    return stream.getvalue().splitlines()


def test_columns_that_are_not_held_are_left_out_and_the_undefined_is_said() -> None:
    head, _, row = printed(variant="a [b]", dice=0.126, dice_low=math.nan, dice_high=math.nan, other=1)
    assert head.split() == ["variant", "Dice", "clean"]
    assert row.split() == ["a", "[b]", "0.13", "[nan,", "nan]"]  # brackets are no markup


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
def test_verdict_without_a_margin(metric: Metric, value: float, low: float, high: float, verdict: str) -> None:
    interval = Interval(value=value, low=low, high=high, count=9, patients=9)
    assert Difference("a", "b", ("clean", 0.0), metric, interval, trainings=3).verdict == verdict


@pytest.mark.parametrize(
    ("metric", "low", "high", "verdict"),
    [
        ("dice", 0.03, 0.09, "better"),
        ("dice", 0.02, 0.09, "margin not reached"),  # the whole interval has to lie beyond the margin
        ("ece", 0.001, 0.09, "margin not reached"),
        ("ece", -0.09, -0.03, "better"),
        ("dice", -0.09, -0.03, "worse"),
        ("dice", -0.019, 0.019, "within the margin"),
        ("dice", 0.001, 0.019, "within the margin"),
        ("dice", -0.019, 0.021, "includes 0"),
    ],
)
def test_better_and_worse_need_a_margin(metric: Metric, low: float, high: float, verdict: str) -> None:
    interval = Interval(value=(low + high) / 2, low=low, high=high, count=9, patients=9)
    assert Difference("a", "b", ("clean", 0.0), metric, interval, trainings=2, margin=0.02).verdict == verdict


@pytest.mark.parametrize(
    ("low", "trainings", "shown"),
    [
        (0.01, 1, "one training †"),
        (-0.01, 1, "includes 0 †"),
        (0.01, 2, "better"),
        (float("nan"), 1, "undefined"),
    ],
)
def test_one_training_speaks_for_itself_only(low: float, trainings: int, shown: str) -> None:
    interval = Interval(value=0.05, low=low, high=0.09, count=9, patients=9)
    found = Difference("a", "b", ("clean", 0.0), "dice", interval, trainings)
    assert found.verdict + found.mark == shown


@pytest.mark.parametrize(
    ("metric", "low", "high", "trainings", "said"),
    [
        ("dice", 0.02, 0.04, 3, "A segments better: Dice, PGD 4/255: +0.030 [+0.020, +0.040]"),
        (
            *("nause", 0.02, 0.04, 3),
            "A ranks errors worse: pixel nAUSE, PGD 4/255: +0.030 [+0.020, +0.040] (lower is better)",
        ),
        (
            *("nause", -0.04, -0.001, 3),
            "A ranks errors better, if perhaps by less than the margin of 0.01: pixel nAUSE, PGD 4/255: "
            "-0.021 [-0.040, -0.001] (lower is better)",
        ),
        ("dice", -0.04, 0.05, 3, "No difference shown in Dice, PGD 4/255: +0.005 [-0.040, +0.050]"),
        (
            *("dice", 0.02, 0.04, 1),
            "No verdict from one training of each; these trained models differ in Dice, PGD 4/255: "
            "+0.030 [+0.020, +0.040] †",
        ),
    ],
)
def test_the_answer_says_which_is_better(
    data: ReportData, metric: Metric, low: float, high: float, trainings: int, said: str
) -> None:
    interval = Interval((low + high) / 2, low, high, 9, 9)
    found = Difference("a", "b", data.choices.compared[-1], metric, interval, trainings, margin=0.01)
    [(pair, sentences)] = headlines(replace(data, differences=(found,)))
    assert (pair, sentences) == ("a minus b", [said])


@pytest.mark.parametrize(("folds", "seeds", "tentative"), [(1, 1, True), (1, 2, False), (3, 1, True)])
def test_a_verdict_needs_two_trainings(tmp_path: Path, folds: int, seeds: int, tentative: bool) -> None:
    folder = write_study(
        tmp_path / "study",
        heads=("beta",),
        selections=("none", "random"),
        folds=folds,
        seeds=seeds,
        images=9,
        patients=9,
    )
    found = collect(load_results(folder), draws=5)
    assert {item.tentative for item in found.differences} == {tentative}
    caption = summary(found).title
    assert f"Folds: {folds}, seeds: {seeds}, trained models behind each variant: {folds * seeds}." in caption
    assert ("for these trained models" in caption) == tentative
    scope = "not that of the training" if tentative else f"the training, too ({seeds} seeds on both sides)"
    assert scope in covered(found)
