"""Conditions that are measured together are measured as they are alone."""

import csv
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests import fake
from tests.evaluation.packs import pack_of, small_segmenter

from trustseg.attacks import ATTACKS, UNCERTAINTY_ATTACKS
from trustseg.config import AttackConfig, EvaluationConfig
from trustseg.data import write_pack
from trustseg.data.intensity import IntensityScale
from trustseg.evaluation.conditions import Deployed, conditions_of
from trustseg.evaluation.measuring import Cohort, cohort_of, cost_of, ladders, measure
from trustseg.evaluation.predict import predict
from trustseg.evaluation.records import TABLES
from trustseg.models import DeepEnsemble

LADDER = (1 / 255, 4 / 255, 16 / 255)
DEPLOYED = Deployed("entropy", "mean", threshold=0.4, median_dice=0.5)
DRAWS_NOTHING = ("fgsm", "bim", "mi_fgsm", *UNCERTAINTY_ATTACKS)


def config_of(*attacks: AttackConfig, **settings: object) -> EvaluationConfig:
    return EvaluationConfig(attacks=attacks, measures=("entropy",), aggregations=("mean",), **settings)


def cohort(rows: list[int]) -> Cohort:
    return cohort_of(pack_of(), np.array(rows), device="cpu")


def test_what_belongs_together() -> None:
    config = config_of(
        AttackConfig(name="fgsm", eps=LADDER),
        AttackConfig(name="ensemble", eps=LADDER),
        AttackConfig(name="art:FastGradientMethod", eps=LADDER),
        AttackConfig(name="pgd", eps=LADDER[:1]),
        shifts=("gamma_up",),
        severities=(1, 2),
    )
    conditions = conditions_of(config)
    sizes = {0: [1] * 4 + [3] + [1] * 6, 1: [1] * 4 + [3] + [1] * 6, 2: [1, 2, 1, 3] + [1] * 6, 9: [1, 3, 3] + [1] * 6}
    for room, expected in sizes.items():  # clean, fgsm, the suite, the toolbox, pgd, two severities
        found = ladders(conditions, room=room)
        assert [len(group) for group in found] == expected
        assert [condition for group in found for condition in group] == conditions


@pytest.mark.parametrize("name", DRAWS_NOTHING)
def test_budgets_in_one_batch_find_what_each_finds_alone(name: str) -> None:
    few = {} if name == "fgsm" else {"steps": 3}
    config = config_of(AttackConfig(name=name, eps=LADDER, **few), batch_size=9)
    _, *budgets = conditions_of(config)
    model = small_segmenter().eval()
    together = measure(model, cohort([4, 5, 6]), budgets, config, seed=3, deployed=DEPLOYED)
    for condition in budgets:
        alone = measure(model, cohort([4, 5, 6]), [condition], config, seed=3, deployed=DEPLOYED)[condition.slug]
        assert all(together[condition.slug][table].equals(alone[table]) for table in TABLES)


@pytest.mark.parametrize("name", sorted(set(ATTACKS) - set(DRAWS_NOTHING)))
def test_attacks_that_draw_keep_each_budget_in_one_batch(name: str) -> None:
    few = {"steps": 3} if "steps" in ATTACKS[name].options else {}
    config = config_of(AttackConfig(name=name, eps=LADDER, **few), batch_size=9)
    _, *budgets = conditions_of(config)
    found = measure(small_segmenter().eval(), cohort([4, 5, 6]), budgets, config, seed=3)
    for condition in budgets:
        sizes = found[condition.slug]["records"]["linf"].to_numpy()
        assert (sizes <= condition.eps * (1 + 1e-5)).all()
        assert sizes.max() > 0


def test_padded_images_are_measured_without_their_padding(tmp_path: Path) -> None:
    base = fake.qata(tmp_path / "data") / "QaTa-COV19-v2" / "Test Set"
    pack = write_pack(tmp_path / "data", tmp_path / "pack", size=32, fit="pad")  # films of 20 x 16, controls of 30 x 30
    config, model = config_of(AttackConfig(name="pgd", eps=(4 / 255,), steps=2)), small_segmenter().eval()
    clean, attacked = conditions_of(config)
    cohort = cohort_of(pack, np.arange(len(pack)), device="cpu")
    tables = measure(model, cohort, [clean], config, seed=0)[clean.slug]
    rows = {row["image"]: row for row in tables["records"].rows(named=True)}
    assert {row["reference"]: row["pixels"] for row in rows.values()} == {"mask": 32 * 26, "control": 32 * 32}
    for name in fake.CONTROL:
        assert rows[name]["mask_px"] == 0
        assert rows[name]["dice"] is rows[name]["dice_native"] is None
    files = [base / "Images" / f"{name}.png" for name in fake.TEST]
    table = predict(model, files, tmp_path / "drawn", aggregation="mean", fit="pad", scale=IntensityScale(None))
    for row in csv.DictReader(table.read_text().splitlines()):
        assert float(row["uncertainty"]) == pytest.approx(rows[Path(row["image"]).stem]["u_entropy_mean"], rel=1e-4)
    for name in fake.TEST:
        drawn = np.asarray(Image.open(tmp_path / "drawn" / "masks" / f"{name}.png")) > 0
        mask = np.asarray(Image.open(base / "Ground-truths" / f"mask_{name}.png")) > 0
        expected = 2 * (drawn & mask).sum() / (drawn.sum() + mask.sum())
        assert rows[name]["dice_native"] == pytest.approx(expected)
        assert rows[name]["size"] == 32
    harmed = measure(model, cohort, [attacked], config, seed=0)[attacked.slug]["records"]
    assert harmed["dice_native"].null_count() == len(pack)
    assert (harmed["predicted_px"] <= harmed["pixels"]).all()


def test_the_first_batch_is_not_counted_and_the_median_of_three_is(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 99.0, 100.0, 104.0, 200.0, 202.0, 300.0, 350.0])  # batches of 99, 4, 2 and 50 seconds
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    cost = cost_of(DeepEnsemble([small_segmenter().eval() for _ in range(3)]), torch.rand(8, 1, 32, 32))
    assert cost == {
        "passes": 3,
        "seconds_per_image": 4.0 / 8,
        "timed_batch_size": 8,
        "timed_on": "cpu",
        "timed_threads": torch.get_num_threads(),
    }
