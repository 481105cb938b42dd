"""Survival curves of a report agree with those of the metrics, and say what is censored."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.reporting.fake_results import keep_rows
from tests.reporting.given import EVIDENTIAL, collected, one_run, value_of

from trustseg.errors import DataError
from trustseg.metrics import survivors
from trustseg.reporting import build_report
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.results import load_results
from trustseg.reporting.survival import Brackets, read_brackets, survival_chart, survival_table, survivals

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
def data(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    """A study of one variant and two seeds, each with a table."""
    folder = one_run(tmp_path_factory.mktemp("survival") / "study", seeds=2)
    for seed, cell in enumerate(sorted(folder.glob("cells/*"))):
        brackets(seed).write_parquet(cell / "minimal.parquet")
    return collected(folder, 20)


@pytest.fixture
def found(data: ReportData) -> Brackets:
    return read_brackets(data.results)


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


def test_the_table_counts_what_a_curve_hides(data: ReportData, found: Brackets) -> None:
    (row,) = survival_table(data, found).rows
    assert (row["tau"], row["images"], row["empty"]) == ("0.5", 10, 1)
    assert [value_of(row, key) for key in ("already_broken", "censored")] == pytest.approx([0.1, 0.3])
    median = row["median"]
    both = [min(value, TOP) * 255 for seed in (0, 1) for value in brackets(seed)["eps_breaks"]]
    assert value_of(row, "median") == pytest.approx(np.median(both))
    assert getattr(median, "low", 9) <= np.median(both) <= getattr(median, "high", 0) <= 8 + 1e-9
    assert row["largest"] == pytest.approx(8)
    (row,) = survival_table(data, {EVIDENTIAL: brackets(0, censored=8)}).rows  # most images hold
    assert value_of(row, "median") == pytest.approx(8)


def test_the_curve_falls_and_its_band_holds_the_bracket(data: ReportData, found: Brackets) -> None:
    chart = survival_chart(data, found)
    (panel,) = chart.panels
    (line,) = panel.lines
    assert panel.x_range == pytest.approx((0, 8))
    assert [line.y[0], line.y[-1]] == pytest.approx([0.9, 0.3])
    assert all(after <= before for before, after in pairwise(line.y))
    assert all(low <= value <= high for low, value, high in zip(line.low, line.y, line.high, strict=True))
    assert "0.5 or below" in chart.reading


@pytest.mark.parametrize(("breaks", "share"), [(0.0, 0.0), (np.inf, 1.0)])
def test_images_that_all_break_at_once_or_never(data: ReportData, breaks: float, share: float) -> None:
    ends = {"eps_holds": pl.lit(min(breaks, TOP)), "eps_breaks": pl.lit(breaks), "already_broken": pl.lit(breaks == 0)}
    (panel,) = survival_chart(data, {EVIDENTIAL: brackets(0).with_columns(**ends)}).panels
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
