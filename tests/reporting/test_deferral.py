"""Deferral: the table holds what score_decisions says, the promise is void off clean images."""

import dataclasses
import math
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.policies import policy_with
from tests.reporting.conftest import DEFERRAL_DRAWS
from tests.reporting.fake_results import write_study

from trustseg.deferral import apply_policy, load_policy
from trustseg.deferral.policy import Target
from trustseg.reporting.contents import build_contents, limits
from trustseg.reporting.deferral import (
    Deferrals,
    deferral_tables,
    describe_deferral,
    headline_conditions,
    kept_promise,
    observe,
    policy_limits,
    read_deferrals,
)
from trustseg.reporting.deferral_charts import deferral_charts
from trustseg.reporting.one_minute import _worst_kept, strongest_facts, use_and_population
from trustseg.reporting.report_data import ReportData, collect
from trustseg.reporting.results import load_results
from trustseg.reporting.series import Chart
from trustseg.statistics import Interval
from trustseg.study.deferral import intervals_of, score_decisions


def test_scores_are_those_of_the_policy(deferring: ReportData, deferrals: Deferrals) -> None:
    for cell in deferring.results.cells:
        records = deferring.results.records.filter(pl.col("cell") == cell.id)
        policy = load_policy(cell.folder / "policy.json")
        expected = score_decisions(apply_policy(policy, records), policy, draws=DEFERRAL_DRAWS)
        assert expected["condition"].n_unique() > 12
        for row in expected.iter_rows(named=True):
            found = deferrals.score(cell.variant, (row["condition"], row["eps"]), row["score"])
            assert (found.value, found.low, found.high, found.patients) == pytest.approx(
                (row["value"], row["low"], row["high"], row["patients"]), nan_ok=True
            )


def test_the_promise_applies_to_clean_images_alone(deferring: ReportData, deferrals: Deferrals) -> None:
    tables = {table.key: table for table in deferral_tables(deferring, deferrals)}
    frame = tables["deferral_all"].frame()
    assert frame.filter(pl.col("condition") == "clean")["promise"].unique().to_list() == ["applies"]
    assert frame.filter(pl.col("condition") != "clean")["promise"].unique().to_list() == ["void"]
    assert len(tables["deferral"].rows) == 2 * len(headline_conditions(deferring))
    assert tables["deferral_policies"].frame()["statement"].unique().to_list() == [
        "At most 0.2 of the images are reviewed."
    ]


def test_what_came_of_a_promise_is_counted_over_patients() -> None:
    """Patient a keeps one of two images, which failed; b is all sent; c keeps an image with no Dice."""
    decided = pl.DataFrame(
        {
            "cell": ["m"] * 4,
            "patient": ["a", "a", "b", "c"],
            "dice": [0.1, 0.9, 0.2, math.nan],
            "mask_px": [5, 5, 5, 0],
            "review": [False, True, True, False],
        }
    )
    policy = policy_with(threshold=0.2, at_most=0.4)
    bounded: dict[Target, float] = {
        "review_rate": (0.5 + 1 + 0) / 3,
        "risk": 1 / 2,  # of a and c, who have a kept image
        "missed_lesions": 1 / 2,  # of a and b, who have foreground
    }
    for target, share in bounded.items():
        found = observe(dataclasses.replace(policy, target=target), decided, draws=50)
        assert found.value == pytest.approx(share)
    assert math.isnan(observe(dataclasses.replace(policy, target="risk"), decided[2:3], draws=5).value)


@pytest.mark.parametrize(
    ("value", "low", "said"),
    [
        (0.3, 0.25, "above the promise"),
        (0.3, 0.1, "above the promise, which the interval includes"),
        (0.2, 0.1, "within the promise"),
        (math.nan, math.nan, "not observed"),
    ],
)
def test_a_missed_promise_is_called_so(value: float, low: float, said: str) -> None:
    assert kept_promise(0.2, Interval(value, low, 0.4, 9, 9)) == said


