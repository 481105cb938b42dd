"""What a report says of hypotheses: the verdicts of a made-up study, and why some cannot be tested."""

import functools
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from tests.reporting.fake_results import write_study
from tests.reporting.given import collected, one_run

from trustseg.reporting import hypotheses as module
from trustseg.reporting.hypotheses import Outcome, answer_hypotheses, dose_chart, dose_response, hypotheses
from trustseg.reporting.report_data import ReportData
from trustseg.statistics import compare_images, holm
from trustseg.study.hypotheses import Hypothesis


@pytest.fixture(scope="module")
def outcomes(data: ReportData) -> dict[str, list[Outcome]]:
    found: dict[str, list[Outcome]] = {}
    for outcome in answer_hypotheses(replace(data, results=replace(data.results, draws=400))):
        found.setdefault(outcome.hypothesis.name, []).append(outcome)
    return found


def test_each_shipped_hypothesis_is_answered(outcomes: dict[str, list[Outcome]]) -> None:
    assert list(outcomes) == ["H1", "H2", "H3", "H4", "H5", "H6"]
    supported = outcomes["H1"]  # the made-up study makes adversarial training help
    assert [outcome.verdict for outcome in supported] == ["supported", "supported"]
    told = "Adversarial training raises Dice under attack. Dice, PGD 4/255, classical, random selection"
    assert told in supported[0].sentence
    assert "supported (p < 0.05 after correction)." in supported[0].sentence
    assert {outcome.compared for outcome in supported} == {
        f"{head}, random selection minus {head}, no adversarial training" for head in ("classical", "evidential")
    }
    itself = "evidential, no adversarial training: mutual information minus entropy"  # named once
    assert itself in {outcome.compared for outcome in outcomes["H5"]}


def test_what_cannot_be_tested_says_why(outcomes: dict[str, list[Outcome]]) -> None:
    (dose,), (attack,) = outcomes["H2"], outcomes["H6"]
    assert dose.verdict == attack.verdict == "not testable here"
    assert "no finished run has adversarial.selection=uncertain, adversarial.fraction=0.25" in dose.sentence
    assert "no run was measured under overconfidence" in attack.sentence


def test_p_values_are_corrected_over_the_whole_table(outcomes: dict[str, list[Outcome]]) -> None:
    every = [outcome for found in outcomes.values() for outcome in found]
    tested = [(o, o.comparison) for o in every if o.comparison is not None and o.verdict != "not testable here"]
    raw = [comparison.p_of(o.hypothesis.direction, o.hypothesis.margin) for o, comparison in tested]
    assert [o.p for o, _ in tested] == holm(raw)
    assert max(o.p for o, _ in tested) <= 1


CLAIM = {
    "name": "mine",
    "claim": "It helps.",
    "first": {"adversarial.selection": "random"},
    "second": {"adversarial.selection": "none"},
    "measures": ["dice"],
    "direction": "higher",
    "margin": 0.01,
}


@functools.cache
def data_of(folder: Path) -> ReportData:
    """Read a study once; its hypotheses are read anew each time."""
    return collected(folder, 200)


def told(folder: Path, **changed: Any) -> list[Outcome]:  # noqa: ANN401
    """Outcomes of one hypothesis of the study's own."""
    (folder / "hypotheses.yaml").write_text(yaml.safe_dump({"hypotheses": [CLAIM | changed]}))
    return answer_hypotheses(data_of(folder))


SELECTIONS = ("none", "random", "uncertain")


@pytest.fixture(scope="module")
def two_seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "study"
    return one_run(folder, selections=SELECTIONS, seeds=2, images=48, patients=40)


def test_one_training_on_each_side_supports_nothing(tmp_path: Path, two_seeds: Path) -> None:
    (outcome,) = told(one_run(tmp_path / "study", selections=SELECTIONS, images=24, patients=24))
    assert outcome.comparison is not None
    assert (outcome.comparison.trainings, outcome.verdict) == (1, "not testable here")
    assert outcome.comparison.interval.low > 0.01  # the difference of these models is shown, with its interval
    assert "one training on each side" in outcome.sentence
    (outcome,) = told(two_seeds)
    assert (outcome.hypothesis.name, outcome.verdict) == ("mine", "supported")


@pytest.mark.parametrize(("shift", "verdict"), [(0.0, "inconclusive"), (2.0, "not testable here")])
def test_one_training_on_each_side_shows_at_most_that_nothing_is_shown(shift: float, verdict: str) -> None:
    values = shift + np.tile([1.0, -1.0], 20)[None]
    claim = Hypothesis.model_validate(CLAIM)
    outcome = Outcome(claim, comparison=compare_images(values, np.zeros_like(values), [f"P{n}" for n in range(40)]))
    assert outcome.tested is None
    assert outcome.verdict == verdict
    assert "one training on each side" in outcome.sentence


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"condition": "apgd"}, "no run was measured under apgd"),
        ({"first": {"adversarial.selection": "certain"}}, "no finished run has adversarial.selection=certain"),
        ({"first_uncertainty": "dissonance"}, "lack the uncertainty it names"),
        ({"measures": ["lesion_f1"]}, "the records lack the metric lesion_f1"),
        ({"eps": "3/255"}, "no run was measured under PGD 3/255, only under PGD"),
        ({"measures": ["undetected_harm"]}, "no run of evidential, random selection has a deferral policy fitted"),
    ],
)
def test_what_a_study_lacks_is_not_answered_by_something_else(
    two_seeds: Path, changed: dict[str, object], why: str
) -> None:
    (outcome,) = told(two_seeds, **changed)
    assert (outcome.verdict, outcome.comparison) == ("not testable here", None)
    assert why in outcome.sentence


