"""Areas, sizes, the worst case, shifts and survival against plain means of the records and curves of the metric."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.reporting.fake_results import keep_rows, with_dice
from tests.reporting.fake_stress import SEVERITIES, SHIFTS
from tests.reporting.given import (
    CLEAN,
    EPS,
    EVIDENTIAL,
    collected,
    interval,
    mean_dice,
    one_run,
    plain,
    row_of,
    value_of,
)

from trustseg.errors import DataError
from trustseg.metrics import survivors
from trustseg.reporting import build_report
from trustseg.reporting.contents import Contents
from trustseg.reporting.labels import ConditionKey
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.results import load_results
from trustseg.reporting.robustness import ensemble_check, strongest_attack, trade_off_chart, trade_off_table
from trustseg.reporting.shifted import shifts, table_version
from trustseg.reporting.survival import Brackets, read_brackets, survival, survival_chart, survivals

FOUR = round(4 / 255, 7)  # as load_results rounds budgets


def test_area_is_that_of_the_mean_curve(stressed: ReportData, stress: Contents) -> None:
    rungs = [0.0, *(step / 255 for step in (1, 2, 4, 8))]
    means = [mean_dice(stressed, EVIDENTIAL, "pgd" if eps else "clean", eps) for eps in rungs]
    row = row_of(stress, "areas", variant=EVIDENTIAL)
    assert value_of(row, "area_pgd") == pytest.approx(np.trapezoid(means, rungs) / rungs[-1], abs=1e-6)
    assert "area_deferral_aware" not in row  # one budget is no curve


def test_worst_case_by_size_covers_all_images(stressed: ReportData, stress: Contents) -> None:
    frame = plain(stressed, EVIDENTIAL, "pgd", EPS).filter(pl.col("mask_px") > 0)
    areas = (frame["mask_px"] / frame["pixels"]).to_numpy()
    low, high = np.quantile(areas[::2], (1 / 3, 2 / 3))  # two seeds of each image
    row = row_of(stress, "worst_case", variant=EVIDENTIAL, condition="PGD 2/255")
    dice = frame["dice"].to_numpy()
    for key, chosen in (("small", areas <= low), ("large", areas > high), ("dice", areas > 0)):
        assert value_of(row, key) == pytest.approx(dice[chosen].mean(), abs=1e-9)
    parts = [row[key] for key in ("small", "medium", "large")]
    assert sum(getattr(part, "count", 0) for part in parts) == frame["image"].n_unique()
    empty = plain(stressed, EVIDENTIAL, "pgd", EPS).filter(pl.col("mask_px") == 0)
    assert value_of(row, "empty") == pytest.approx((empty["predicted_px"] / empty["pixels"]).mean())


def test_the_ensemble_is_last_and_checked(stressed: ReportData, stress: Contents) -> None:
    rows = [row for row in stress.tables["worst_case"].rows if row["variant"] == EVIDENTIAL]
    assert rows[0]["condition"] == "clean"
    assert rows[-1]["condition"] == "ensemble 2/255"
    assert "above that of no other attack" in ensemble_check(stressed)
    row = row_of(stress, "worst_case", variant=EVIDENTIAL, condition="PGD 2/255")
    assert str(row["stronger"]).startswith("0 of ")


def test_an_ensemble_that_is_not_the_worst_case_is_named(tmp_path: Path) -> None:
    folder = one_run(tmp_path / "s", images=9, patients=9, stress=True)
    for path in folder.glob("cells/*/records.parquet"):
        weak = pl.when(pl.col("condition") == "ensemble").then(pl.col("dice").sqrt()).otherwise("dice")
        with_dice(pl.read_parquet(path), weak).write_parquet(path)
    found = ensemble_check(collected(folder))
    assert f"not the worst case for {EVIDENTIAL} under" in found
    assert "the attack suite is too weak" in found


def test_trade_off_is_read_at_the_strongest_attack(stressed: ReportData, data: ReportData, stress: Contents) -> None:
    assert strongest_attack(stressed) == ("ensemble", FOUR)
    assert strongest_attack(data) == ("pgd", FOUR)
    row = row_of(stress, "trade_off", variant=EVIDENTIAL)
    assert row["robust_dice"] == stressed.score(EVIDENTIAL, ("ensemble", FOUR), "dice")
    points = [line for line in stress.charts["trade_off"].panels[0].lines if line.mode == "markers"]
    assert len(points) == len(stressed.results.variants)
    assert {line.style.symbol for line in points} == {"circle", "square"}  # heads are told apart


def with_attacks(data: ReportData, found: dict[ConditionKey, Sequence[float]]) -> ReportData:
    """Return the numbers of a study whose variants had these means of Dice under these attacks, and no others."""
    attacks: dict[str, tuple[float, ...]] = {}
    for attack, eps in found:
        attacks[attack] = (*attacks.get(attack, ()), eps)
    scores = {
        (variant, place, "dice", data.measures[variant]): interval(value, value - 0.1, value + 0.1)
        for place, values in found.items()
        for variant, value in zip(data.results.variants, values, strict=False)
    }
    measured = frozenset({(variant, CLEAN) for variant in data.results.variants} | {key[:2] for key in scores})
    return replace(data, attacks=attacks, measured=measured, scores=scores)


@pytest.mark.parametrize(
    ("found", "place"),
    [
        ({}, None),
        ({("pgd_l2", 0.5): [0.2]}, None),  # L2 budgets are of another unit
        ({("pgd", 1 / 255): [0.2], ("pgd", 8 / 255): [0.1]}, ("pgd", 1 / 255)),  # the nearest to 4/255
        ({("fgsm", 4 / 255): [0.5, 0.1], ("pgd", 4 / 255): [0.2, 0.3]}, ("pgd", 4 / 255)),  # the lowest mean
        ({("pgd", 4 / 255): [0.2], ("ensemble", 4 / 255): [0.3]}, ("ensemble", 4 / 255)),
        ({("pgd", 4 / 255): [0.2], ("ensemble", 2 / 255): [0.1]}, ("pgd", 4 / 255)),  # the budget comes first
        ({("fgsm", 4 / 255): [], ("pgd", 4 / 255): [0.9]}, ("pgd", 4 / 255)),  # never measured, never strongest
    ],
)
def test_the_strongest_attack(
    data: ReportData, found: dict[ConditionKey, Sequence[float]], place: ConditionKey | None
) -> None:
    assert strongest_attack(with_attacks(data, found)) == place


def test_without_an_attack_there_is_nothing_to_trade(data: ReportData) -> None:
    unharmed = with_attacks(data, {})
    assert trade_off_table(unharmed).rows == ()
    panels = trade_off_chart(unharmed, trade_off_table(unharmed)).panels
    assert [(panel.lines, panel.x_range) for panel in panels] == [((), None), ((), None)]


def test_a_variant_is_a_point_with_a_cross_and_the_undefined_is_none(data: ReportData) -> None:
    variant = data.results.variants[0]
    attacked = with_attacks(data, {("pgd", 4 / 255): [0.5, math.nan]})
    chart = trade_off_chart(attacked, trade_off_table(attacked))
    metrics = ("dice", "nause")
    for panel, metric in zip(chart.panels, metrics, strict=True):
        across = data.score(variant, CLEAN, metric)
        point, level, upright = panel.lines
        assert ([*point.x], [*point.y]) == ([across.value], [0.5])
        assert ([*level.x], [*level.y]) == ([across.low, across.high], [0.5, 0.5])
        assert ([*upright.x], [*upright.y]) == ([across.value] * 2, [0.4, 0.6])
        assert {line.entry for line in panel.lines} == {variant}
        low, high = panel.x_range or (0, 0)
        assert high - low >= 0.1 - 1e-12  # noise does not look like a difference
        assert low < across.low < across.high < high


def test_the_share_of_the_target_that_a_shift_hides(tmp_path: Path) -> None:
    folder = one_run(tmp_path / "study", seeds=2, images=6, patients=6, stress=True)
    before = shifts(collected(folder))
    assert "covered" not in before.frame().columns
    for path in folder.glob("cells/*/records.parquet"):
        of_shifts = pl.when(kind="shift").then(pl.col("severity") / 10)
        covered = pl.when(pl.col("image") == pl.col("image").min()).then(float("nan")).otherwise(of_shifts)
        pl.read_parquet(path).with_columns(covered=covered).write_parquet(path)
    table = shifts(collected(folder))
    assert [row["covered"] for row in table.rows] == pytest.approx([0.5, 0.5, 0.5])  # at severity 5
    assert before.frame().equals(table.frame().drop("covered"))


def test_mean_corruption_is_the_mean_over_shifts(stressed: ReportData, stress: Contents, data: ReportData) -> None:
    variant = "classical, no adversarial training"
    row = row_of(stress, "corruption", variant=variant)
    means = {
        severity: float(np.mean([mean_dice(stressed, variant, f"{name}_{severity}") for name in SHIFTS]))
        for severity in SEVERITIES
    }
    for severity, mean in means.items():
        assert value_of(row, f"severity_{severity}") == pytest.approx(mean, abs=1e-9)
    cost = float(np.mean(list(means.values()))) - value_of(row, "clean")
    assert value_of(row, "cost") == pytest.approx(cost, abs=1e-9)
    line = stress.charts["corruption"].panels[0].lines[0]
    assert list(line.x) == [0, *SEVERITIES]
    assert line.y[1:] == pytest.approx(list(means.values()))
    assert [table_version(each.results) for each in (stressed, data)] == ["1", "not recorded"]


def test_small_multiples_put_the_costliest_shift_first(stress: Contents) -> None:
    assert [panel.title for panel in stress.charts["shifts"].panels] == ["rotation", "JPEG", "Gaussian noise"]
    row = row_of(stress, "shifts", variant=EVIDENTIAL, shift="JPEG")
    assert value_of(row, "severity_1") > value_of(row, "severity_5")


def test_an_older_study_has_no_checks_and_no_shifts(contents: Contents) -> None:
    assert set(contents.tables) >= {"areas", "worst_case", "trade_off"}
    assert set(contents.tables).isdisjoint({"checks", "undetected_harm", "corruption", "shifts"})
    assert set(contents.charts).isdisjoint({"corruption", "shifts"})
    assert "trust" not in contents.tables["summary"].frame().columns


TOP = 8 / 255


def brackets(seed: int, *, count: int = 10, censored: int = 3) -> pl.DataFrame:
    """Return a table of smallest budgets: image 0 is broken from the start, the last ones are never broken."""
    breaks = np.random.default_rng(seed).uniform(0.1 / 255, TOP, count)
    holds = 0.9 * breaks
    breaks[0] = holds[0] = 0.0
    breaks[count - censored :], holds[count - censored :] = np.inf, TOP
    return pl.DataFrame(
        {
            "image": [f"image{number}" for number in range(count)],
            "patient": [f"patient{number // 2}" for number in range(count)],
            "mask_px": [0, *[100] * (count - 1)],
            "tau": [0.5] * count,
            "eps_holds": holds,
            "eps_breaks": breaks,
            "already_broken": breaks == 0,
            "censored": np.isinf(breaks),
        }
    )


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    """A study of one variant and two seeds, each with a table."""
    folder = one_run(tmp_path_factory.mktemp("survival") / "study", seeds=2)
    for seed, cell in enumerate(sorted(folder.glob("cells/*"))):
        brackets(seed).write_parquet(cell / "minimal.parquet")
    return collected(folder, 20)


@pytest.fixture
def found(searched: ReportData) -> Brackets:
    return read_brackets(searched.results)


def test_curves_are_those_of_the_metric(found: Brackets) -> None:
    frame = found[EVIDENTIAL]
    assert len(frame) == 20
    eps = np.unique([0.0, *frame["eps_holds"], *frame["eps_breaks"].clip(upper_bound=TOP)])
    known_to_hold, not_known_to_break = survivors(frame["eps_holds"].to_numpy(), frame["eps_breaks"].to_numpy(), eps)
    upper, lower = survivals(frame, eps)
    assert upper.values.mean(axis=0) == pytest.approx(not_known_to_break.mean(axis=0))
    assert lower.values.mean(axis=0) == pytest.approx(known_to_hold.mean(axis=0))
    assert len(upper.images) == 10  # two models, the same images
    assert len(set(upper.patients)) == 5


def test_the_table_counts_what_a_curve_hides(searched: ReportData, found: Brackets) -> None:
    (row,) = survival(searched, found).rows
    assert (row["tau"], row["images"], row["empty"]) == ("0.5", 10, 1)
    assert [value_of(row, key) for key in ("already_broken", "censored")] == pytest.approx([0.1, 0.3])
    median = row["median"]
    both = [min(value, TOP) * 255 for seed in (0, 1) for value in brackets(seed)["eps_breaks"]]
    assert value_of(row, "median") == pytest.approx(np.median(both))
    assert getattr(median, "low", 9) <= np.median(both) <= getattr(median, "high", 0) <= 8 + 1e-9
    assert row["largest"] == pytest.approx(8)
    (row,) = survival(searched, {EVIDENTIAL: brackets(0, censored=8)}).rows  # most images hold
    assert value_of(row, "median") == pytest.approx(8)


def test_the_curve_falls_and_its_band_holds_the_bracket(searched: ReportData, found: Brackets) -> None:
    chart = survival_chart(searched, found)
    (panel,) = chart.panels
    (line,) = panel.lines
    assert panel.x_range == pytest.approx((0, 8))
    assert [line.y[0], line.y[-1]] == pytest.approx([0.9, 0.3])
    assert all(after <= before for before, after in pairwise(line.y))
    assert all(low <= value <= high for low, value, high in zip(line.low, line.y, line.high, strict=True))
    assert "0.5 or below" in chart.reading


@pytest.mark.parametrize(("breaks", "share"), [(0.0, 0.0), (np.inf, 1.0)])
def test_images_that_all_break_at_once_or_never(searched: ReportData, breaks: float, share: float) -> None:
    ends = {"eps_holds": pl.lit(min(breaks, TOP)), "eps_breaks": pl.lit(breaks), "already_broken": pl.lit(breaks == 0)}
    (panel,) = survival_chart(searched, {EVIDENTIAL: brackets(0).with_columns(**ends)}).panels
    assert set(panel.lines[0].y) == {share}


@pytest.mark.usefixtures("undrawn")
def test_a_study_without_attacks_shows_it_too(tmp_path: Path) -> None:
    folder = one_run(tmp_path / "s")
    (cell,) = folder.glob("cells/*")
    keep_rows(cell, pl.col("condition") == "clean")
    brackets(0).write_parquet(cell / "minimal.parquet")
    text = build_report(folder, draws=5).read_text(encoding="utf-8")
    assert 'href="#robustness"' in text
    assert 'id="table-survival"' in text
    assert "robustness_dice" not in text


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    folder = one_run(tmp_path / "s")
    assert read_brackets(load_results(folder)) == {}
    next(folder.glob("cells/*")).joinpath("minimal.parquet").write_bytes(b"no table")
    with pytest.raises(DataError, match=r"cannot read .*minimal\.parquet"):
        read_brackets(load_results(folder))