def test_the_summary_names_where_the_policy_fails(deferring: ReportData, deferrals: Deferrals) -> None:
    """The synthetic attack on the uncertainty passes everything, no shift is as bad, and the promise was kept."""
    first, *others = strongest_facts(deferring, deferrals)
    worst = max(
        deferrals.score(variant, place, "undetected_failures").value
        for variant in deferrals.policies
        for place in headline_conditions(deferring)[1:]
    )
    assert first.startswith(f"The deferral policy fails under deferral-aware 2/255: {100 * worst:.0f} % [")
    assert "; on the same images " in first
    assert [sentence.partition(" ")[0] for sentence in others] == ["No", "Promised"]
    clean = max(deferrals.observed[variant, ("clean", 0.0)].value for variant in deferrals.policies)
    assert f"Observed: up to {100 * clean:.0f} % [" in others[1]


def test_failures_are_compared_on_the_same_images(tmp_path: Path) -> None:
    """Of 30 patients 9 fail unchanged and 6 more under attack: intervals overlap, the paired difference excludes 0."""
    dice = {"clean": [0.1] * 9 + [0.9] * 21, "fgsm": [0.1] * 15 + [0.9] * 15}
    decided = pl.DataFrame(
        [
            {"image": f"i{row}", "patient": f"p{row}", "seed": 0, "condition": name, "eps": eps, "dice": value}
            for (name, values), eps in zip(dice.items(), (0.0, 4 / 255), strict=True)
            for row, value in enumerate(values)
        ]
    ).with_columns(pl.col("eps").round(7), review=pl.lit(False), mask_px=pl.lit(5), u=pl.lit(0.1))
    place = ("fgsm", round(4 / 255, 7))
    scores = {}
    for key in (("clean", 0.0), place):
        rows = decided.filter(pl.col("condition") == key[0])
        scores["a", key] = {"undetected_failures": intervals_of(rows, tau=0.5)["undetected_failures"]}
    assert scores["a", place]["undetected_failures"].low < scores["a", ("clean", 0.0)]["undetected_failures"].high
    found = Deferrals({"a": {"m": policy_with(threshold=0.2, at_most=0.4)}}, {"a": decided}, scores, {})
    [none, *_] = _worst_kept({"attack": [place]}, found, 500)
    assert none.startswith("The deferral policy fails under FGSM 4/255: 50 % [")
    assert "; on the same images 20 points [" in none


def test_an_attack_on_the_uncertainty_slips_past(deferring: ReportData, deferrals: Deferrals) -> None:
    """The synthetic attack makes every image look surer than the threshold."""
    place = next(place for place in headline_conditions(deferring) if place[0] == "deferral_aware")
    for variant in deferrals.policies:
        assert deferrals.score(variant, place, "review_rate").value == 0


