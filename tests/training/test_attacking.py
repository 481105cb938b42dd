"""The attack inside a training step: every name, no image, and the divergence that needs no labels."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.evaluation.packs import small_segmenter
from tests.training.tiny import config, pack, use_tiny_networks
from torch import Tensor

from trustseg.attacks import ATTACKS, training_attacks
from trustseg.data.resizing import IGNORED
from trustseg.losses import kl_divergence
from trustseg.training import train
from trustseg.training.adversarial import MixedBatch, mixed_batch
from trustseg.training.attacking import attacked_images, budget_within, divergence_from

IMAGES = torch.rand(3, 1, 9, 7, generator=torch.Generator().manual_seed(1))
MASKS = (IMAGES > 0.6).float()


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(2)


@pytest.mark.parametrize("head", ["bernoulli", "beta"])
@pytest.mark.parametrize("attack", training_attacks())
def test_every_attack_moves_within_its_reach(attack: str, head: str) -> None:
    segmenter, eps = small_segmenter(head), 4 / 255
    found = attacked_images(
        segmenter,
        IMAGES,
        MASKS,
        attack=attack,
        eps=eps,
        steps=3,
        objective="cross_entropy",
        generator=seeded(),
    )
    moved = (found - IMAGES).abs().max()
    assert 0 < moved <= (3 if attack == "n_fgsm" else 1) * eps + 1e-6
    assert not found.requires_grad


@pytest.mark.parametrize("attack", training_attacks())
def test_no_attack_changes_the_padding(attack: str) -> None:
    padding = torch.zeros_like(MASKS)
    padding[..., :2] = 1
    budget = budget_within(0.1, padding)
    masks = MASKS.where(padding == 0, float("nan"))
    found = attacked_images(
        small_segmenter(),
        IMAGES,
        masks,
        attack=attack,
        eps=budget,
        steps=2,
        objective="cross_entropy",
        generator=seeded(),
    )
    assert torch.equal(found[..., :2], IMAGES[..., :2])
    assert not torch.equal(found, IMAGES)


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


def test_the_names() -> None:
    assert set(training_attacks()) == {*ATTACKS, "n_fgsm"}


def test_nobody_to_attack() -> None:
    options = {"eps": 0.1, "steps": 1, "objective": "cross_entropy", "generator": seeded()}
    found = attacked_images(small_segmenter(), IMAGES[:0], MASKS[:0], attack="pgd", **options)  # type: ignore[arg-type]
    assert found.shape == (0, 1, 9, 7)


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


def test_the_divergence_leaves_the_model_as_found() -> None:
    segmenter = small_segmenter().train()
    before = {name: value.clone() for name, value in segmenter.state_dict().items()}
    divergence_from(segmenter, IMAGES, kind="belief")
    assert segmenter.training
    assert all(torch.equal(value, before[name]) for name, value in segmenter.state_dict().items())
