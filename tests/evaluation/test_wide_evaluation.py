"""What is measured besides attacks: shifts, other populations, and a deferral policy that attacks can aim at."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from tests.evaluation.packs import pack_of, small_segmenter

from trustseg.config import AttackConfig, EvaluationConfig
from trustseg.deferral import load_policy
from trustseg.errors import MissingFileError
from trustseg.evaluation import evaluate, measuring
from trustseg.evaluation.conditions import Deployed, PerturbedBatch, perturb
from trustseg.files import read_json
from trustseg.randomness import derived_generator
from trustseg.shifts import SHIFT_TABLE, shift_and_share

EPS = 8 / 255
TEST, VALIDATION = np.array([4, 5, 6], dtype=np.int64), np.array([0, 1, 2, 3], dtype=np.int64)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pictures without masks."""
    folder = tmp_path_factory.mktemp("elsewhere")
    rng = np.random.default_rng(0)
    for number in range(5):
        Image.fromarray(rng.integers(0, 255, (40, 40), dtype=np.uint8)).save(folder / f"scan{number}.png")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, elsewhere: Path) -> Path:
    config = EvaluationConfig(
        attacks=(
            AttackConfig(name="ensemble", eps=(EPS / 4, EPS / 2, EPS)),
            AttackConfig(name="deferral_aware", eps=(EPS,), steps=3),
            AttackConfig(name="overconfidence", eps=(EPS,), steps=3),
        ),
        shifts=("rotation", "gaussian_noise"),
        severities=(1, 5),
        populations={"elsewhere": str(elsewhere)},
        measures=("entropy",),
        aggregations=("max",),
        batch_size=2,
    )
    return evaluate(
        small_segmenter(), pack_of(), TEST, config, tmp_path_factory.mktemp("wide"), calibration_rows=VALIDATION
    )


@pytest.fixture(scope="module")
def records(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "records.parquet")


def test_every_condition_says_of_what_kind_it_is(records: pl.DataFrame) -> None:
    counts = {(kind, severity): count for kind, severity, count in records.group_by("kind", "severity").len().rows()}
    assert counts == {
        ("clean", 0): 3,
        ("attack", 0): 3 * 5,
        ("shift", 1): 3 * 2,
        ("shift", 5): 3 * 2,
        ("population", 0): 5,
    }


def test_other_images_have_scores_and_no_dice(folder: Path, records: pl.DataFrame) -> None:
    other = records.filter(kind="population")
    assert other["image"].to_list() == [f"scan{number}" for number in range(5)]
    assert other["dice"].is_null().all()
    assert other["u_entropy_max"].is_not_null().all()
    assert "elsewhere" not in set(pl.read_parquet(folder / "histograms.parquet")["condition"])


def test_the_policy_is_fitted_on_the_validation_images_alone(folder: Path, records: pl.DataFrame) -> None:
    policy, validation = load_policy(folder / "policy.json"), pl.read_parquet(folder / "validation.parquet")
    assert validation["image"].to_list() == [f"image{number}" for number in VALIDATION]
    assert set(validation["condition"]) == {"clean"}
    assert (policy.images, policy.patients) == (4, 3)
    assert policy.model == read_json(folder / "evaluation.json")["model"]
    assert policy.column == "u_epistemic_variance_soft_dice_confidence"
    assert policy.column in records.columns  # though neither is among the measures and aggregations


def test_a_good_prediction_is_one_above_the_median_of_the_validation_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []

    def spy(*arguments: Any, deployed: Deployed | None = None, **options: Any) -> PerturbedBatch:  # noqa: ANN401
        told.append(deployed and deployed.median_dice)
        return perturb(*arguments, deployed=deployed, **options)

    monkeypatch.setattr(measuring, "perturb", spy)
    attack = AttackConfig(name="rank_swap", eps=(EPS,), steps=1)
    config = EvaluationConfig(attacks=(attack,), measures=("entropy",), batch_size=1)
    evaluate(small_segmenter(), pack_of(), TEST, config, tmp_path, calibration_rows=VALIDATION)
    quality = 1 - pl.read_parquet(tmp_path / "validation.parquet")["harm"]
    assert told[-2 * len(TEST) :] == pytest.approx([quality.median()] * 2 * len(TEST))  # clean and attacked, one by one


def test_a_population_that_is_not_there(tmp_path: Path) -> None:
    config = EvaluationConfig(attacks=(), populations={"lateral": str(tmp_path / "nowhere")})
    with pytest.raises(MissingFileError, match="nowhere"):
        evaluate(small_segmenter(), pack_of(), TEST, config, tmp_path)


def test_how_much_of_the_lesion_a_shift_hides(tmp_path: Path) -> None:
    config = EvaluationConfig(attacks=(), shifts=("collimation", "jpeg"), severities=(1, 5), measures=("entropy",))
    evaluate(small_segmenter(), pack_of(), TEST, config, tmp_path, seed=4)
    found = pl.read_parquet(tmp_path / "records.parquet")
    assert found.filter(kind="clean")["covered"].null_count() == 3
    for severity in (1, 5):
        generator = derived_generator(4, "evaluation", "collimation", "0.000000", 0)
        masks = torch.from_numpy(pack_of().masks[TEST].astype(np.float32))
        hidden = shift_and_share("collimation", masks, masks, severity, generator)[2]
        rows = found.filter(condition=f"collimation_{severity}")
        assert rows["covered"].to_list() == pytest.approx(hidden.tolist(), nan_ok=True)
        assert rows["covered"].is_nan().to_list() == [False, True, False]  # the second mask is empty
        assert found.filter(condition=f"jpeg_{severity}")["covered"].drop_nans().to_list() == [0.0, 0.0]
    assert float(found.filter(condition="collimation_5")["covered"].fill_nan(0).max()) > 0.1  # type: ignore[arg-type]


def test_severities_of_a_shift_are_the_same_change_milder_or_stronger(records: pl.DataFrame) -> None:
    """The noise is drawn once: five times the strength is eight times the deviation, image by image."""
    mild, strong = (records.filter(condition=f"gaussian_noise_{severity}")["l2"].to_numpy() for severity in (1, 5))
    low, high = (SHIFT_TABLE["gaussian_noise"][severity - 1] for severity in (1, 5))
    ratios = strong / mild
    assert np.ptp(ratios) < 0.1 * high / low  # only what is cut off at black and white differs
