"""Deferral: the tables hold what score_decisions says and what a hand counts; the promise is void off clean images."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.policies import policy_with
from tests.reporting.fake_stress import THRESHOLD
from tests.reporting.given import (
    CLEAN,
    EPS,
    EVIDENTIAL,
    collected,
    deferring_run,
    interval,
    named,
    one_run,
    plain,
    row_of,
    some_records,
    value_of,
    with_records,
)

from trustseg.deferral import Policy, apply_policy, load_policy
from trustseg.deferral.policy import Target
from trustseg.errors import DataError
from trustseg.reporting.contents import Contents, build_contents, limits
from trustseg.reporting.decisions import SCORE, has_policy, policy_reading, with_decisions
from trustseg.reporting.deferral import (
    Deferrals,
    deferral_tables,
    describe_deferral,
    describe_observed,
    headline_conditions,
    observed_share,
    policy_limits,
    read_deferrals,
    undetected_harm_table,
)
from trustseg.reporting.deferral_charts import deferral_charts
from trustseg.reporting.findings import _kept_failures, strongest_facts, use_and_population
from trustseg.reporting.report_data import ReportData
from trustseg.study.deferral import intervals_of, score_decisions


@pytest.fixture(scope="module")
def deferrals(stress: Contents) -> Deferrals:
    return stress.deferrals


def test_scores_are_those_of_the_policy(stressed: ReportData, deferrals: Deferrals) -> None:
    for variant in stressed.results.variants:
        cells = stressed.results.cells_of(variant)
        policy = load_policy(cells[0].folder / "policy.json")
        decided = [apply_policy(policy, stressed.results.records.filter(pl.col("cell") == cell.id)) for cell in cells]
        expected = score_decisions(pl.concat(decided), policy, draws=stressed.draws)
        assert expected["condition"].n_unique() > 12
        for row in expected.iter_rows(named=True):
            found = deferrals.score(variant, (row["condition"], row["eps"]), row["score"])
            assert (found.value, found.low, found.high, found.patients) == pytest.approx(
                (row["value"], row["low"], row["high"], row["patients"]), nan_ok=True
            )


def test_the_promise_applies_to_clean_images_alone(stressed: ReportData, deferrals: Deferrals) -> None:
    tables = named(deferral_tables(stressed, deferrals))
    frame = tables["deferral_all"].frame()
    assert frame.filter(pl.col("condition") == "clean")["promise"].unique().to_list() == ["applies"]
    assert frame.filter(pl.col("condition") != "clean")["promise"].unique().to_list() == ["void"]
    assert len(tables["deferral"].rows) == 4 * len(headline_conditions(stressed))
    statements = tables["deferral_policies"].frame()["statement"].unique().to_list()
    assert statements == ["At most 0.2 of the images are reviewed."]


def test_what_came_of_a_promise_is_counted_over_patients() -> None:
    """Patient a keeps one of two images, which failed; b is all sent; c keeps an image with no Dice."""
    columns = {"patient": ["a", "a", "b", "c"], "dice": [0.1, 0.9, 0.2, math.nan], "mask_px": [5, 5, 5, 0]}
    decided = pl.DataFrame({"cell": ["m"] * 4, **columns, "review": [False, True, True, False]})
    policy = policy_with(threshold=0.2, at_most=0.4)
    bounded: dict[Target, float] = {
        "review_rate": (0.5 + 1 + 0) / 3,
        "risk": 1 / 2,  # of a and c, who have a kept image
        "missed_lesions": 1 / 2,  # of a and b, who have foreground
    }
    for target, share in bounded.items():
        found = observed_share(replace(policy, target=target), decided, draws=50)
        assert found.value == pytest.approx(share)
    assert math.isnan(observed_share(replace(policy, target="risk"), decided[2:3], draws=5).value)


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
    assert describe_observed(0.2, interval(value, low, 0.4)) == said


def test_the_summary_names_where_the_policy_fails(stressed: ReportData, deferrals: Deferrals) -> None:
    """The synthetic attack on the uncertainty passes everything, no shift is as bad, and the promise was kept."""
    first, *others = strongest_facts(stressed, deferrals)
    conditions = headline_conditions(stressed)[1:]
    (aware,) = (place for place in conditions if place[0] == "deferral_aware")
    assert {deferrals.score(variant, aware, "review_rate").value for variant in deferrals.policies} == {0}
    kept = [deferrals.score(variant, aware, "undetected_failures").value for variant in deferrals.policies]
    assert first.startswith(f"The deferral policy fails under deferral-aware 2/255: {100 * max(kept):.0f} % [")
    assert "; on the same images " in first
    assert [sentence.partition(" ")[0] for sentence in others] == ["Under", "Promised"]
    clean = max(deferrals.observed[variant, CLEAN].value for variant in deferrals.policies)
    assert f"Observed: up to {100 * clean:.0f} % [" in others[1]


def test_failures_are_compared_on_the_same_images() -> None:
    """Of 30 patients 9 fail unchanged and 6 more under attack: intervals overlap, the paired difference excludes 0."""
    place = ("fgsm", round(4 / 255, 7))
    dice = {CLEAN: [0.1] * 9 + [0.9] * 21, place: [0.1] * 15 + [0.9] * 15}
    decided = pl.DataFrame(
        [
            {"image": f"i{row}", "patient": f"p{row}", "seed": 0, "condition": name, "eps": eps, "dice": value}
            for (name, eps), values in dice.items()
            for row, value in enumerate(values)
        ]
    ).with_columns(review=pl.lit(False), mask_px=pl.lit(5), u=pl.lit(0.1))
    scores = {}
    for key in dice:
        rows = decided.filter(pl.col("condition") == key[0])
        scores["a", key] = {"undetected_failures": intervals_of(rows, tau=0.5)["undetected_failures"]}
    assert scores["a", place]["undetected_failures"].low < scores["a", CLEAN]["undetected_failures"].high
    found = Deferrals({"a": {"m": policy_with(threshold=0.2, at_most=0.4)}}, {"a": decided}, scores, {})
    [none, *_] = _kept_failures({"attack": [place]}, found, 500)
    assert none.startswith("The deferral policy fails under FGSM 4/255: 50 % [")
    assert "; on the same images 20 points [" in none


def test_a_study_without_policies(tmp_path: Path) -> None:
    """What was not evaluated is named and not shown."""
    data = collected(one_run(tmp_path / "study", heads=("bernoulli",)))
    found = build_contents(data)
    assert found.deferrals.policies == {}
    assert set(found.tables).isdisjoint(
        {"deferral", "deferral_policies", "undetected_harm", "populations", "population_area"}
    )
    shift, attack = strongest_facts(data, found.deferrals)
    assert "No shift was measured" in shift
    assert "The attack that costs most is PGD 4/255: mean Dice falls from " in attack
    use = dict(use_and_population(data, limits(data, found.deferrals)))
    assert "Not stated" in use["Intended use"][0]
    assert "4 test images of 4 " in use["Population"][0]
    said = " ".join(use["Limits"])
    assert "No deferral policy" in said
    assert "natural shifts and images of other populations" in said
    assert "Vacuity" not in said


def test_the_first_screen_tells_the_limits(stressed: ReportData, deferrals: Deferrals) -> None:
    said = " ".join(limits(stressed, deferrals))
    assert "the promise is void" in said
    assert "other populations" not in said.split("Not tested here")[-1]
    assert len(describe_deferral(stressed, deferrals)) == 4


@pytest.mark.parametrize(("threshold", "said"), [("inf", "reviews nothing"), ("-inf", "sends every image to a human")])
def test_a_policy_that_could_not_be_fitted_does_nothing_or_all(tmp_path: Path, threshold: str, said: str) -> None:
    folder = one_run(tmp_path / "study", images=6, stress=True)
    path = next(folder.glob("cells/*/policy.json"))
    text = path.read_text().replace('"threshold": 0.3', f'"threshold": "{threshold}"')
    path.write_text(text.replace('"patients": 30', '"patients": 3'))
    data = collected(folder)
    found = read_deferrals(data)
    limits = " ".join(policy_limits(found))
    assert said in limits
    assert "fitted on 3 patients only" in limits
    assert found.score(EVIDENTIAL, CLEAN, "review_rate").value == (threshold == "-inf")
    assert deferral_charts(data, found)[0].panels[0].lines[0].y[0] == (threshold == "-inf")


def test_a_policy_that_does_not_fit_its_records_is_named(tmp_path: Path) -> None:
    folder = one_run(tmp_path / "study", stress=True)
    path = next(folder.glob("cells/*/policy.json"))
    path.write_text(path.read_text().replace('"entropy"', '"dissonance"'))
    with pytest.raises(DataError, match=r"policy\.json' does not fit .*no score dissonance_mean"):
        read_deferrals(collected(folder))


def test_the_figure_is_the_table(stressed: ReportData, stress: Contents) -> None:
    chart = stress.charts["deferral"]
    heads = {variant: stressed.results.head_of(variant) for variant in stress.deferrals.policies}
    assert len(chart.panels) == 3 * chart.columns * len(set(heads.values()))
    reviews = [panel for panel in chart.panels if panel.y_label == "share sent to a human"]
    assert {line.name for panel in reviews for line in panel.lines} == {*heads, "target"}
    for panel in reviews:
        *lines, target = panel.lines
        assert target.y == [0.2, 0.2]
        assert len({heads[line.name] for line in lines}) == 1
        for line in lines:
            assert line.x[0] == 0
            assert line.y[0] == stress.deferrals.score(line.name, CLEAN, "review_rate").value


@pytest.mark.parametrize("key", ["deferral_attacks", "deferral_shifts"])
def test_the_marker_lies_near_its_curve(stress: Contents, key: str) -> None:
    for panel in stress.charts[key].panels:
        curves = {line.name: line for line in panel.lines if "policy" not in line.name}
        for line in (line for line in panel.lines if "policy" in line.name):
            curve = curves[line.entry]  # both are the mean error of the same kept images, where no scores are tied
            place = int(np.abs(np.subtract(curve.x, line.x[0])).argmin())
            assert line.y[0] == pytest.approx(curve.y[place], abs=0.03)  # of two seeds


def test_undetected_harm_by_hand(stressed: ReportData, stress: Contents) -> None:
    clean, attacked = plain(stressed, EVIDENTIAL, "clean", 0.0), plain(stressed, EVIDENTIAL, "pgd", EPS)
    kept = (attacked["u_entropy_mean"] <= THRESHOLD).to_numpy()
    empty = (attacked["mask_px"] == 0).to_numpy()
    fall = clean["dice"].to_numpy() - attacked["dice"].to_numpy() >= 0.1
    alarm = (attacked["predicted_px"] / attacked["pixels"] >= 0.01).to_numpy()
    row = row_of(stress, "undetected_harm", variant=EVIDENTIAL, condition="PGD 2/255")
    assert value_of(row, "undetected") == pytest.approx((np.where(empty, alarm, fall) & kept).mean())
    assert value_of(row, "deferral") == pytest.approx((~kept).mean())
    scores = [frame.group_by("image").agg(pl.col("u_entropy_mean").mean()) for frame in (clean, attacked)]
    before, after = (frame["u_entropy_mean"].to_numpy() for frame in scores)
    pairs = np.sign(after[:, None] - before[None, :])
    assert value_of(row, "detection") == pytest.approx(((pairs + 1) / 2).mean())
    aware = row_of(stress, "undetected_harm", variant=EVIDENTIAL, condition="deferral-aware 2/255")
    assert value_of(aware, "deferral") == 0  # all scores were pushed below the threshold
    assert value_of(aware, "detection") < 0.1
    assert row_of(stress, "undetected_harm", variant=EVIDENTIAL, condition="clean")["undetected"] is None


def test_only_runs_with_a_policy_decide(tmp_path: Path) -> None:
    folder = one_run(tmp_path / "s", seeds=2, images=6, patients=6, stress=True)
    first, second = sorted(folder.glob("cells/*"))
    (first / "policy.json").unlink()
    data = collected(folder)
    assert read_deferrals(data).decided[EVIDENTIAL]["cell"].unique().to_list() == [second.name]
    (second / "policy.json").unlink()
    assert undetected_harm_table(data, read_deferrals(data)).rows == ()


def test_a_score_that_is_never_known_detects_nothing(stressed: ReportData) -> None:
    records = stressed.results.records.filter(pl.col("variant") == EVIDENTIAL)
    unknown = records.with_columns(u_entropy_mean=pl.when(pl.col("kind") == "clean").then("u_entropy_mean"))
    blind = with_records(stressed, unknown, cells=tuple(stressed.results.cells_of(EVIDENTIAL)))
    rows = undetected_harm_table(blind, read_deferrals(blind)).rows
    attacked = [row for row in rows if row["condition"] != "clean"]
    assert len(attacked) == 4
    for row in attacked:
        assert math.isnan(value_of(row, "detection"))
        assert value_of(row, "deferral") == 1  # what has no score is reviewed


def test_another_score_gets_a_policy_of_the_same_aim(tmp_path: Path) -> None:
    """Of ten validation patients at most four may be reviewed: conformal, (10 - k + 1) / 11 <= 0.4 for k = 7."""
    cell = deferring_run(tmp_path, threshold=0.05)
    found = policy_reading(cell, measure="variance", column="u_variance_mean")
    assert (found.column, found.target, found.at_most) == ("u_variance_mean", "review_rate", 0.4)
    assert found.threshold == pytest.approx(1.4)
    assert policy_reading(cell, measure="entropy", column="u_entropy_mean").threshold == 0.05  # the frozen one
    (cell.folder / "validation.parquet").write_text("no table")
    with pytest.raises(DataError, match=r"validation\.parquet"):
        policy_reading(cell, measure="variance", column="u_variance_mean")
    assert has_policy(cell)
    (cell.folder / "policy.json").unlink()
    assert not has_policy(cell)


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    return load_policy(deferring_run(tmp_path).folder / "policy.json")


def test_what_a_policy_decides_on_each_record(policy: Policy) -> None:
    """In turn unharmed, kept, reviewed, at the threshold, unknown, just harmed, just not, unharmed, unsure, empty."""
    clean = some_records("a", "clean", [0.9] * 10, [0.1] * 10)
    dice = [0.9, 0.5, 0.5, 0.5, 0.5, 0.79, 0.81, 0.95, 0.5, 0.0]
    scores = [0.1, 0.1, 0.9, 0.5, float("nan"), 0.1, 0.1, 0.1, float("inf"), 0.1]
    records = pl.concat([clean, some_records("a", "pgd", dice, scores)])
    found = with_decisions(records, policy)
    assert found.drop(SCORE, "review", "undetected_harm").select(records.columns).equals(records)
    before, after = found.filter(pl.col("kind") == "clean"), found.filter(pl.col("kind") == "attack")
    assert before["undetected_harm"].is_null().all()
    assert not before["review"].any()
    assert after["review"].to_list() == [False, False, True, False, True, False, False, False, True, False]
    assert after["undetected_harm"].to_list() == [False, True, False, True, False, True, False, False, False, True]


def test_an_image_without_a_clean_record_cannot_fall(policy: Policy) -> None:
    clean = some_records("a", "clean", [0.9] * 10, [0.1] * 10).filter(pl.col("image") != "i1")
    found = with_decisions(pl.concat([clean, some_records("a", "pgd", [0.1] * 10, [0.1] * 10)]), policy)
    after = found.filter(pl.col("kind") == "attack")
    assert after["undetected_harm"].to_list() == [True, False, *([True] * 8)]  # the last one has an alarm of its own
