"""What a report says of hypotheses: the verdicts of a made-up study, and why some cannot be tested."""

import functools
import json
import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from tests.reporting.fake_results import write_study

from trustseg.reporting import hypotheses as module
from trustseg.reporting import load_results
from trustseg.reporting.doses import dose_chart, dose_table
from trustseg.reporting.hypotheses import Outcome, answer_hypotheses, hypothesis_table
from trustseg.reporting.report_data import ReportData, collect
from trustseg.reporting.series import looks
from trustseg.statistics import holm


@pytest.fixture(scope="module")
def outcomes(data: ReportData) -> list[Outcome]:
    return answer_hypotheses(data, draws=400)


def of(outcomes: list[Outcome], name: str) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.hypothesis.name == name]


def test_each_shipped_hypothesis_is_answered(outcomes: list[Outcome]) -> None:
    assert list(dict.fromkeys(outcome.hypothesis.name for outcome in outcomes)) == ["H1", "H2", "H3", "H4", "H5", "H6"]
    supported = of(outcomes, "H1")  # the made-up study makes adversarial training help
    assert [outcome.verdict for outcome in supported] == ["supported", "supported"]
    assert (
        "Adversarial training raises Dice under attack. Dice, PGD 4/255, classical, random selection"
        in supported[0].sentence
    )
    assert "supported (p < 0.05 after correction)." in supported[0].sentence


def test_a_variant_that_is_compared_with_itself_is_named_once(outcomes: list[Outcome]) -> None:
    compared = {outcome.compared for outcome in of(outcomes, "H5")}
    assert "evidential, no adversarial training: mutual information minus entropy" in compared
    assert {outcome.compared for outcome in of(outcomes, "H1")} == {
        f"{head}, random selection minus {head}, no adversarial training" for head in ("classical", "evidential")
    }


def test_what_cannot_be_tested_says_why(outcomes: list[Outcome]) -> None:
    (dose,), (attack,) = of(outcomes, "H2"), of(outcomes, "H6")
    assert dose.verdict == attack.verdict == "not testable here"
    assert "no finished run has adversarial.selection=uncertain, adversarial.fraction=0.25" in dose.sentence
    assert "no run was measured under overconfidence" in attack.sentence


def test_p_values_are_corrected_over_the_whole_table(outcomes: list[Outcome]) -> None:
    tested = [(o, o.comparison) for o in outcomes if o.comparison is not None and o.verdict != "not testable here"]
    raw = [comparison.p_of(o.hypothesis.direction, o.hypothesis.margin) for o, comparison in tested]
    assert [o.p for o, _ in tested] == holm(raw)
    assert max(o.p for o, _ in tested) <= 1


@functools.cache
def collected(folder: Path) -> ReportData:
    """Read a study once; its hypotheses are read anew each time."""
    return collect(load_results(folder), draws=20)


def told(folder: Path, **changed: Any) -> list[Outcome]:  # noqa: ANN401
    """Outcomes of one hypothesis of the study's own."""
    hypothesis = {
        "name": "mine",
        "claim": "It helps.",
        "first": {"adversarial.selection": "random"},
        "second": {"adversarial.selection": "none"},
        "measures": ["dice"],
        "direction": "higher",
        "margin": 0.01,
    }
    (folder / "hypotheses.yaml").write_text(yaml.safe_dump({"hypotheses": [hypothesis | changed]}))
    return answer_hypotheses(collected(folder), draws=200)


@pytest.fixture(scope="module")
def two_seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "study"
    return write_study(folder, heads=["beta"], seeds=2, images=48, patients=40, gallery=False)


def test_one_training_on_each_side_supports_nothing(tmp_path: Path, two_seeds: Path) -> None:
    folder = write_study(tmp_path / "study", heads=["beta"], seeds=1, images=24, patients=24, gallery=False)
    (outcome,) = told(folder)
    assert outcome.comparison is not None
    assert (outcome.comparison.trainings, outcome.verdict) == (1, "not testable here")
    assert outcome.comparison.interval.low > 0.01  # the difference of these models is shown, with its interval
    assert "one training on each side" in outcome.sentence
    (outcome,) = told(two_seeds)
    assert (outcome.hypothesis.name, outcome.verdict) == ("mine", "supported")


def test_unknown_conditions_and_selections(two_seeds: Path) -> None:
    (condition,) = told(two_seeds, condition="apgd")
    assert "no run was measured under apgd" in condition.sentence
    (selection,) = told(two_seeds, first={"adversarial.selection": "certain"})
    assert "no finished run has adversarial.selection=certain" in selection.sentence
    (measure,) = told(two_seeds, first_uncertainty="dissonance")
    assert "lack the uncertainty it names" in measure.sentence
    (metric,) = told(two_seeds, measures=["lesion_f1"])
    assert "the records lack the metric lesion_f1" in metric.sentence


def test_a_budget_that_was_not_measured_is_not_answered_by_another(two_seeds: Path) -> None:
    (outcome,) = told(two_seeds, eps="3/255")
    assert (outcome.verdict, outcome.comparison) == ("not testable here", None)
    assert "no run was measured under PGD 3/255, only under PGD" in outcome.sentence
    (outcome,) = told(two_seeds, eps=4 / 255 + 1e-12)
    assert (outcome.verdict, outcome.score) == ("supported", "Dice, PGD 4/255")


