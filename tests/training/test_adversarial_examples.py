"""The attack inside a training step: every name, no image, and the divergence that needs no labels."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.evaluation.packs import small_segmenter
from tests.training.tiny import config, pack, use_tiny_networks
from torch import Tensor

from trustseg.attacks import training_attacks
from trustseg.data.resizing import IGNORED
from trustseg.losses import kl_divergence
from trustseg.training import train
from trustseg.training.adversarial_examples import attacked_images, budget_within, divergence_from
from trustseg.training.mixed_batch import MixedBatch, mixed_batch

IMAGES = torch.rand(3, 1, 9, 7, generator=torch.Generator().manual_seed(1))
MASKS = (IMAGES > 0.6).float()


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(2)


@pytest.mark.parametrize("head", ["bernoulli", "beta"])
@pytest.mark.parametrize("attack", training_attacks())
def test_every_attack_moves_within_its_reach_and_never_in_the_padding(attack: str, head: str) -> None:
    padding = torch.zeros_like(MASKS)
    padding[..., :2] = 1
    options = {"steps": 3, "objective": "cross_entropy", "generator": seeded()}
    for eps, masks in ((4 / 255, MASKS), (budget_within(0.1, padding), MASKS.where(padding == 0, float("nan")))):
        found = attacked_images(small_segmenter(head), IMAGES, masks, attack=attack, eps=eps, **options)  # type: ignore[arg-type]
        moved = (found - IMAGES).abs()
        assert (moved <= (3 if attack == "n_fgsm" else 1) * eps + 1e-6).all()
        assert moved.max() > 0
        assert not found.requires_grad
    nobody = attacked_images(small_segmenter(head), IMAGES[:0], MASKS[:0], attack=attack, eps=0.1, **options)  # type: ignore[arg-type]
    assert len(nobody) == 0


@pytest.mark.parametrize("attack", ["pgd", "free"])
def test_training_on_padded_images_leaves_the_padding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attack: str
) -> None:
    use_tiny_networks(monkeypatch)
    images = pack()
    images.images[:, :, :6] = 0
    images.masks[:, :, :6] = IGNORED
    mixed: list[tuple[Tensor, Tensor, Tensor]] = []

    def recorded(clean: Tensor, masks: Tensor, adversarial: Tensor, *, attacked: Tensor, **options: Any) -> MixedBatch:  # noqa: ANN401
        mixed.append((clean[attacked], masks[attacked], adversarial.detach()))
        return mixed_batch(clean, masks, adversarial, attacked=attacked, **options)

    monkeypatch.setattr("trustseg.training.module.mixed_batch", recorded)
    settings = ("data.fit=pad", "training.augment=true", "adversarial.selection=random", f"adversarial.attack={attack}")
    train(config(*settings, "adversarial.fraction=1"), images, tmp_path)
    assert any(len(clean) for clean, _, _ in mixed)
    for clean, masks, adversarial in mixed:
        assert torch.equal(clean[masks.isnan()], adversarial[masks.isnan()])


@pytest.mark.parametrize(("head", "kind"), [("bernoulli", "belief"), ("beta", "belief"), ("beta", "mean")])
@pytest.mark.parametrize("attack", ["pgd", "rs_fgsm"])
def test_the_divergence_rises_without_labels(head: str, kind: str, attack: str) -> None:
    segmenter = small_segmenter(head)
    objective = divergence_from(segmenter, IMAGES, kind=kind)  # type: ignore[arg-type]
    options = {"eps": 8 / 255, "steps": 3, "objective": objective}
    found, blind = (
        attacked_images(segmenter, IMAGES, masks, attack=attack, generator=seeded(), **options)  # type: ignore[arg-type]
        for masks in (MASKS, 1 - MASKS)
    )
    assert torch.equal(found, blind)
    noise = (IMAGES + 8 / 255 * (2 * torch.rand(IMAGES.shape, generator=seeded()) - 1)).clamp(0, 1)
    segmenter.eval()
    with torch.no_grad():
        clean, after, random = (segmenter.belief(images) for images in (IMAGES, found, noise))
    assert (kl_divergence(clean, after) > kl_divergence(clean, random)).all()
