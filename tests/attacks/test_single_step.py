from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.attacks.victims import discs, finder, linear_case, pixelwise, seeded
from torch import Tensor

from trustseg.attacks import ATTACKS, fgsm, n_fgsm, pgd, r_fgsm, rs_fgsm
from trustseg.beliefs import Belief, Bernoulli
from trustseg.errors import AttackError


@pytest.mark.parametrize("objective", ["margin", "cross_entropy", "soft_dice"])
def test_fgsm_finds_the_optimum_of_a_linear_victim(objective: str) -> None:
    weights, images, masks = linear_case()
    optimum = images - 0.125 * (2 * masks - 1) * weights.sign()
    got = fgsm(pixelwise(weights), images, masks, eps=0.125, objective=objective, keep_best=False)
    torch.testing.assert_close(got, optimum, rtol=0, atol=1e-7)


def test_fgsm_is_one_step_of_pgd() -> None:
    images, masks = discs(4, seed=7)
    victim = finder("beta")
    for keep_best in (True, False):
        one = pgd(victim, images, masks, eps=0.1, steps=1, step_size=0.1, keep_best=keep_best)
        assert torch.equal(one, fgsm(victim, images, masks, eps=0.1, keep_best=keep_best))


def test_r_fgsm_steps_at_random_then_along_the_gradient() -> None:
    weights, images, masks = linear_case()
    noise = torch.randn(images.shape, generator=seeded(9)).sign()
    expected = images + 0.05 * noise - 0.05 * (2 * masks - 1) * weights.sign()
    got = r_fgsm(pixelwise(weights), images, masks, eps=0.1, generator=seeded(9), keep_best=False)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-7)


def test_r_fgsm_clips_the_random_step_before_it_asks_for_the_gradient() -> None:
    seen = []

    def model(images: Tensor) -> Belief:
        seen.append((images.min().item(), images.max().item()))
        return Bernoulli(images - 0.5)

    images = torch.tensor([0.0, 1.0, 0.01, 0.99] * 4).view(1, 1, 4, 4)
    r_fgsm(model, images, torch.ones_like(images), eps=0.5, generator=seeded())
    assert min(low for low, _ in seen) >= 0
    assert max(high for _, high in seen) <= 1


def test_rs_fgsm_starts_in_the_ball_then_steps_further_than_its_radius() -> None:
    weights, images, masks = linear_case()
    noise = 0.1 * (2 * torch.rand(images.shape, generator=seeded(9)) - 1)
    uphill = -(2 * masks - 1) * weights.sign()
    expected = images + (noise + 0.125 * uphill).clamp(-0.1, 0.1)
    got = rs_fgsm(pixelwise(weights), images, masks, eps=0.1, generator=seeded(9), keep_best=False)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)


def test_n_fgsm_adds_a_whole_step_to_noise_of_twice_its_length_and_leaves_the_ball() -> None:
    weights, images, masks = linear_case()
    noise = 0.1 * (2 * torch.rand(images.shape, generator=seeded(9)) - 1)
    expected = images + noise - 0.05 * (2 * masks - 1) * weights.sign()
    got = n_fgsm(pixelwise(weights), images, masks, eps=0.05, generator=seeded(9))
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)
    assert (got - images).abs().max() > 2 * 0.05
    assert "n_fgsm" not in ATTACKS


@given(seed=st.integers(0, 10**6), eps=st.floats(0, 1, width=32))
@settings(max_examples=20, deadline=None)
def test_n_fgsm_stays_in_the_box_and_within_three_steps(seed: int, eps: float) -> None:
    generator = seeded(seed)
    images = torch.rand(2, 1, 6, 9, generator=generator).round(decimals=1)
    masks = (torch.rand(2, 1, 6, 9, generator=generator) > 0.5).float()
    radius = torch.tensor([eps, eps / 2])
    got = n_fgsm(finder("beta"), images, masks, eps=radius, generator=generator)
    assert ((got - images).abs().amax(dim=(1, 2, 3)) <= 3 * radius + 1e-6).all()
    assert got.min() >= 0
    assert got.max() <= 1
    if eps == 0:
        assert torch.equal(got, images)


@pytest.mark.parametrize("attack", [r_fgsm, rs_fgsm, n_fgsm])
def test_random_starts_need_a_generator(attack: Callable[..., Tensor]) -> None:
    images = torch.full((1, 1, 2, 2), 0.5)
    with pytest.raises(AttackError, match=f"{attack.__name__} .* pass generator="):
        attack(pixelwise(images), images, torch.ones_like(images), eps=0.1)