def test_a_study_without_policies(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", heads=("beta",), selections=("none",), seeds=1, images=4, gallery=False)
    data = collect(load_results(folder), draws=5)
    found = read_deferrals(data, draws=5)
    assert found.policies == {}
    shift, attack = strongest_facts(data, found)
    assert "No shift was measured" in shift
    assert "The attack that costs most is PGD 4/255: mean Dice falls from " in attack
    use = dict(use_and_population(data, ["nothing"]))
    assert "Not stated" in use["Intended use"][0]
    assert "4 test images of 4 " in use["Population"][0]
    assert use["Limits"][1:] == ["nothing"]
    assert all(not table.rows for table in deferral_tables(data, found))


def test_an_unreachable_target_sends_everything_to_a_human(deferring: ReportData, tmp_path: Path) -> None:
    folder = write_study(
        tmp_path / "study", heads=("beta",), selections=("none",), seeds=1, images=6, gallery=False, stress=True
    )
    path = next(folder.glob("cells/*/policy.json"))
    path.write_text(path.read_text().replace('"threshold": 0.3', '"threshold": "-inf"'))
    data = collect(load_results(folder), draws=5)
    found = read_deferrals(data, draws=5)
    clean = ("clean", 0.0)
    assert found.score("evidential, no adversarial training", clean, "review_rate").value == 1
    assert found.score("evidential, no adversarial training", clean, "undetected_failures").value == 0
    chart = deferral_charts(data, found)[0]
    assert dataclasses.replace(chart).panels[0].lines[0].y[0] == 1


@pytest.fixture(scope="module")
def drawn(deferring: ReportData, deferrals: Deferrals) -> dict[str, Chart]:
    return {chart.key: chart for chart in deferral_charts(deferring, deferrals)}


def test_the_figure_is_the_table(deferring: ReportData, deferrals: Deferrals, drawn: dict[str, Chart]) -> None:
    chart = drawn["deferral"]
    heads = {variant: deferring.results.head_of(variant) for variant in deferrals.policies}
    assert len(chart.panels) == 3 * chart.columns * len(set(heads.values()))
    reviews = [panel for panel in chart.panels if panel.y_label == "share sent to a human"]
    assert {line.name for panel in reviews for line in panel.lines} == {*heads, "target"}
    for panel in reviews:
        *lines, target = panel.lines
        assert target.y == [0.2, 0.2]
        assert len({heads[line.name] for line in lines}) == 1
        for line in lines:
            assert line.x[0] == 0
            assert line.y[0] == deferrals.score(line.name, ("clean", 0.0), "review_rate").value


def test_the_marker_lies_on_its_curve(drawn: dict[str, Chart]) -> None:
    for chart in (drawn["deferral_attacks"], drawn["deferral_shifts"]):
        for panel in chart.panels:
            curves = {line.name: line for line in panel.lines if "policy" not in line.name}
            for line in panel.lines:
                if "policy" in line.name:
                    curve = curves[line.entry]
                    # both are the mean error of the same kept images, where no scores are tied
                    place = int(np.abs(np.subtract(curve.x, line.x[0])).argmin())
                    assert line.y[0] == pytest.approx(curve.y[place], abs=0.02)


@pytest.fixture(scope="module")
def text(stressed_page: Path) -> str:
    return re.sub(r"<script.*?</script>", "", stressed_page.read_text(), flags=re.DOTALL)


def test_the_first_screen_tells_the_limits(stressed_study: Path) -> None:
    data = collect(load_results(stressed_study), draws=5)
    found = build_contents(data, draws=5)
    said = " ".join(limits(data, found))
    assert "the promise is void" in said
    assert "no measure of what the model has not seen" in said
    assert "other populations" not in said.split("Not tested here")[-1]
    findings = describe_deferral(data, found.deferrals)
    assert len(findings) == 4
    assert all("% kept and failed; under " in sentence for sentence in findings)


def test_what_was_not_evaluated_is_named_and_not_shown(tmp_path: Path) -> None:
    folder = write_study(
        tmp_path / "study", heads=("bernoulli",), selections=("none",), seeds=1, images=4, gallery=False
    )
    data = collect(load_results(folder), draws=5)
    found = build_contents(data, draws=5)
    assert not {"deferral", "deferral_policies", "populations", "population_area"} & set(found.tables)
    said = " ".join(limits(data, found))
    assert "No deferral policy" in said
    assert "natural shifts and images of other populations" in said
    assert "Vacuity" not in said


def test_a_policy_that_could_not_be_fitted_is_said_to_do_nothing(tmp_path: Path) -> None:
    folder = write_study(
        tmp_path / "study", heads=("beta",), selections=("none",), seeds=1, images=6, gallery=False, stress=True
    )
    path = next(folder.glob("cells/*/policy.json"))
    path.write_text(path.read_text().replace('"threshold": 0.3', '"threshold": "inf"').replace('": 30', '": 3'))
    said = " ".join(policy_limits(read_deferrals(collect(load_results(folder), draws=5), draws=5)))
    assert "reviews nothing" in said
    assert "fitted on 3 patients only" in said
