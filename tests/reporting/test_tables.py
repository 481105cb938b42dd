"""The spellings of one table."""

import io
import math

import polars as pl
import pytest
from tests.reporting.given import interval

from trustseg.reporting.tables import Column, Table, Value, interval_text


@pytest.fixture
def table() -> Table:
    columns = (Column("variant", "Variant"), Column("dice", "Dice 95 %"), Column("change", "Change", signed=True))
    rows: tuple[dict[str, Value], ...] = (
        {"variant": "a_b & c|d", "dice": interval(0.5, 0.25, 0.75), "change": interval(0.1, -0.1, 0.3)},
        {"variant": "<b>", "dice": interval(math.nan, math.nan, math.nan), "change": interval(-0.2, -0.3, -0.1)},
    )
    return Table("t", "A table", columns, rows, {"attack": "PGD 4/255"})


def test_frame_has_the_ends_of_every_interval_and_the_constants(table: Table) -> None:
    frame = table.frame()
    ends = ["dice", "dice_low", "dice_high", "change", "change_low", "change_high"]
    assert frame.columns == ["variant", *ends, "attack"]
    assert pl.read_csv(io.StringIO(table.csv())).equals(frame)
    assert frame.row(0) == ("a_b & c|d", 0.5, 0.25, 0.75, 0.1, -0.1, 0.3, "PGD 4/255")


def test_markdown_cannot_be_broken_by_names(table: Table) -> None:
    lines = table.markdown().splitlines()
    assert lines[0] == "| Variant | Dice 95 % | Change |"
    assert lines[1] == "| --- | ---: | ---: |"
    assert lines[2] == r"| a_b & c\|d | 0.500 <sub>[0.250, 0.750]</sub> | +0.100 <sub>[-0.100, +0.300]</sub> |"
    assert lines[3] == "| &lt;b> | undefined <sub>[no interval]</sub> | -0.200 <sub>[-0.300, -0.100]</sub> |"
    assert lines[4:] == ["", "A table"]


def test_latex_is_booktabs_and_escaped(table: Table) -> None:
    text = table.latex()
    assert r"\begin{tabular}{lrr}" in text
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    assert r"a\_b \& c|d & 0.500 {\scriptsize [0.250, 0.750]}" in text
    assert r"Dice 95 \%" in text
    assert r"\textless{}b\textgreater{}" in text


def test_latex_marks_the_best_under_each_condition_and_names_the_baseline() -> None:
    columns = (*(Column(key, key) for key in ("variant", "condition", "dice")), Column("ece", "ECE"))
    scores = {("a", "clean"): (0.8, 0.1), ("a", "pgd"): (0.2, 0.1)}
    scores |= {("b", "clean"): (0.7, 0.2), ("b", "pgd"): (0.2, 0.3)}
    rows: tuple[dict[str, Value], ...] = tuple(
        {"variant": variant, "condition": condition, "dice": interval(dice, 0, 1), "ece": interval(ece, 0, 1)}
        for (variant, condition), (dice, ece) in scores.items()
    )
    text = Table("t", "A table", columns, rows).latex(["b", "elsewhere"])
    lines = [line.replace(r" {\scriptsize [0.000, 1.000]}", "") for line in text.splitlines() if line.endswith(r"\\")]
    assert lines[1:] == [
        r"a & clean & \textbf{0.800} & \textbf{0.100} \\",
        r" & pgd & \textbf{0.200} & \textbf{0.100} \\",
        r"b & clean & 0.700 & 0.200 \\",
        r" & pgd & \textbf{0.200} & 0.300 \\",
    ]
    assert r"\par\footnotesize Bold: best value. Baseline: b." in text
    assert "textbf" not in Table("t", "A table", columns, rows[:1]).latex()  # nothing to be better than


@pytest.mark.parametrize(
    ("key", "better"), [("dice", "higher"), ("robust_ece", "lower"), ("metric_area_error", "zero"), ("size", "")]
)
def test_what_is_better_follows_from_the_metric(key: str, better: str) -> None:
    assert Column(key, "?").better == better
    assert Column(key, "?").heading == ("? ↓" if better == "lower" else "?")
    assert Column("metric_of_a_later_version", "?").better == ""


def test_a_table_without_rows_keeps_its_columns() -> None:
    empty = Table("t", "nothing", (Column("variant", "Variant"), Column("dice", "Dice")), ())
    assert empty.csv() == "variant,dice\n"
    assert empty.cells() == []
    assert empty.markdown().splitlines()[2:] == ["", "nothing"]


def test_a_cell_may_be_empty() -> None:
    """Also the first: alignment and the columns of the frame come from the values that are there."""
    columns = (Column("variant", "Variant"), Column("dice", "Dice ↑"))
    rows: tuple[dict[str, Value], ...] = (
        {"variant": "a", "dice": None},
        {"variant": "b", "dice": interval(0.5, 0.25, 0.75)},
    )
    table = Table("t", "A table", columns, rows)
    assert table.frame().rows() == [("a", None, None, None), ("b", 0.5, 0.25, 0.75)]
    assert table.numeric() == [False, True]
    assert "| a |  |\n" in table.markdown()
    assert "a &  \\\\\n" in table.latex()
    assert r"Dice $\uparrow$" in table.latex()


def test_interval_text_says_when_there_is_no_interval() -> None:
    assert interval_text(interval(0.5, math.nan, math.nan)) == "0.500 [no interval]"
    assert interval_text(interval(0.05, 0.01, 0.09), digits=2, signed=True) == "+0.05 [+0.01, +0.09]"
