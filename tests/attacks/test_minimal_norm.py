import math
from collections.abc import Callable

import pytest
import torch
from tests.attacks.test_minimal import films, smallest_budgets, threshold
from tests.attacks.untouched import untouched
from tests.attacks.victims import dice, discs, finder, hyperplane, seeded
from torch import Tensor

from trustseg.attacks.minimal import is_broken
from trustseg.attacks.minimal_norm import Nearest, carlini_wagner_like, deepfool_like
from trustseg.attacks.search import Model
from trustseg.errors import AttackError, TrustsegError, UnknownNameError

ORDERS = {"linf": math.inf, "l2": 2.0}
attacks = pytest.mark.parametrize("attack", [deepfool_like, carlini_wagner_like])
norms = pytest.mark.parametrize("norm", sorted(ORDERS))


def check_record(nearest: Nearest, model: Model, images: Tensor, masks: Tensor, norm: str, tau: float = 0.5) -> None:
    """Hold a record against what its images say."""
    found = ~nearest.censored & ~nearest.already_broken
    measured = torch.linalg.vector_norm((nearest.images - images).flatten(1), ord=ORDERS[norm], dim=1)
    torch.testing.assert_close(nearest.distance[found], measured[found], rtol=1e-5, atol=1e-7)
    assert is_broken(model(nearest.images), masks, tau=tau).equal(~nearest.censored)
    assert is_broken(model(images), masks, tau=tau).equal(nearest.already_broken)
    assert torch.equal(nearest.images[~found], images[~found])
    assert nearest.distance.isinf().equal(nearest.censored)
    assert (nearest.distance[nearest.already_broken] == 0).all()
    assert ((nearest.images >= 0) & (nearest.images <= 1)).all()
    assert not nearest.images.requires_grad


@attacks
@norms
def test_never_below_the_optimum_and_not_far_above(attack: Callable[..., Nearest], norm: str) -> None:
    """In L2 the optimum flips the cheapest pixels only; both attacks move all that are right and pay for them."""
    images, masks = films(6)
    nearest = attack(threshold, images, masks, norm=norm)
    largest = {"linf": 1.05, "l2": 3.5 if attack is deepfool_like else 3.0}[norm]
    check_record(nearest, threshold, images, masks, norm)
    for index in range(6):
        optimum = smallest_budgets(images[index], masks[index], 0.5)[norm]
        assert optimum - 1e-6 <= nearest.distance[index] <= largest * optimum


@attacks
@norms
def test_finds_the_distance_of_a_hyperplane(attack: Callable[..., Nearest], norm: str) -> None:
    weights = torch.randn(1, 1, 6, 5, generator=seeded(1))
    images = torch.full((1, 1, 6, 5), 0.5)
    distance = 0.8 / (weights.abs().sum() if norm == "linf" else weights.square().sum().sqrt()).item()
    model = hyperplane(weights, 0.8 - 0.5 * weights.sum().item())
    found = attack(model, images, torch.ones_like(images), norm=norm).distance.item()
    assert 0.9999 * distance <= found <= (1.01 if attack is deepfool_like else 1.3) * distance


def test_deepfool_is_capped_and_drawn_back() -> None:
    images, masks = films(3)
    far = 0.3 / 255
    capped = deepfool_like(threshold, images, masks, norm="linf", steps=3, largest_step=far)
    assert capped.censored.all()  # three steps of 0.3/255 do not reach
    free = deepfool_like(threshold, images, masks, norm="linf", steps=3, largest_step=1.0, halvings=0)
    drawn = deepfool_like(threshold, images, masks, norm="linf", steps=3, largest_step=1.0)
    assert (drawn.distance <= free.distance).all()
    assert drawn.distance.mean() < 0.9 * free.distance.mean()


@attacks
def test_censored_and_already_broken_images_beside_others(attack: Callable[..., Nearest]) -> None:
    images, masks = films(4, reach=0.02)
    images[0] = masks[0]  # out of reach of a few steps
    images[1] = 1 - images[1]  # wrong everywhere
    nearest = attack(threshold, images, masks, norm="linf", steps=30)
    check_record(nearest, threshold, images, masks, "linf")
    assert nearest.censored.tolist() == [True, False, False, False]
    assert nearest.already_broken.tolist() == [False, True, False, False]
    alone = attack(threshold, images[2:3], masks[2:3], norm="linf", steps=30)
    assert torch.equal(nearest.images[2:3], alone.images)


@attacks
@pytest.mark.parametrize(("head", "norm"), [("bernoulli", "l2"), ("beta", "linf"), ("mixture", "l2")])
def test_breaks_victims_and_leaves_no_trace(attack: Callable[..., Nearest], head: str, norm: str) -> None:
    images, masks = discs(3, seed=3)
    masks[2] = 0
    victim = finder(head)
    few = {"searches": 3} if attack is carlini_wagner_like else {}
    with untouched(victim, images, masks), torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        nearest = attack(victim, images, masks, norm=norm, **few)
    check_record(nearest, victim.eval(), images, masks, norm)
    assert not nearest.censored.any()
    assert (dice(victim(nearest.images), masks)[:2] <= 0.5).all()


@pytest.mark.parametrize(
    ("attack", "options", "error", "words"),
    [
        (deepfool_like, {"tau": 1.0}, AttackError, "tau must be"),
        (deepfool_like, {"norm": "l1"}, UnknownNameError, "unknown norm"),
        (deepfool_like, {"steps": 0}, AttackError, "must be at least 1"),
        (deepfool_like, {"halvings": -1}, AttackError, "halvings at least 0"),
        (deepfool_like, {"largest_step": 0.0}, AttackError, "largest_step must be finite and above 0"),
        (carlini_wagner_like, {"tau": -1.0}, AttackError, "tau must be"),
        (carlini_wagner_like, {"norm": "l1"}, UnknownNameError, "unknown norm"),
        (carlini_wagner_like, {"searches": 0}, AttackError, "must be at least 1"),
        (carlini_wagner_like, {"weight": math.inf}, AttackError, "weight must be finite"),
        (carlini_wagner_like, {"confidence": -1.0}, AttackError, "confidence must be"),
        (carlini_wagner_like, {"learning_rate": math.nan}, AttackError, "learning_rate must be"),
    ],
)
def test_refuses_options(
    attack: Callable[..., Nearest], options: dict[str, object], error: type[TrustsegError], words: str
) -> None:
    with pytest.raises(error, match=words):
        attack(threshold, *films(2), **options)
