"""PAdam follows the steps of Adam, and finds the optimum of a linear victim."""

import pytest
import torch
from tests.attacks.victims import discs, finder, linear_case, pixelwise

from trustseg.attacks import OBJECTIVES, padam
from trustseg.errors import AttackError


def test_takes_the_steps_of_torch() -> None:
    images, masks = discs(3, seed=3)
    victim = finder("bernoulli")
    radius = torch.full((3,), 0.06)
    change = torch.zeros_like(images).requires_grad_()
    optimiser = torch.optim.Adam([change], lr=0.06 / 4, eps=0, maximize=True)
    for step in range(12):
        optimiser.zero_grad()
        OBJECTIVES["cospgd"](victim(images + change), masks, step / 12).sum().backward()  # type: ignore[no-untyped-call]  # torch's
        optimiser.step()
        with torch.no_grad():
            change.copy_((images + change.clamp(-0.06, 0.06)).clamp(0, 1) - images)
    got = padam(victim, images, masks, eps=radius, objective="cospgd", steps=12, keep_best=False)
    torch.testing.assert_close(got, (images + change).detach(), rtol=0, atol=1e-4)


def test_finds_the_optimum_of_a_linear_victim() -> None:
    weights, images, masks = linear_case()
    got = padam(pixelwise(weights), images, masks, eps=0.125, objective="margin", steps=4, keep_best=False)
    torch.testing.assert_close(got, images - 0.125 * ((2 * masks - 1) * weights).sign(), rtol=0, atol=1e-6)


def test_moves_where_the_square_of_a_gradient_is_too_small_for_float32() -> None:
    weights, images, masks = linear_case()
    got = padam(pixelwise(1e-30 * weights), images, masks, eps=0.125, objective="margin", steps=4, keep_best=False)
    torch.testing.assert_close(got, images - 0.125 * ((2 * masks - 1) * weights).sign(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("step_size", [0.0, -0.1, float("nan"), float("inf")])
def test_refuses_a_step_of_no_length(step_size: float) -> None:
    images, masks = discs(1, seed=3)
    with pytest.raises(AttackError, match="step_size must be finite and above 0"):
        padam(finder("bernoulli"), images, masks, eps=0.1, step_size=step_size)
