"""The mixed batch against batches worked by hand; the model is left as it was found."""

from typing import Literal

import pytest
import torch
from tests.training.tiny import network, same_weights
from torch import Tensor, nn

from trustseg.errors import ConfigError
from trustseg.losses import binary_cross_entropy
from trustseg.models import Segmenter
from trustseg.models.spec import SegmenterSpec
from trustseg.selection import SELECTIONS
from trustseg.training import MixedBatch, choose, image_scores, mixed_batch
from trustseg.training.adversarial_examples import attacked_images


class Contrast(nn.Module):
    """The log odds are the grey levels: an image of grey 0.5 is most uncertain, black and white ones are certain."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        return 4 * self.scale * images  # the segmenter has already taken 0.5 off and divided by 0.25


def contrast() -> Segmenter:
    return Segmenter(SegmenterSpec("unet", "resnet18", "bernoulli", size=32), Contrast())


def small(head: str) -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(
        SegmenterSpec("unet", "resnet18", head, size=32), network("", channels=1, outputs=1 + (head == "beta"))
    )


def greys(*levels: float, height: int = 5, width: int = 7) -> Tensor:
    return torch.tensor(levels).view(-1, 1, 1, 1).expand(-1, 1, height, width).clone()


def made(
    segmenter: Segmenter,
    images: Tensor,
    masks: Tensor,
    *,
    selection: str = "uncertain",
    fraction: float = 0.5,
    threshold: float | None = None,
    attack: str = "fgsm",
    mode: Literal["replace", "append"] = "replace",
    weight: float = 1.0,
) -> MixedBatch:
    """Score, choose, attack, mix, as a training step does."""
    generator = torch.Generator().manual_seed(3)
    scores = image_scores(segmenter, images, masks, selection=selection, measure="entropy", aggregation="mean")
    chosen = choose(scores, selection=selection, fraction=fraction, threshold=threshold, generator=generator)
    adversarial = attacked_images(
        segmenter,
        images[chosen],
        masks[chosen],
        attack=attack,
        eps=4 / 255,
        steps=2,
        objective="cross_entropy",
        generator=generator,
    )
    return mixed_batch(images, masks, adversarial, attacked=chosen, mode=mode, weight=weight)


IMAGES = greys(0.3, 0.5, 0.9, 0.45, 0.0)
MASKS = torch.zeros_like(IMAGES)
MASKS[:, :, :2] = 1


@pytest.mark.parametrize(("mode", "size"), [("replace", 5), ("append", 8)])
def test_the_most_uncertain_images_are_attacked(mode: Literal["replace", "append"], size: int) -> None:
    mixed = made(contrast(), IMAGES, MASKS, mode=mode, weight=0.25)
    assert mixed.attacked.tolist() == [0, 1, 3]  # half of five, rounded up
    clean = 2 if mode == "replace" else 5
    assert mixed.images.shape == (size, 1, 5, 7)
    assert mixed.masks.shape == (size, 1, 5, 7)
    assert mixed.weights.tolist() == [1.0] * clean + [0.25] * 3
    kept = [2, 4] if mode == "replace" else [0, 1, 2, 3, 4]
    assert mixed.clean.tolist() == kept
    assert torch.equal(mixed.images[:clean], IMAGES[kept])
    assert torch.equal(mixed.masks, MASKS[[*kept, 0, 1, 3]])


@pytest.mark.parametrize(("mode", "clean"), [("replace", 3), ("append", 5)])
def test_mixing_reads_nothing(mode: Literal["replace", "append"], clean: int) -> None:
    images, chosen = IMAGES.to("meta"), torch.empty(2, dtype=torch.long, device="meta")  # it has no values to read
    mixed = mixed_batch(images, images, images[:2], attacked=chosen, mode=mode)
    assert len(mixed.clean) == clean
    assert len(mixed.images) == len(mixed.weights) == clean + 2


def test_the_weighted_mean_by_hand() -> None:
    nothing = torch.zeros(3, 1, 1, 1)
    mixed = MixedBatch(nothing, nothing, torch.tensor([1.0, 1.0, 0.5]), torch.tensor([0, 1]), torch.tensor([0]))
    assert float(mixed.mean(torch.tensor([1.0, 3.0, 8.0]))) == pytest.approx((1 + 3 + 0.5 * 8) / 2.5)


@pytest.mark.parametrize(("threshold", "attacked"), [(-1, [0, 1, 2, 3, 4]), (0.6, [1, 3]), (1, [])])
def test_a_threshold_decides_how_many(threshold: float, attacked: list[int]) -> None:
    mixed = made(contrast(), IMAGES, MASKS, selection="threshold", threshold=threshold)
    assert mixed.attacked.tolist() == attacked
    assert len(mixed.images) == 5


def test_a_threshold_has_to_be_given() -> None:
    with pytest.raises(ConfigError, match=r"threshold=0\.05"):
        made(contrast(), IMAGES, MASKS, selection="threshold")


@pytest.mark.parametrize("head", ["bernoulli", "beta"])
@pytest.mark.parametrize(("selection", "attack"), [("uncertain", "n_fgsm"), ("hard", "pgd"), ("random", "fgsm")])
def test_the_model_is_left_as_found(selection: str, attack: str, head: str) -> None:
    segmenter, untouched = small(head).train(), small(head)
    segmenter.network[1].eval()  # type: ignore[index]  # a frozen part in the middle of a training one
    modes = [module.training for module in segmenter.modules()]
    state = torch.get_rng_state()
    made(segmenter, IMAGES, MASKS, selection=selection, attack=attack)
    assert [module.training for module in segmenter.modules()] == modes
    assert same_weights(segmenter, untouched)  # running statistics and their counter included
    assert all(parameter.grad is None and parameter.requires_grad for parameter in segmenter.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_the_mode_comes_back_when_scoring_breaks() -> None:
    segmenter = small("bernoulli").train()
    with pytest.raises(RuntimeError):
        image_scores(segmenter, IMAGES[:, :, :, :0], MASKS, selection="hard", measure="entropy", aggregation="mean")
    assert all(module.training for module in segmenter.modules())


@pytest.mark.parametrize("selection", SELECTIONS)
def test_scores(selection: str) -> None:
    segmenter = contrast()
    scores = image_scores(segmenter, IMAGES, MASKS, selection=selection, measure="variance", aggregation="mean")
    belief = segmenter.belief(IMAGES)
    expected = {
        "random": torch.zeros(5),
        "hard": binary_cross_entropy(belief, MASKS),
        "uncertain": (belief.probability * (1 - belief.probability)).flatten(1).mean(1),
    }
    torch.testing.assert_close(scores, expected.get(selection, expected["uncertain"]))
    assert not scores.requires_grad


def test_scoring_under_autocast_leaves_the_gradients() -> None:
    """Half-precision copies of weights that a pass without gradients made must not serve one with gradients."""
    found = []
    for scored in (False, True):
        segmenter = small("beta").train()
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16):
            if scored:
                made(segmenter, IMAGES, MASKS, attack="pgd")
            loss = segmenter.belief(IMAGES).probability.mean()
        loss.backward()  # type: ignore[no-untyped-call]
        found.append([parameter.grad for parameter in segmenter.parameters()])
    for without, after in zip(*found, strict=True):
        assert without is not None
        assert after is not None
        assert torch.equal(without, after)
