"""Conditions that are measured together are measured as they are alone."""

import csv
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
from trustseg.evaluation.measuring import Cohort, cohort_of, ladders, measure
from trustseg.evaluation.predict import predict
from trustseg.evaluation.records import TABLES

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
    for room, expected in sizes.items():  # clean, fgsm, the ensemble, the toolbox, pgd, two severities
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


def test_a_cohort_gives_its_rows_in_order() -> None:
    pack, rows = pack_of(), np.array([6, 0, 3, 4])
    batches = list(cohort_of(pack, rows, device="cpu").batches(3))
    assert [len(cases) for _, _, cases in batches] == [3, 1]
    assert torch.equal(torch.cat([images for images, _, _ in batches]), torch.from_numpy(pack.images[rows]) / 255)
    assert torch.equal(torch.cat([masks for _, masks, _ in batches]), torch.from_numpy(pack.masks[rows]).float())
    assert [name for _, _, cases in batches for name in cases["name"]] == ["image6", "image0", "image3", "image4"]


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
