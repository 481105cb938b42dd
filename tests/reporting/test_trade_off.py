"""Accuracy against robustness is read at the strongest attack."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from tests.reporting.under_stress import row_of

from trustseg.reporting.contents import Contents
from trustseg.reporting.labels import ConditionKey
from trustseg.reporting.report_data import Metric, ReportData
from trustseg.reporting.robustness import strongest, trade_off_chart, trade_off_table
from trustseg.statistics import Interval


def test_trade_off_is_read_at_the_strongest_attack(stressed: ReportData, data: ReportData, stress: Contents) -> None:
    assert strongest(stressed) == ("ensemble", round(4 / 255, 7))
    assert strongest(data) == ("pgd", round(4 / 255, 7))
    row = row_of(stress, "trade_off", variant="beta, none")
    assert row["robust_dice"] == stressed.robustness["beta, none", ("ensemble", round(4 / 255, 7))]["dice"]
    points = [line for line in stress.charts["trade_off"].panels[0].lines if line.mode == "markers"]
    assert len(points) == len(stressed.results.variants)
    assert {line.look.symbol for line in points} == {"circle", "square"}  # heads are told apart


def with_attacks(data: ReportData, found: dict[ConditionKey, Sequence[float]]) -> ReportData:
    """Return the numbers of a study whose variants had these means of Dice under these attacks, and no others."""
    attacks: dict[str, tuple[float, ...]] = {}
    for attack, eps in found:
        attacks[attack] = (*attacks.get(attack, ()), eps)
    robustness: dict[tuple[str, ConditionKey], dict[Metric, Interval]] = {
        (variant, place): {"dice": Interval(value, value - 0.1, value + 0.1, count=9, patients=9)}
        for place, values in found.items()
        for variant, value in zip(data.results.variants, values, strict=False)
    }
    return replace(data, choices=replace(data.choices, attacks=attacks), robustness=robustness)


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
    assert strongest(with_attacks(data, found)) == place


def test_without_an_attack_there_is_nothing_to_trade(data: ReportData) -> None:
    unharmed = with_attacks(data, {})
    assert trade_off_table(unharmed).rows == ()
    chart = trade_off_chart(unharmed)
    assert [panel.lines for panel in chart.panels] == [(), ()]
    assert [panel.x_range for panel in chart.panels] == [None, None]


def test_a_variant_is_a_point_with_a_cross_and_the_undefined_is_none(data: ReportData) -> None:
    variants = data.results.variants
    chart = trade_off_chart(with_attacks(data, {("pgd", 4 / 255): [0.5, math.nan]}))
    for panel, metric in zip(chart.panels, ("dice", "nause"), strict=True):
        across = data.scores[variants[0], ("clean", 0.0)][metric]  # type: ignore[index]  # a metric
        point, level, upright = panel.lines
        assert ([*point.x], [*point.y]) == ([across.value], [0.5])
        assert ([*level.x], [*level.y]) == ([across.low, across.high], [0.5, 0.5])
        assert ([*upright.x], [*upright.y]) == ([across.value] * 2, [0.4, 0.6])
        assert {line.entry for line in panel.lines} == {variants[0]}
        low, high = panel.x_range or (0, 0)
        assert high - low >= 0.1 - 1e-12  # noise does not look like a difference
        assert low < across.low < across.high < high
