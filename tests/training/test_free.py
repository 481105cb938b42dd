"""Free adversarial training: its perturbation by hand, a whole training against algorithm 1, and what it refuses."""

import copy
from pathlib import Path

import pytest
import torch
from tests.training.tiny import config, pack, same_weights, use_tiny_networks
from torch import Tensor, nn

from trustseg.errors import ConfigError
from trustseg.losses import segmentation_loss
from trustseg.training import module, train
from trustseg.training.adversarial_examples import FreePerturbation

EPS = 8 / 255
FREE = ("adversarial.attack=free", "adversarial.selection=random", "adversarial.fraction=1")
AT_ONCE = ("adversarial.warmup_epochs=0", "adversarial.ramp_epochs=0", "training.monitor=last", "training.watch=false")


def grow(free: FreePerturbation, images: Tensor, slope: Tensor, *, eps: float = EPS) -> Tensor:
    """Take a step on a loss of this slope and return what it was taken on."""
    applied = free.applied(images, eps=eps)
    (slope * applied).sum().backward()  # type: ignore[no-untyped-call]
    free.advance()
    return applied.detach()


def test_the_perturbation_by_hand() -> None:
    free, images = FreePerturbation(), torch.full((2, 1, 1, 3), 0.5)
    slope = torch.tensor([1.0, -2.0, 0.0]).expand(2, 1, 1, 3)
    moved = EPS * slope.sign()
    torch.testing.assert_close(grow(free, images, slope), images)
    torch.testing.assert_close(grow(free, images, slope), images + moved)
    torch.testing.assert_close(grow(free, images, -slope), images + moved)  # it stayed in the ball
    torch.testing.assert_close(grow(free, 1 - images, slope), 1 - images)  # back to 0, and on to other images
    torch.testing.assert_close(free.applied(images[:1], eps=EPS / 2).detach(), (images + moved / 2)[:1])
    free.reset()
    torch.testing.assert_close(free.applied(images, eps=EPS).detach(), images)


def test_without_a_backward_pass_nothing_moves() -> None:
    free, images = FreePerturbation(), torch.full((1, 1, 2, 2), 0.5)
    free.advance()
    free.applied(images, eps=EPS)
    free.advance()
    torch.testing.assert_close(free.applied(images, eps=EPS).detach(), images)


class Plain(nn.Sequential):
    """A network without normalisation or dropout."""

    def __init__(self, encoder: str, *, channels: int, outputs: int) -> None:
        super().__init__(nn.Conv2d(channels, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, outputs, 3, padding=1))


def test_a_training_is_algorithm_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written out by hand: each batch three times, the perturbation carried on, weights moved by every pass."""
    use_tiny_networks(monkeypatch, Plain)
    settings = (*FREE, *AT_ONCE, "model.head=bernoulli", "training.epochs=1", "training.augment=false")
    seen: list[tuple[Tensor, Tensor]] = []
    started: dict[str, Tensor] = {}

    def watched(batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        seen.append((batch["images"].float() / 255, batch["masks"].float()))
        return seen[-1]

    class Started(module.SegmentationModule):
        def on_train_start(self) -> None:
            started.update({name: value.clone() for name, value in self.segmenter.state_dict().items()})

    monkeypatch.setattr(module, "as_images", watched)
    monkeypatch.setattr("trustseg.training.run.SegmentationModule", Started)
    run = config(*settings, "adversarial.replays=3", "adversarial.eps=8/255", "training.weight_decay=0")
    trained = train(run, pack(), tmp_path)
    steps = seen[:6]
    assert torch.equal(steps[0][0], steps[2][0])
    assert not torch.equal(steps[2][0], steps[3][0])

    segmenter = copy.deepcopy(trained).train()
    segmenter.load_state_dict(started)
    optimizer = torch.optim.AdamW(segmenter.parameters(), lr=0.01 / 3, weight_decay=0)  # a third in the first epoch
    carried = torch.zeros_like(steps[0][0])
    for images, masks in steps:
        carried.requires_grad_()
        belief = segmenter.belief((images + carried).clamp(0, 1))
        loss = segmentation_loss(belief, masks, data_term="binary_cross_entropy").mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        assert carried.grad is not None
        carried = (carried + EPS * carried.grad.sign()).detach().clamp(-EPS, EPS)
        torch.nn.utils.clip_grad_norm_(segmenter.parameters(), 5)
        optimizer.step()
    for name, value in trained.state_dict().items():
        torch.testing.assert_close(value, segmenter.state_dict()[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("head", ["bernoulli", "beta"])
def test_once_and_without_a_budget_it_is_plain_training(tmp_path: Path, head: str) -> None:
    shared = (*AT_ONCE, f"model.head={head}", "training.epochs=2", "adversarial.eps=0")
    free = train(config(*shared, *FREE, "adversarial.replays=1"), pack(), tmp_path / "free")
    plain = train(config(*shared, "adversarial.selection=none"), pack(), tmp_path / "plain")
    assert same_weights(free, plain)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("adversarial.fraction=0.5", "set fraction=1"),
        ("adversarial.selection=uncertain", "set selection=random"),
        ("adversarial.mode=append", "set mode=replace"),
        ("adversarial.objective=margin", "set objective=cross_entropy"),
        ("adversarial.pixel_weight=entropy", "set pixel_weight=none"),
        ("adversarial.weight_perturbation=0.01", "set weight_perturbation=0"),
        ("adversarial.grad_align=0.2", "set grad_align=0"),
        ("adversarial.fraction_start=0.5", "set fraction_start="),
        ("training.accumulate=2", "training.accumulate=1"),
    ],
)
def test_what_does_not_go_together(setting: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config(*FREE, setting)
