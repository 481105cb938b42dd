"""Plans: passes counted by hand, time from finished cells or from a step, and nothing written."""

from pathlib import Path

import pytest
from tests import fake

from trustseg.config import RunConfig, load_run, load_study
from trustseg.files import write_json
from trustseg.models import Segmenter
from trustseg.study.plan import Plan, passes_of_attack, plan_study
from trustseg.study.runner import prepare_study
from trustseg.training.run import initial_segmenter

STUDY = """
name: small
phantoms: {train: 10, test: 4, control: 0}
data: {size: 32}
training: {epochs: 4, batch_size: 2, validation_every: 2, validation_steps: 5, accelerator: cpu}
adversarial: {warmup_epochs: 1, fraction: 0.5, attack: pgd, steps: 3}
evaluation: {attacks: [{name: fgsm, eps: [1/255, 4/255]}, {name: pgd, eps: [4/255], steps: 7, restarts: 2}]}
grid:
  training.seed: [0, 1]
  adversarial.selection: [none, random, uncertain]
"""

small_networks = pytest.mark.usefixtures("small_and_tidy")


def planned(tmp_path: Path, *settings: str) -> Plan:
    (tmp_path / "small.yaml").write_text(STUDY)
    return plan_study(load_study(tmp_path / "small.yaml", settings), tmp_path / "run")


@small_networks
def test_passes_by_hand(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    none, random, uncertain = plan.variants
    validated = 0.2 * 8 * 2  # at epochs 2 and 4; the attack, of 5 steps, only where training attacks
    assert none.training == pytest.approx(2 * (8 * 4 + validated / 3))
    attacks = 8 * 3 * 0.5 * 3  # 3 epochs, half the images, 3 steps
    assert random.training - none.training == pytest.approx(2 * (attacks + validated * 5))
    assert uncertain.training - random.training == pytest.approx(2 * 8 * 3 / 3)  # one forward pass more
    assert none.evaluation == pytest.approx(2 * 4 * (4 / 3 + 2 * 1 + 7 * 2))
    assert [(row.cells, row.done) for row in plan.variants] == [(2, 0)] * 3
    assert plan.basis == "one step"
    assert plan.seconds > 0
    assert not (tmp_path / "run").exists()


@small_networks
def test_a_mixture_trains_nothing_and_is_measured_by_all_its_passes(tmp_path: Path) -> None:
    rows = {row.variant: row for row in planned(tmp_path, "mixtures={ensemble: true, mc_dropout: 20}").variants}
    assert len(rows) == 9
    single, ensemble, sampled = (rows[f"none{kind}"] for kind in ("", ", ensemble of 2", ", MC dropout 20"))
    assert [(row.cells, row.training) for row in (ensemble, sampled)] == [(1, 0.0), (1, 0.0)]
    of_one = single.evaluation / 2
    assert ensemble.evaluation == pytest.approx(2 * of_one)
    assert sampled.evaluation == pytest.approx(20 * of_one)
    assert 0 < ensemble.seconds < sampled.seconds


@small_networks
def test_checks_and_the_smallest_budgets_are_counted(tmp_path: Path) -> None:
    (plain, *_), (checked, *_), (searched, *_) = (
        planned(tmp_path, *settings).variants
        for settings in (
            (),
            ("evaluation.masking_checks=3",),
            ("evaluation.minimal={tau: 0.5, steps: 5, halvings: 1}",),
        )
    )
    assert checked.evaluation - plain.evaluation == pytest.approx(2 * 3 * (1000 + 2000 / 3))
    rungs = len(load_run(None, []).evaluation.minimal.eps)
    assert searched.evaluation - plain.evaluation == pytest.approx(2 * 4 * (rungs + 1) * 3 * (5 + 2))


@small_networks
def test_time_comes_from_finished_cells(tmp_path: Path) -> None:
    fake.qata(tmp_path / "data", control=False)
    data = f"data.path={tmp_path / 'data'}"
    before = planned(tmp_path, data)
    done = prepare_study(load_study(tmp_path / "small.yaml", [data]), tmp_path / "run")[0]
    write_json(tmp_path / "run" / "cells" / done / "done.json", {"seconds_training": 60.0, "seconds_evaluation": 40.0})
    plan = planned(tmp_path, data)
    assert plan.basis == "finished cells"
    none = plan.variants[0]
    assert (none.cells, none.done) == (2, 1)
    assert none.seconds == pytest.approx(100)  # the other seed takes as long
    whole = sum(row.training + row.evaluation for row in before.variants)
    of_one = (none.training + none.evaluation) / 2
    assert plan.seconds == pytest.approx(100 * (whole / of_one - 1))


@small_networks
def test_another_training_is_not_done(tmp_path: Path) -> None:
    study = tmp_path / "small.yaml"
    study.write_text(STUDY)
    for cell in prepare_study(load_study(study), tmp_path / "run"):
        write_json(tmp_path / "run" / "cells" / cell / "done.json", {"seconds_training": 60.0})
    assert [row.done for row in planned(tmp_path).variants] == [2, 2, 2]  # generated images are told apart, too
    assert [row.done for row in planned(tmp_path, "training.epochs=50").variants] == [0, 0, 0]
    assert [row.done for row in planned(tmp_path, "phantoms.train=12").variants] == [0, 0, 0]


def test_each_network_is_timed_once_as_it_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timed = []

    def initial(config: RunConfig) -> Segmenter:
        timed.append((config.model.encoder, config.training.precision))
        return initial_segmenter(config)

    monkeypatch.setattr("trustseg.training.run.initial_segmenter", initial)
    settings = ["model.depth=3", "model.dropout=0.1", "training.precision=bf16-mixed", "grid.training.seed=[0]"]
    planned(tmp_path, *settings, "grid.model.encoder=[resnet18, resnet34]", "grid.model.head=[beta, bernoulli]")
    assert timed == [("resnet18", "bf16-mixed"), ("resnet34", "bf16-mixed")]


def test_attacks_that_take_no_steps_or_their_own() -> None:
    assert passes_of_attack("pgd") == 20
    assert passes_of_attack("art:ProjectedGradientDescent", steps=5, restarts=2) == 10
    assert passes_of_attack("ensemble", preset="standard") == 511
    assert passes_of_attack("ensemble", preset="standard", evidential=True) == 811
    assert passes_of_attack("ensemble", preset="thorough") == pytest.approx(1511 + 5000 / 3)  # Square goes forward only
    assert passes_of_attack("square", steps=900) == pytest.approx(901 / 3)
    assert [passes_of_attack(name) for name in ("overconfidence", "deferral_aware")] == [60, 80]