def test_a_budget_is_the_measured_one_but_for_rounding(two_seeds: Path) -> None:
    (outcome,) = told(two_seeds, eps=4 / 255 + 1e-12)
    assert (outcome.verdict, outcome.score) == ("supported", "Dice, PGD 4/255")


def test_few_patients_decide_nothing(tmp_path: Path) -> None:
    (outcome,) = told(one_run(tmp_path / "study", selections=SELECTIONS, seeds=2, images=12, patients=6))
    assert (outcome.verdict, "fewer than 20 patients" in outcome.sentence) == ("not testable here", True)
    assert math.isnan(outcome.p)
    assert hypotheses(data_of(tmp_path / "study"), [outcome]).rows[0]["p"] is None


def test_what_decides_nothing_is_not_corrected_for(two_seeds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = told(two_seeds)[0].p
    decides = module._decides
    monkeypatch.setattr(module, "_decides", lambda comparison: decides(comparison) and comparison.interval.value > 0.05)
    outcomes = told(two_seeds, measures=["dice", "nause"])
    assert [outcome.p for outcome in outcomes if outcome.verdict != "not testable here"] == [alone]


def test_sides_that_are_the_same_in_every_image_decide_nothing(tmp_path: Path) -> None:
    folder = one_run(tmp_path / "study", selections=("none", "random"), seeds=2, images=48, patients=40)
    for cell in (folder / "cells").glob("beta-random-*"):
        twin = folder / "cells" / cell.name.replace("random", "none")
        records = pl.read_parquet(twin / "records.parquet").with_columns(cell=pl.lit(cell.name))
        records.write_parquet(cell / "records.parquet")
    (outcome,) = told(folder)
    assert outcome.verdict == "not testable here"
    assert math.isnan(outcome.p)
    assert "(both sides are the same in every image)" in outcome.sentence


FRACTIONS = {"none": 0.25, "random": 0.5, "certain": 1.0}  # what stands in the place of the selections


@pytest.fixture(scope="module")
def dosed(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    """A study in which one rule of selection attacks three shares of the batch, and another one of them."""
    folder = tmp_path_factory.mktemp("doses") / "study"
    write_study(folder, heads=["beta"], selections=[*FRACTIONS, "uncertain"], seeds=1, images=24, patients=20)
    for cell in (folder / "cells").iterdir():
        about = json.loads((cell / "cell.json").read_text())
        config = yaml.safe_load((cell / "config.yaml").read_text())
        share = FRACTIONS.get(about["selection"], 0.5)
        rule = "random" if about["selection"] in FRACTIONS else "uncertain"
        about |= {"selection": rule, "variant": f"beta, {rule}, fraction={share:g}"}
        config["adversarial"] |= {"selection": rule, "fraction": share}
        (cell / "cell.json").write_text(json.dumps(about))
        (cell / "config.yaml").write_text(yaml.safe_dump(config))
    return collected(folder, 20)


def test_a_row_for_each_variant_and_a_curve_for_each_rule(dosed: ReportData) -> None:
    table = dose_response(dosed)
    assert {(row["name"], row["variant"], row["dose"]) for row in table.rows} == {
        ("H2", "evidential, random selection, fraction=0.25", "0.25"),
        ("H2", "evidential, random selection, fraction=0.5", "0.5"),
        ("H2", "evidential, random selection, fraction=1", "1.0"),
        ("H2", "evidential, uncertain selection, fraction=0.5", "0.5"),
    }
    chart = dose_chart(dosed, table)
    (panel,) = chart.panels
    assert (panel.title, panel.x_label, panel.y_label) == ("H2", "adversarial.fraction", "Dice, PGD 4/255")
    curves = {line.name: list(line.x) for line in panel.lines}
    assert curves == {"evidential, random selection": [0.25, 0.5, 1.0], "evidential, uncertain selection": [0.5]}
    rows = sorted((row for row in table.rows if "random" in str(row["variant"])), key=lambda row: str(row["dose"]))
    drawn = chart.frame().filter(pl.col("series") == "evidential, random selection")
    for column, end in (("y", "value"), ("low", "low"), ("high", "high")):
        assert drawn[column].to_list() == pytest.approx([getattr(row["value"], end) for row in rows], rel=1e-5)


def test_no_dose_no_table_and_doses_that_are_words_have_no_curve(data: ReportData, two_seeds: Path) -> None:
    table = dose_response(data)
    assert table.rows == ()
    assert dose_chart(data, table).panels == ()
    told(two_seeds, dose="adversarial.selection")
    table = dose_response(data_of(two_seeds))
    assert [row["dose"] for row in table.rows] == ["none", "random", "uncertain"]
    assert dose_chart(data_of(two_seeds), table).panels == ()
