"""Looks, legends and frames of what the figures show."""

import math
from dataclasses import replace

from tests.reporting.given import EVIDENTIAL

from trustseg.reporting.labels import texts_of
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.series import Chart, Line, Look, Panel, chart, looks

LOOK = Look("#0072B2", "dash", "square")


def test_one_colour_per_selection_and_one_dash_per_head(data: ReportData) -> None:
    found = data.looks
    classical, random = found["classical, no adversarial training"], found["evidential, random selection"]
    assert found[EVIDENTIAL].colour == classical.colour
    assert found[EVIDENTIAL].dash == random.dash != classical.dash
    assert len({look.colour for look in found.values()}) == 3
    assert len(set(found.values())) == 6


def test_unknown_selections_and_heads_still_differ(data: ReportData) -> None:
    cell = data.results.cells[0]
    cells = [cell.model_copy(update=dict.fromkeys(("variant", "selection", "head"), name)) for name in ("new", "newer")]
    found = list(looks(replace(data.results, cells=(cell, *cells))).values())
    assert len({look.colour for look in found}) == len({look.dash for look in found}) == 3


def test_variants_of_one_selection_and_head_differ_in_shade_and_symbol(data: ReportData) -> None:
    cell = data.results.cells[0]
    cells = [cell.model_copy(update={"variant": f"{cell.variant} {eps}"}) for eps in range(1, 5)]
    found = looks(replace(data.results, cells=tuple(cells)))
    assert len(found) == 4
    assert len({look.colour for look in found.values()}) == len({look.symbol for look in found.values()}) == 4
    assert len({look.dash for look in found.values()}) == 1
    assert found[cells[0].variant].colour == data.looks[cell.variant].colour


def test_a_legend_names_each_entry_once() -> None:
    lines = (Line("a", [], [], LOOK), Line("b, interval", [], [], LOOK, label="b"), Line("b", [], [], LOOK, label="b"))
    panel = Panel("p", "x", "y", lines)
    found = Chart("k", "t", "r", (panel, panel))
    assert found.legend == {"a": LOOK, "b": LOOK}
    assert list(replace(found, horizontal=True).legend) == ["b"]  # a row says what it is


def test_more_bands_than_can_be_told_apart_become_small_multiples() -> None:
    lines = [Line(name, [0.0, 1.0], [0.1, 0.2], LOOK, [0.0, 0.1], [0.2, 0.3]) for name in "abcd"]
    target = Line("target", [0.0, 1.0], [0.5, 0.5], LOOK)
    few, many = (chart("training", [Panel("p", "x", "y", (*lines[:count], target))]) for count in (3, 4))
    assert len(few.panels) == 1
    assert [panel.title for panel in many.panels] == ["p: a", "p: b", "p: c", "p: d"]
    for shown, panel in zip(lines, many.panels, strict=True):
        assert [line for line in panel.lines if len(line.low)] == [shown]
        assert {line.name for line in panel.lines} == {*"abcd", "target"}
    assert len(many.frame()) == 4 * 2 + 4 * 2  # each band once, and the target in each panel


def test_points_of_a_frame_have_six_digits_and_their_own_interval() -> None:
    lines = (
        Line("a", [1.0, 2.0], [0.12345678, math.nan], LOOK, [0.1, 0.2], [0.3, 0.4]),
        Line("b", [1234567.0], [0.0], LOOK),
        Line("c", [], [], LOOK),
    )
    frame = Chart("k", "t", "r", (Panel("one", "x", "y", lines), Panel("two", "x", "y", lines[1:]))).frame()
    assert frame.columns == ["panel", "series", "x", "y", "low", "high"]
    assert frame.rows()[0] == ("one", "a", 1.0, 0.123457, 0.1, 0.3)
    assert frame["y"].is_nan().to_list() == [False, True, False, False]
    assert frame.rows()[2:] == [("one", "b", 1234570.0, 0.0, None, None), ("two", "b", 1234570.0, 0.0, None, None)]
    assert Chart("k", "t", "r", ()).frame().schema == frame.schema


def test_every_figure_has_its_words() -> None:
    for key in texts_of("figures"):
        found = chart(key, [], metric="x", target="x", attack="x", most="x", eps="x", tau="x", aims="x")
        assert len(found.reading.split()) > 20
        assert "{" not in found.title + found.reading