def test_harm_goes_undetected_only_by_a_policy(two_seeds: Path) -> None:
    (outcome,) = told(two_seeds, measures=["undetected_harm"])
    assert (
        "no run of evidential, random selection has a deferral policy fitted on validation images" in outcome.sentence
    )


def test_few_patients_decide_nothing(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", heads=["beta"], seeds=2, images=12, patients=6, gallery=False)
    (outcome,) = told(study)
    assert (outcome.verdict, "fewer than 20 patients" in outcome.sentence) == ("not testable here", True)
    assert math.isnan(outcome.p)
    assert hypothesis_table([outcome]).rows[0]["p"] is None


def test_what_decides_nothing_is_not_corrected_for(two_seeds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = told(two_seeds)[0].p
    decides = module._decides
    monkeypatch.setattr(module, "_decides", lambda comparison: decides(comparison) and comparison.interval.value > 0.05)
    outcomes = told(two_seeds, measures=["dice", "nause"])
    assert [outcome.p for outcome in outcomes if outcome.verdict != "not testable here"] == [alone]


def test_sides_that_are_the_same_in_every_image_decide_nothing(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", heads=["beta"], seeds=2, images=48, patients=40, gallery=False)
    for cell in (folder / "cells").glob("beta-random-*"):
        twin = folder / "cells" / cell.name.replace("random", "none")
        records = pl.read_parquet(twin / "records.parquet").with_columns(cell=pl.lit(cell.name))
        records.write_parquet(cell / "records.parquet")
    (outcome,) = told(folder)
    assert outcome.verdict == "not testable here"
    assert math.isnan(outcome.p)
    assert "(both sides are the same in every image)" in outcome.sentence


FRACTIONS = {"none": 0.25, "random": 0.5, "certain": 1.0}  # what stands in the place of the selections


def with_fractions(folder: Path) -> Path:
    """A study in which one rule of selection attacks three shares of the batch, and another one of them."""
    write_study(
        folder, heads=["beta"], selections=[*FRACTIONS, "uncertain"], seeds=1, images=24, patients=20, gallery=False
    )
    for cell in (folder / "cells").iterdir():
        about = json.loads((cell / "cell.json").read_text())
        config = yaml.safe_load((cell / "config.yaml").read_text())
        rule, share = (
            ("uncertain", 0.5) if about["selection"] == "uncertain" else ("random", FRACTIONS[about["selection"]])
        )
        about |= {"selection": rule, "variant": f"beta, {rule}, fraction={share:g}"}
        config["adversarial"] |= {"selection": rule, "fraction": share}
        (cell / "cell.json").write_text(json.dumps(about))
        (cell / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture(scope="module")
def dosed(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    return collect(load_results(with_fractions(tmp_path_factory.mktemp("doses") / "study")), draws=20)


def test_no_dose_no_table(data: ReportData) -> None:
    table = dose_table(data, draws=20)
    assert table.rows == ()
    assert dose_chart(data, table).panels == ()


def test_a_row_for_each_variant(dosed: ReportData) -> None:
    rows = dose_table(dosed, draws=20).rows
    assert {(row["name"], row["variant"], row["dose"]) for row in rows} == {
        ("H2", "evidential, random selection, fraction=0.25", "0.25"),
        ("H2", "evidential, random selection, fraction=0.5", "0.5"),
        ("H2", "evidential, random selection, fraction=1", "1.0"),
        ("H2", "evidential, uncertain selection, fraction=0.5", "0.5"),
    }


def test_a_curve_for_each_rule(dosed: ReportData) -> None:
    table = dose_table(dosed, draws=20)
    chart = dose_chart(dosed, table)
    (panel,) = chart.panels
    assert (panel.title, panel.x_label, panel.y_label) == ("H2", "adversarial.fraction", "Dice, PGD 4/255")
    curves = {line.name: list(line.x) for line in panel.lines}
    assert curves == {"evidential, random selection": [0.25, 0.5, 1.0], "evidential, uncertain selection": [0.5]}
    rows = sorted((row for row in table.rows if "random" in str(row["variant"])), key=lambda row: str(row["dose"]))
    drawn = chart.frame().filter(pl.col("series") == "evidential, random selection")
    for column, end in (("y", "value"), ("low", "low"), ("high", "high")):
        assert drawn[column].to_list() == pytest.approx([getattr(row["value"], end) for row in rows], rel=1e-5)


def test_doses_that_are_words_have_no_curve(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", heads=["beta"], seeds=1, images=24, patients=20, gallery=False)
    claim = {"name": "mine", "claim": "It helps.", "measures": ["dice"], "direction": "higher", "margin": 0.01}
    sides = {"first": {"adversarial.selection": "random"}, "second": {"adversarial.selection": "none"}}
    content = {"hypotheses": [claim | sides | {"dose": "adversarial.selection"}]}
    (folder / "hypotheses.yaml").write_text(yaml.safe_dump(content))
    data = collect(load_results(folder), draws=20)
    table = dose_table(data, draws=20)
    assert [row["dose"] for row in table.rows] == ["none", "random", "uncertain"]
    assert dose_chart(data, table).panels == ()


def test_variants_of_one_rule_and_head_are_told_apart(dosed: ReportData) -> None:
    found = looks(dosed.results)
    of_random = [look for variant, look in found.items() if "random" in variant]
    assert len({look.colour for look in of_random}) == len({look.symbol for look in of_random}) == 3
    assert of_random[0].colour.upper() == "#E69F00"  # the first keeps the colour of its rule
