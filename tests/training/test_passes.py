"""Passes told from settings alone, against those that are counted."""

import pytest
import torch
from tests.evaluation.packs import small_segmenter
from tests.training.test_cost import IMAGES, MASKS
from tests.training.tiny import config

from trustseg.attacks import training_attacks
from trustseg.training.adversarial_examples import attacked_images
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


def test_passes_add_up_and_multiply() -> None:
    assert Passes(3, 1) + Passes(2, 5) == Passes(5, 6)
    assert Passes(3, 1) * 4 == Passes(12, 4)
    assert (Passes(3, 0).work, Passes(6, 6).work) == (1, 6)  # a pass forward and backward counts as one


def test_edges() -> None:
    assert epoch_passes(config("adversarial.eps=0"), 8, epoch=2) == Passes(8, 8)
    run = config("adversarial.selection=random")
    assert epoch_passes(run, 3, epoch=0) == Passes(3, 3)  # fewer images than a batch holds
    assert epoch_passes(run, 0, epoch=0) == Passes(0, 0)


WARM = ["adversarial.warmup_epochs=2", "adversarial.ramp_epochs=0", "training.batch_size=4"]


# By hand, of a batch of four: scores, the attack on the chosen ones, the step.
@pytest.mark.parametrize(
    ("settings", "forward", "backward"),
    [
        (["adversarial.selection=random", "adversarial.fraction=0.01"], 1 + 4, 1 + 4),  # at least one image
        (["adversarial.selection=random", "adversarial.attack=square", "adversarial.steps=5"], 2 * 6 + 4, 4),
        (["adversarial.selection=threshold", "adversarial.threshold=0.1"], 4 + 2 + 4, 2 + 4),  # as if by fraction
    ],
)
def test_passes_of_a_batch_by_hand(settings: list[str], forward: int, backward: int) -> None:
    run = config(*WARM, *settings)
    assert epoch_passes(run, 4, epoch=1) == Passes(4, 4)  # the warm-up attacks nobody
    assert epoch_passes(run, 4, epoch=2) == Passes(forward, backward)
    assert epoch_passes(run, 11, epoch=2) == Passes(2 * forward, 2 * backward)  # a last batch of three is left out
