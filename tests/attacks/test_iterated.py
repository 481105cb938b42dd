from collections.abc import Callable

import pytest
import torch
from tests.attacks.victims import discs, finder, linear_case, pixelwise, seeded
from torch import Tensor

from trustseg.attacks import OBJECTIVES, bim, cospgd, mi_fgsm, pgd, segpgd
from trustseg.attacks.search import harm
from trustseg.beliefs import Belief, Bernoulli
from trustseg.errors import AttackError


def reference_pgd(model: Callable[[Tensor], Belief], images: Tensor, masks: Tensor, eps: float, steps: int) -> Tensor:
    """Written on its own: L-infinity, no random start, last iterate."""
    step = 2.5 * eps / steps
    moved = images.clone()
    for _ in range(steps):
        moved = moved.detach().requires_grad_()
        loss = torch.log1p(torch.exp(-(2 * masks - 1) * model(moved).log_odds)).mean(dim=(1, 2, 3)).sum()
        (gradient,) = torch.autograd.grad(loss, moved)
        moved = moved.detach() + step * gradient.sign()
        moved = torch.minimum(torch.maximum(moved, images - eps), images + eps).clamp(0, 1)
    return moved


@pytest.mark.parametrize("head", ["bernoulli", "beta"])
def test_pgd_equals_a_reference_written_by_hand(head: str) -> None:
    images, masks = discs(4, seed=7)
    victim = finder(head)
    got = pgd(victim, images, masks, eps=0.1, steps=7, keep_best=False)
    expected = reference_pgd(victim, images, masks, 0.1, 7)
    different = (got - expected).abs() > 1e-6  # a gradient within rounding of 0 may have either sign
    assert different.float().mean() < 1e-3


def test_restarts_keep_the_worst_of_each_image() -> None:
    images, masks = discs(6, seed=7)
    victim = finder("beta")
    many = harm(
        victim(pgd(victim, images, masks, eps=0.06, steps=3, restarts=4, generator=(generator := seeded()))), masks
    )
    generator = seeded()
    runs = [harm(victim(pgd(victim, images, masks, eps=0.06, steps=3, generator=generator)), masks) for _ in range(4)]
    assert torch.equal(many, torch.stack(runs).amax(dim=0))
    assert len({tuple(run.tolist()) for run in runs}) > 1


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_bim_and_mi_fgsm_reach_the_optimum_of_a_linear_victim(steps: int) -> None:
    weights, images, masks = linear_case()
    optimum = images - 0.125 * (2 * masks - 1) * weights.sign()
    for attack in (bim, mi_fgsm):
        got = attack(pixelwise(weights), images, masks, eps=0.125, objective="margin", steps=steps, keep_best=False)
        torch.testing.assert_close(got, optimum, rtol=0, atol=1e-6)


def test_bim_takes_steps_of_one_grey_level_where_the_paper_does() -> None:
    """At eps = 8/255 the paper takes min(8 + 4, 1.25 * 8) = 10 steps of 1/255."""
    images, masks = discs(4, seed=7)
    victim = finder("beta")
    got = bim(victim, images, masks, eps=8 / 255, steps=10)
    assert torch.equal(got, pgd(victim, images, masks, eps=8 / 255, steps=10, step_size=1 / 255))


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_mi_fgsm_without_momentum_takes_plain_steps(steps: int) -> None:
    images, masks = discs(4, seed=7)
    victim = finder("beta")
    got = mi_fgsm(victim, images, masks, eps=0.05, steps=steps, momentum=0.0)
    assert torch.equal(got, pgd(victim, images, masks, eps=0.05, steps=steps, step_size=0.05 / steps))


def test_mi_fgsm_equals_a_reference_written_by_hand() -> None:
    images, masks = discs(1, seed=7)
    victim = finder("bernoulli")
    moved, velocity = images.clone(), torch.zeros_like(images)
    for _ in range(6):
        moved = moved.detach().requires_grad_()
        loss = torch.nn.functional.softplus(-(2 * masks - 1) * victim(moved).log_odds).mean()
        (gradient,) = torch.autograd.grad(loss, moved)
        velocity = 0.7 * velocity + gradient / gradient.abs().sum()
        moved = (moved.detach() + 0.01 * velocity.sign()).clamp(0, 1)
    got = mi_fgsm(victim, images, masks, eps=0.06, steps=6, momentum=0.7, keep_best=False)
    assert ((got - moved).abs() > 1e-6).float().mean() < 5e-3  # a velocity within rounding of 0 may have either sign
    plain = mi_fgsm(victim, images, masks, eps=0.06, steps=6, momentum=0.0, keep_best=False)
    assert ((got - plain).abs() > 1e-6).float().mean() > 5e-3


def test_mi_fgsm_weighs_images_alone() -> None:
    images, masks = discs(3, seed=7)

    def moved(slopes: list[float]) -> Tensor:
        weights = torch.tensor(slopes).view(3, 1, 1, 1)
        return mi_fgsm(lambda x: Bernoulli(weights * (x - 0.5)), images, masks, eps=0.1, objective="margin")

    assert torch.equal(moved([1e-30, 1.0, 1e25]), moved([1.0, 1.0, 1.0]))


@pytest.mark.parametrize("attack", [segpgd, cospgd])
def test_segpgd_and_cospgd_are_pgd_with_their_own_objective(attack: Callable[..., Tensor]) -> None:
    images, masks = discs(4, seed=7)
    victim, name = finder("beta"), attack.__name__
    got = attack(victim, images, masks, eps=0.06, objective=name, steps=7, keep_best=False)
    assert torch.equal(got, pgd(victim, images, masks, eps=0.06, objective=name, steps=7, keep_best=False))
    got = attack(victim, images, masks, eps=0.5, norm="l2", generator=seeded())
    assert torch.equal(got, pgd(victim, images, masks, eps=0.5, objective=name, norm="l2", generator=seeded()))
    assert not torch.equal(got, pgd(victim, images, masks, eps=0.5, norm="l2", generator=seeded()))
    for objective in ("margin", OBJECTIVES["cross_entropy"]):
        with pytest.raises(AttackError, match=f"{name} supports only objective"):
            attack(victim, images, masks, eps=0.06, objective=objective)
