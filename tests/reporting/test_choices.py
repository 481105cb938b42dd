"""Which attack, budget, measure and pairs a report speaks about."""

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import yaml
from tests.reporting.fake_results import keep_rows
from tests.reporting.given import EVIDENTIAL, one_run

from trustseg.attacks import evaluation_attacks
from trustseg.reporting.choices import choose, pairs
from trustseg.reporting.labels import describe_attack
from trustseg.reporting.results import load_results


def test_attacks_are_called_by_their_labels() -> None:
    for name, attack in evaluation_attacks().items():
        assert describe_attack(name) == attack.label


def test_headline_of_a_study(study: Path) -> None:
    choices = choose(load_results(study))
    assert choices.attack == "pgd"
    assert [round(eps * 255) for eps in choices.attacks["fgsm"]] == [1, 2, 4, 8]
    assert [(name, round(eps * 255)) for name, eps in choices.conditions] == [("clean", 0), ("pgd", 4), ("pgd", 8)]
    assert set(choices.measures.values()) == {"entropy"}, "heads are compared by a measure that both have"
    assert choices.columns[EVIDENTIAL] == "u_entropy_quantile_mean"
    assert next(iter(choices.all_columns[EVIDENTIAL])) == "mutual_information"


def test_the_study_says_which_aggregation_and_budget(tmp_path: Path) -> None:
    folder = one_run(tmp_path / "study", heads=("bernoulli", "beta"))
    for settings in folder.glob("cells/*/config.yaml"):
        settings.unlink()
    adversarial = {"eps": 7 / 255, "measure": {"beta": "vacuity", "bernoulli": "variance"}, "aggregation": "mean"}
    (folder / "study.yaml").write_text(yaml.safe_dump({"adversarial": adversarial}))
    choices = choose(load_results(folder))
    assert set(choices.columns.values()) == {"u_entropy_mean"}
    assert choices.all_columns[EVIDENTIAL]["vacuity"] == "u_vacuity_mean"
    assert choices.eps == choices.largest_eps == round(8 / 255, 7)
    assert len(choices.conditions) == 2


def test_without_attacks_only_clean_remains(tmp_path: Path) -> None:
    folder = one_run(tmp_path / "study")
    for cell in folder.glob("cells/*"):
        keep_rows(cell, pl.col("condition") == "clean")
    choices = choose(load_results(folder))
    assert choices.conditions == choices.compared == [("clean", 0.0)]


def test_pairs_stay_within_a_head_and_ignore_fold_and_seed(study: Path) -> None:
    assert list(pairs(load_results(study))) == [
        (f"{head}, {first}", f"{head}, {second}")
        for head in ("classical", "evidential")
        for first, second in (
            ("random selection", "no adversarial training"),
            ("uncertain selection", "no adversarial training"),
            ("uncertain selection", "random selection"),
        )
    ]


@pytest.mark.parametrize(("other", "count"), [({"model.encoder": "resnet34"}, 0), ({"training.seed": 5}, 1)])
def test_variants_that_differ_otherwise_are_not_compared(tmp_path: Path, other: dict[str, object], count: int) -> None:
    folder = one_run(tmp_path / "study", selections=("none", "random"))
    path = folder / "cells" / "beta-random-fold0-seed0" / "cell.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"values": content["values"] | other}))
    assert len(pairs(load_results(folder))) == count


def test_a_study_names_its_own_baselines(study: Path, tmp_path: Path) -> None:
    results = load_results(study)
    named = {"report": {"baselines": [{"adversarial.selection": "none"}, {"adversarial.selection": "uncertain"}]}}
    found = pairs(replace(results, study=named))
    assert {rank for pair, rank in found.items() if "no adversarial training" in pair[1]} == {0}
    assert found["evidential, random selection", "evidential, uncertain selection"] == 1
    assert ("evidential, uncertain selection", "evidential, random selection") not in found
    assert pairs(replace(results, study={"report": {"baselines": [{"model.head": "linear"}]}})) == {}
