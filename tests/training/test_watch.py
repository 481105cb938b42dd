"""The watch over single-step training: what it sees, what it writes down, and that it changes nothing."""

import json
import math
from pathlib import Path

import polars as pl
import pytest
import torch
from tests.evaluation.packs import small_segmenter
from tests.training.tiny import config, pack, repeatable_metrics, same_weights
from torch import Tensor, nn

from trustseg.attacks import fgsm
from trustseg.metrics import dice
from trustseg.models import Segmenter
from trustseg.models.spec import SegmenterSpec
from trustseg.training import keeping, module, train
from trustseg.training.grad_align import gradient_alignment
from trustseg.training.watch import OVERFITTING_GAP, overfitted, watch

IMAGES = torch.rand(3, 1, 9, 7, generator=torch.Generator().manual_seed(1))
MASKS = (IMAGES > 0.6).float()


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(2)


class Pointwise(nn.Module):
    """Log-odds that are a function of the grey level alone."""

    def __init__(self, steepness: float) -> None:
        super().__init__()
        self.steepness = steepness

    def forward(self, images: Tensor) -> Tensor:
        return torch.sin(self.steepness * images) if self.steepness else images


def pointwise(steepness: float) -> Segmenter:
    return Segmenter(SegmenterSpec("unet", "resnet18", "bernoulli", size=32), Pointwise(steepness))


def test_the_gradient_of_a_linear_model_is_the_same_everywhere() -> None:
    """Up to the slope of the loss, which has one sign a pixel."""
    found = gradient_alignment(pointwise(0), IMAGES, MASKS, eps=4 / 255, generator=seeded())
    assert (found > 0.999).all()


def test_the_gradient_of_a_crumpled_model_is_not() -> None:
    found = gradient_alignment(pointwise(2000), IMAGES, MASKS, eps=8 / 255, generator=seeded())
    assert (found.abs() < 0.6).all()
    assert found.shape == (3,)


def test_no_gradient_no_alignment() -> None:
    segmenter = small_segmenter()
    nn.init.zeros_(segmenter.network[3].weight)  # type: ignore[index]  # the last layer
    found = gradient_alignment(segmenter, IMAGES, MASKS, eps=4 / 255, generator=seeded())
    assert found.tolist() == [0, 0, 0]


@pytest.mark.parametrize("head", ["bernoulli", "beta"])
def test_what_is_seen(head: str) -> None:
    segmenter = small_segmenter(head).eval()
    masks = MASKS.clone()
    masks[0] = 0
    found = watch(segmenter, IMAGES, masks, eps=8 / 255, generator=seeded())
    assert set(found) == {"fgsm_dice", "pgd2_dice", "gradient_alignment"}
    attacked = fgsm(segmenter, IMAGES, masks, eps=8 / 255)
    expected = dice(segmenter.belief(attacked).log_odds > 0, masks)
    torch.testing.assert_close(found["fgsm_dice"], expected, equal_nan=True)
    assert all(values.shape == (3,) and not values.requires_grad for values in found.values())


@pytest.mark.parametrize(
    ("single", "double", "expected"),
    [(0.9, 0.1, True), (0.5, 0.5 - OVERFITTING_GAP / 2, False), (0.1, 0.9, False), (math.nan, 0.1, False)],
)
def test_the_sign(single: float, double: float, expected: bool) -> None:
    assert overfitted(single, double) is expected


# --- in a training ---------------------------------------------------------------------------------------------------

COLUMNS = {
    "validation_fgsm_dice",
    "validation_pgd2_dice",
    "validation_gradient_alignment",
    "validation_catastrophic_overfitting",
}


@pytest.mark.parametrize(
    ("settings", "watched"),
    [
        (["adversarial.attack=fgsm"], True),
        (["adversarial.attack=n_fgsm"], True),
        (["adversarial.attack=pgd"], False),
        (["adversarial.selection=none"], False),
        (["training.watch=false"], False),
    ],
)
def test_single_steps_are_watched(tmp_path: Path, settings: list[str], watched: bool) -> None:
    train(config("training.epochs=2", *settings), pack(), tmp_path)
    table = pl.read_csv(tmp_path / "metrics.csv")
    assert (set(table.columns) >= COLUMNS) == watched
    assert not (tmp_path / "warnings.json").exists()


def test_at_most_so_many_images_are_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def counting(segmenter: Segmenter, images: Tensor, masks: Tensor, **options: object) -> dict[str, Tensor]:
        seen.append(len(images))
        return {"fgsm_dice": torch.zeros(len(images)), "pgd2_dice": torch.zeros(len(images))}

    monkeypatch.setattr(module, "watch", counting)
    monkeypatch.setattr(module, "WATCHED_IMAGES", 3)
    train(config("training.epochs=1", "training.batch_size=2"), pack(train=20), tmp_path)
    assert seen == [2, 1]  # of four validation images


def test_watching_changes_no_weights(tmp_path: Path) -> None:
    one = train(config("training.epochs=2"), pack(), tmp_path / "one")
    other = train(config("training.epochs=2", "training.watch=false"), pack(), tmp_path / "other")
    assert same_weights(one, other)
    seen = repeatable_metrics(tmp_path / "one")
    assert seen.drop(*COLUMNS).equals(repeatable_metrics(tmp_path / "other"))


def test_overfitting_is_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    epochs = iter([False, True, True])
    monkeypatch.setattr(keeping, "overfitted", lambda single, double: next(epochs))
    train(config(), pack(), tmp_path)
    assert json.loads((tmp_path / "warnings.json").read_text()) == {"catastrophic_overfitting": [1, 2]}
    assert pl.read_csv(tmp_path / "metrics.csv")["validation_catastrophic_overfitting"].to_list() == [0, 1, 1]
