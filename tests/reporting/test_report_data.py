"""What a difference allows to say, and of how many trainings."""

from pathlib import Path

import pytest
from tests.reporting.fake_results import write_study

from trustseg.reporting.overview import summary
from trustseg.reporting.report_data import Difference, Metric, collect
from trustseg.reporting.results import load_results
from trustseg.statistics import Interval


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
    caption = summary(found).title
    assert f"Folds: {folds}, seeds: {seeds}, trained models behind each variant: {folds * seeds}." in caption
    assert ("for these trained models" in caption) == tentative
