"""What a report says of hypotheses: the verdicts of a made-up study, and why some cannot be tested."""

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.reporting.fake_results import write_study

from trustseg.reporting import hypotheses as module
from trustseg.reporting import load_results
from trustseg.reporting.hypotheses import Outcome, answer_hypotheses, hypothesis_table
from trustseg.reporting.report_data import ReportData, collect
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
    assert "Adversarial training raises Dice under attack. Dice, PGD 4/255, bernoulli, random" in supported[0].sentence
    assert "supported (p < 0.05 after correction)." in supported[0].sentence


def test_a_variant_that_is_compared_with_itself_is_named_once(outcomes: list[Outcome]) -> None:
    compared = {outcome.compared for outcome in of(outcomes, "H5")}
    assert "beta, none: mutual information minus entropy" in compared
    assert {outcome.compared for outcome in of(outcomes, "H1")} == {
        f"{head}, random minus {head}, none" for head in ("bernoulli", "beta")
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
    return answer_hypotheses(collect(load_results(folder), draws=20), draws=200)


@pytest.fixture(scope="module")
def one_seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "study"
    return write_study(folder, heads=["beta"], seeds=1, images=48, patients=40, gallery=False)


def test_one_seed_says_nothing_of_other_trainings(one_seed: Path) -> None:
    (outcome,) = told(one_seed)
    assert outcome.hypothesis.name == "mine"  # the study's own file takes the place of the shipped one
    assert "No seed variance: not testable across trainings" in outcome.sentence


def test_unknown_conditions_and_regimes(one_seed: Path) -> None:
    (condition,) = told(one_seed, condition="apgd")
    assert "no run was measured under apgd" in condition.sentence
    (regime,) = told(one_seed, first={"adversarial.selection": "certain"})
    assert "no finished run has adversarial.selection=certain" in regime.sentence
    (measure,) = told(one_seed, first_uncertainty="dissonance")
    assert "lack the uncertainty it names" in measure.sentence


def test_a_budget_that_was_not_measured_is_not_answered_by_another(one_seed: Path) -> None:
    (outcome,) = told(one_seed, eps="3/255")
    assert (outcome.verdict, outcome.comparison) == ("not testable here", None)
    assert "no run was measured under PGD 3/255, only under PGD" in outcome.sentence
    (outcome,) = told(one_seed, eps=4 / 255 + 1e-12)
    assert (outcome.verdict, outcome.score) == ("supported", "Dice, PGD 4/255")


def test_harm_goes_undetected_only_by_a_policy(one_seed: Path) -> None:
    (outcome,) = told(one_seed, measures=["undetected_harm"])
    assert "no run of beta, random has a deferral policy fitted on validation images" in outcome.sentence


def test_few_patients_decide_nothing(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", heads=["beta"], seeds=2, images=12, patients=6, gallery=False)
    (outcome,) = told(study)
    assert (outcome.verdict, "fewer than 20 patients" in outcome.sentence) == ("not testable here", True)
    assert math.isnan(outcome.p)
    assert hypothesis_table([outcome]).rows[0]["p"] is None


def test_what_decides_nothing_is_not_corrected_for(one_seed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = told(one_seed)[0].p
    decides = module._decides
    monkeypatch.setattr(module, "_decides", lambda comparison: decides(comparison) and comparison.interval.value > 0.05)
    outcomes = told(one_seed, measures=["dice", "nause"])
    assert [outcome.p for outcome in outcomes if outcome.verdict != "not testable here"] == [alone]


def test_sides_that_are_the_same_in_every_image_decide_nothing(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", heads=["beta"], seeds=2, images=48, patients=40, gallery=False)
    for cell in (folder / "cells").glob("beta-random-*"):
        twin = folder / "cells" / cell.name.replace("random", "none")
        (cell / "records.parquet").write_bytes((twin / "records.parquet").read_bytes())
    (outcome,) = told(folder)
    assert outcome.verdict == "not testable here"
    assert math.isnan(outcome.p)
    assert "(both sides are the same in every image)" in outcome.sentence
