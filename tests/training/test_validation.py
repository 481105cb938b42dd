"""Means of a validation by hand, the score, and the watch over single-step training, which changes nothing."""

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
from trustseg.training import checkpointing, module, train
from trustseg.training.grad_align import gradient_alignment
from trustseg.training.validation import OVERFITTING_GAP, overfitted, validated, validation_means, watch

NAN = math.nan
IMAGES = torch.rand(3, 1, 9, 7, generator=torch.Generator().manual_seed(1))
MASKS = (IMAGES > 0.6).float()


def batch(rows: list[int], clean: list[float], robust: list[float], **others: list[float]) -> dict[str, Tensor]:
    values = {"dice": clean, "robust_dice": robust, **others}
    return {"rows": torch.tensor(rows)} | {name: torch.tensor(found) for name, found in values.items()}


def test_means_over_batches_without_what_is_undefined() -> None:
    found = [batch([0, 1], [1.0, NAN], [0.5, 0.1], extra=[0.3, 0.5]), batch([2], [0.0], [0.0])]
    means = validation_means(found, monitor="clean")
    expected = {"validation_dice": 0.5, "validation_robust_dice": 0.2, "validation_extra": 0.4, "validation_score": 0.5}
    assert {name: float(mean) for name, mean in means.items()} == pytest.approx(expected)
    assert validation_means([batch([0], [NAN], [0.5])], monitor="both")["validation_score"].isnan()


@pytest.mark.parametrize(("monitor", "score"), [("clean", 0.8), ("robust", 0.2), ("both", 0.5), ("last", 0.5)])
def test_the_score(monitor: str, score: float) -> None:
    found = validation_means([batch([0], [0.8], [0.2])], monitor=monitor)  # type: ignore[arg-type]  # all kinds
    assert float(found["validation_score"]) == pytest.approx(score)


def test_two_processes_give_what_one_does() -> None:
    """Of three images each process gets two, so that one comes twice; one process alone has a defined value."""
    clean, robust = {0: 0.9, 1: NAN, 2: 0.3}, {0: 0.6, 1: 0.2, 2: 0.1}
    parts = [batch(rows, [clean[r] for r in rows], [robust[r] for r in rows]) for rows in ([0, 2], [1, 0])]

    names = iter(parts[1])

    def gather(mine: Tensor) -> Tensor:
        name = next(names)
        torch.testing.assert_close(mine, parts[1][name], equal_nan=True)
        return torch.stack([part[name] for part in parts])

    whole = validation_means([batch([0, 1, 2], list(clean.values()), list(robust.values()))], monitor="both")
    torch.testing.assert_close(validation_means([parts[1]], monitor="both", gather=gather), whole)


def test_dice_clean_and_attacked() -> None:
    segmenter = small_segmenter().train()
    images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    masks = (images > 0.6).float()
    masks[0] = 0
    found = validated(segmenter, images, masks, eps=8 / 255, steps=2, generator=torch.Generator().manual_seed(2))
    expected = dice(segmenter.belief(images).log_odds > 0, masks)
    torch.testing.assert_close(found["dice"], expected, equal_nan=True)
    assert ((found["robust_dice"] >= 0) & (found["robust_dice"] <= 1))[1:].all()  # an attack may fail to do harm
    assert segmenter.training
    still = validated(segmenter, images, masks, eps=0.0, steps=1, generator=torch.Generator())
    torch.testing.assert_close(still["robust_dice"], still["dice"], equal_nan=True)
    noise = torch.linspace(-1, 1, images.numel()).view_as(images)  # not clipped
    noisy = validated(segmenter, images, masks, eps=0.0, steps=1, generator=torch.Generator(), noise=noise)
    expected = dice(segmenter.belief(images + noise).log_odds > 0, masks)
    torch.testing.assert_close(noisy, {"dice": expected, "robust_dice": expected}, equal_nan=True)


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
    found = gradient_alignment(pointwise(0), IMAGES, MASKS, eps=4 / 255, generator=torch.Generator().manual_seed(2))
    assert (found > 0.999).all()


def test_the_gradient_of_a_crumpled_model_is_not() -> None:
    found = gradient_alignment(pointwise(2000), IMAGES, MASKS, eps=8 / 255, generator=torch.Generator().manual_seed(2))
    assert (found.abs() < 0.6).all()
    assert found.shape == (3,)


@pytest.mark.parametrize("head", ["bernoulli", "beta"])
def test_what_is_seen(head: str) -> None:
    segmenter = small_segmenter(head).eval()
    masks = MASKS.clone()
    masks[0] = 0
    found = watch(segmenter, IMAGES, masks, eps=8 / 255, generator=torch.Generator().manual_seed(2))
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
    monkeypatch.setattr(checkpointing, "overfitted", lambda single, double: next(epochs))
    train(config(), pack(), tmp_path)
    assert json.loads((tmp_path / "warnings.json").read_text()) == {"catastrophic_overfitting": [1, 2]}
    assert pl.read_csv(tmp_path / "metrics.csv")["validation_catastrophic_overfitting"].to_list() == [0, 1, 1]
