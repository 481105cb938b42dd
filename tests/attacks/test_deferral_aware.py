"""The attack that hides its harm from a reader who sees only what the model is unsure of."""

import math

import pytest
import torch
from tests.attacks.confidence import EPS, attacked, mean_entropy, threshold_at_half
from tests.attacks.victims import dice, discs, finder
from torch import Tensor

from trustseg.attacks import pgd
from trustseg.attacks.search import harm
from trustseg.attacks.uncertainty import deferral_aware
from trustseg.beliefs import Belief
from trustseg.errors import AttackError
from trustseg.metrics import undetected_harm
from trustseg.uncertainty import AGGREGATIONS


@pytest.mark.parametrize("measure", ["entropy", "epistemic_variance"])
def test_deferral_aware_does_harm_that_nobody_looks_at(measure: str) -> None:
    def score(belief: Belief) -> Tensor:
        return AGGREGATIONS["mean"](belief.uncertainty(measure), belief.probability)

    images, masks = discs(12, seed=3)
    victim = finder("beta")
    clean = victim(images)
    threshold = score(clean).quantile(0.8).item()

    def undetected(candidates: Tensor) -> int:
        belief, none = victim(candidates), torch.zeros(12)
        dices = dice(clean, masks), dice(belief, masks)
        return int(undetected_harm(*dices, score(belief), none.bool(), none, threshold=threshold).sum())

    got = deferral_aware(victim, images, masks, eps=EPS, score=score, threshold=threshold)
    same = (got == images).flatten(1).all(dim=1)
    assert ((score(victim(got)) < threshold) | same).all()
    assert (harm(victim(got), masks) >= harm(clean, masks))[score(clean) < threshold].all()
    assert undetected(got) >= 4
    assert undetected(got) > undetected(pgd(victim, images, masks, eps=EPS, objective="soft_dice"))


def test_deferral_aware_gives_back_what_is_always_deferred() -> None:
    images, masks = discs(3, seed=3)
    got = deferral_aware(finder("beta"), images, masks, eps=EPS, score=mean_entropy, threshold=-1.0)
    assert torch.equal(got, images)


def test_deferral_aware_trades_a_deferred_image_for_an_unnoticed_one_that_is_less_wrong() -> None:
    """Half wrong and deferred; surer, it would be right in three of four pixels, which nobody looks at."""
    images = torch.tensor([0.70, 0.48, 0.48, 0.30]).view(1, 1, 2, 2)
    masks = torch.tensor([1.0, 1.0, 1.0, 1.0]).view(1, 1, 2, 2)

    def score(belief: Belief) -> Tensor:
        return -belief.probability.mean(dim=(1, 2, 3))  # the more foreground is seen, the surer

    clean = threshold_at_half(images)
    threshold = score(threshold_at_half(images + 0.04)).item()
    got = threshold_at_half(
        deferral_aware(threshold_at_half, images, masks, eps=0.06, score=score, threshold=threshold)
    )
    assert score(got) < threshold <= score(clean)
    assert 0 < harm(got, masks) < harm(clean, masks)


def test_deferral_aware_raises_false_alarms_on_empty_masks() -> None:
    images, masks = discs(4, seed=3)
    victim = finder("bernoulli")
    empty = torch.where(masks > 0, images - 0.13, images).clamp(0, 1)
    got = deferral_aware(victim, empty, torch.zeros_like(masks), eps=2 * EPS, score=mean_entropy, threshold=0.2)
    found, before = (harm(victim(values), torch.zeros_like(masks)) for values in (got, empty))
    assert (found >= before).all()
    assert (found > 0.01).any()
    assert (mean_entropy(victim(got)) < 0.2).all()


def test_deferral_aware_takes_a_threshold_of_nothing() -> None:
    images, masks = discs(3, seed=3)
    victim = finder("bernoulli")

    def score(belief: Belief) -> Tensor:
        return mean_entropy(belief) - 0.2

    got = deferral_aware(victim, images, masks, eps=EPS, score=score, threshold=0.0)
    assert (score(victim(got)) < 0).all()
    assert (harm(victim(got), masks) > harm(victim(images), masks)).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weights": ()}, "weights must be"),
        ({"weights": (0.1, 0.0)}, "weights must be"),
        ({"weights": (math.inf,)}, "weights must be"),
        ({"threshold": math.nan}, "threshold must be finite"),
        ({"threshold": math.inf}, "threshold must be finite"),
        ({"slack": -0.1}, "slack finite and at least 0"),
    ],
)
def test_deferral_aware_refuses(options: dict[str, object], words: str) -> None:
    with pytest.raises(AttackError, match=words):
        attacked("deferral_aware", finder("beta"), *discs(2, seed=3), **options)  # type: ignore[arg-type]  # on purpose
