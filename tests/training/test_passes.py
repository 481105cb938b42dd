"""Passes told from settings alone, against those that are counted."""

import pytest
import torch
from tests.evaluation.packs import small_segmenter
from tests.training.test_cost import IMAGES, MASKS
from tests.training.tiny import config

from trustseg.attacks import training_attacks
from trustseg.training.attacking import attacked_images
from trustseg.training.cost import PassCounter
from trustseg.training.passes import Passes, epoch_passes


@pytest.mark.parametrize("attack", [*sorted(training_attacks().keys() - {"staged"})])
@pytest.mark.parametrize("steps", [1, 3])
def test_every_attack_takes_the_passes_that_are_planned(attack: str, steps: int) -> None:
    options = [f"adversarial.attack={attack}", f"adversarial.steps={steps}", "adversarial.selection=random"]
    run = config(*options, "adversarial.warmup_epochs=0", "adversarial.fraction=1", "training.batch_size=3")
    segmenter = small_segmenter()
    counter = PassCounter(segmenter.network)
    how = {"eps": 4 / 255, "objective": "cross_entropy", "generator": torch.Generator().manual_seed(2)}
    attacked_images(segmenter, IMAGES, MASKS, attack=attack, steps=steps, **how)  # type: ignore[arg-type]  # all kinds
    assert epoch_passes(run, 3, epoch=0) == Passes(3 + counter.forward, 3 + counter.backward)


def test_planned_passes_follow_the_schedule() -> None:
    schedule = ["adversarial.fraction_start=0.25", "adversarial.fraction=1", "adversarial.ramp_epochs=3"]
    run = config("training.epochs=5", "adversarial.selection=random", *schedule)
    assert [epoch_passes(run, 8, epoch=epoch).backward for epoch in range(5)] == [8, 10, 12, 14, 16]
    assert epoch_passes(config("adversarial.eps=0"), 8, epoch=2) == Passes(8, 8)
    assert epoch_passes(run, 3, epoch=0) == Passes(3, 3)  # fewer images than a batch holds
    assert epoch_passes(run, 0, epoch=0) == Passes(0, 0)


def test_the_work_of_passes() -> None:
    assert Passes(3, 0).work == 1
    assert (Passes(1, 1) + Passes(2, 0) * 2).work == pytest.approx(1 + 4 / 3)


def test_passes_add_up_and_multiply() -> None:
    one, other = Passes(3, 1), Passes(2, 5)
    assert one + other == other + one == Passes(5, 6)
    assert one * 4 == one + one + one + one == Passes(12, 4)
    assert one * 0 == Passes() == Passes(0, 0)
    assert (one + other).work == pytest.approx(one.work + other.work)
    assert Passes(6, 6).work == 6  # a pass forward and backward counts as one


WARM = ["adversarial.warmup_epochs=2", "adversarial.ramp_epochs=0", "training.batch_size=4"]


# By hand, of a batch of four: scores, the attack on the chosen ones, the step.
@pytest.mark.parametrize(
    ("settings", "forward", "backward"),
    [
        (["adversarial.selection=random", "adversarial.fraction=0.25"], 1 + 4, 1 + 4),
        (["adversarial.selection=random", "adversarial.fraction=0.01"], 1 + 4, 1 + 4),  # at least one image
        (["adversarial.selection=random", "adversarial.attack=square", "adversarial.steps=5"], 2 * 6 + 4, 4),
        (["adversarial.selection=uncertain", "adversarial.scores=fresh"], 4 + 2 + 4, 2 + 4),
        (["adversarial.selection=uncertain", "adversarial.scores=memory"], 2 + 4, 2 + 4),
        (["adversarial.selection=random", "adversarial.mode=append"], 2 + 6, 2 + 6),
        (["adversarial.selection=threshold", "adversarial.threshold=0.1"], 4 + 2 + 4, 2 + 4),  # as if by fraction
        (["adversarial.selection=random", "adversarial.grad_align=0.1"], 2 * (1 + 2) + 4, 2 * (1 + 6) + 4),
        (["adversarial.selection=random", "adversarial.weight_perturbation=0.1"], 2 * 2 + 4, 2 * 2 + 4),
    ],
)
def test_passes_of_a_batch_by_hand(settings: list[str], forward: int, backward: int) -> None:
    run = config(*WARM, *settings)
    assert epoch_passes(run, 4, epoch=1) == Passes(4, 4)  # the warm-up attacks nobody
    assert epoch_passes(run, 4, epoch=2) == Passes(forward, backward)
    assert epoch_passes(run, 11, epoch=2) == Passes(2 * forward, 2 * backward)  # a last batch of three is left out
