"""The weights move as far as asked, uphill, and come back bit for bit."""

from pathlib import Path

import pytest
import torch
from tests.evaluation.packs import small_segmenter
from tests.training.tiny import config, pack, same_weights

from trustseg.beliefs import Belief
from trustseg.losses import binary_cross_entropy
from trustseg.models import Segmenter
from trustseg.training import module, train
from trustseg.training.weight_perturbation import perturb, restore

IMAGES = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
MASKS = (IMAGES > 0.6).float()


def loss(segmenter: Segmenter) -> float:
    segmenter.eval()
    with torch.no_grad():
        return float(binary_cross_entropy(segmenter.belief(IMAGES), MASKS).mean())


@pytest.mark.parametrize("head", ["bernoulli", "beta"])
@pytest.mark.parametrize("size", [0.001, 0.01])
def test_weights_move_uphill_by_their_share(head: str, size: float) -> None:
    segmenter = small_segmenter(head).train()
    untouched, before_loss = small_segmenter(head), loss(small_segmenter(head))
    before = perturb(segmenter, IMAGES, MASKS, loss=binary_cross_entropy, size=size)
    assert segmenter.training
    assert set(before) == {"network.0.weight", "network.3.weight"}  # no bias, no normalisation
    for name, weight in segmenter.named_parameters():
        moved = (weight - dict(untouched.named_parameters())[name]).norm()
        expected = size * before[name].norm() if name in before else torch.zeros(())
        torch.testing.assert_close(moved, expected, rtol=1e-2, atol=1e-6)
        assert weight.grad is None
    assert all(torch.equal(a, b) for a, b in zip(segmenter.buffers(), untouched.buffers(), strict=True))
    assert loss(segmenter) > before_loss
    restore(segmenter, before)
    assert same_weights(segmenter, untouched)


def test_the_gradient_is_that_of_the_moved_weights_and_the_step_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Undone between the backward pass and the optimiser: no step starts from weights that were moved."""
    lengths: list[float] = []
    sound: list[bool] = []

    def watched(segmenter: Segmenter, *tensors: torch.Tensor, **options: object) -> dict[str, torch.Tensor]:
        before = perturb(segmenter, *tensors, **options)  # type: ignore[arg-type]
        lengths.append(sum(float((segmenter.state_dict()[n] - w).norm()) for n, w in before.items()))
        return before

    def undone(segmenter: Segmenter, before: dict[str, torch.Tensor]) -> None:
        restore(segmenter, before)
        sound.append(all(torch.equal(segmenter.state_dict()[n], w) for n, w in before.items()))

    monkeypatch.setattr(module, "perturb", watched)
    monkeypatch.setattr(module, "restore", undone)
    two = ("training.epochs=2", "training.monitor=last")
    moved = train(config(*two, "adversarial.weight_perturbation=0.01"), pack(), tmp_path / "one")
    assert len(lengths) == 2  # none in the warm-up
    assert all(length > 0 for length in lengths)
    assert all(sound)
    assert not same_weights(moved, train(config(*two), pack(), tmp_path / "other"))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_half_precision_sees_the_moved_weights(precision: str) -> None:
    """Copies that autocast made of the old weights must not serve the step."""
    segmenter = small_segmenter().eval()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
        clean = seen(segmenter.belief(IMAGES))
        perturb(segmenter, IMAGES, MASKS, loss=binary_cross_entropy, size=0.1)
        assert not torch.equal(seen(segmenter.belief(IMAGES)), clean)


def seen(belief: Belief) -> torch.Tensor:
    return belief.probability.detach()
