"""Figures of the checks of forward pass and gradient, where they can be worked by hand."""

import pytest
import torch
from tests.evaluation.masked_models import Honest, Randomised, scene
from torch import Tensor, nn

from trustseg.beliefs import Belief, Bernoulli, Beta
from trustseg.evaluation.gradient_checks import (
    attack_forward,
    finite_differences,
    repeated_forward,
    saturation,
    zero_gradients,
)
from trustseg.evaluation.victim import Victim


class Sly(Honest):
    """Shows an attacker, whose passes have gradients, another network than it predicts with."""

    def forward(self, images: Tensor) -> Belief:
        return super().forward(images - 0.01 if torch.is_grad_enabled() else images)


def test_a_pass_that_is_another_under_attack_is_caught() -> None:
    images, masks = scene(2)
    result = attack_forward(Victim(Sly(), images, masks, 0.1))
    assert (result.name, result.status) == ("attack_forward", "suspicious")
    result = attack_forward(Victim(Honest(), images, masks, 0.1, deployed=Honest(lambda z: 2 * z)))
    assert result.status == "suspicious"  # what is attacked is not what is deployed


class Blind(nn.Module):
    """Looks at the upper rows of an image only."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows

    def forward(self, images: Tensor) -> Belief:
        seen = images.clone()
        seen[..., self.rows :, :] = images[..., self.rows :, :].detach()
        return Bernoulli(seen - 0.5)


@pytest.mark.parametrize(("rows", "figure"), [(200, 0.0), (198, 0.0), (197, 1.0)])
def test_one_pixel_in_a_hundred_may_have_no_gradient(rows: int, figure: float) -> None:
    images = torch.rand(3, 1, 200, 2, generator=torch.Generator().manual_seed(0))
    result = zero_gradients(Victim(Blind(rows), images, (images > 0.5).float(), 0.1))
    assert result.figure == figure


def test_a_gradient_that_is_off_by_a_factor_is_off_by_as_much() -> None:
    class Halved(nn.Module):
        def forward(self, images: Tensor) -> Belief:
            return Bernoulli(images / 2 + images.detach() / 2)

    images, masks = scene(2)
    assert finite_differences(Victim(Halved(), images, masks, 0.1)).figure == pytest.approx(0.5, abs=1e-6)
    assert finite_differences(Victim(Honest(), images, masks, 0.1)).figure < 1e-6
    plain = finite_differences(Victim(lambda seen: Bernoulli(seen), images, masks, 0.1))
    assert plain.status == "not_run"


def test_what_two_passes_differ_by() -> None:
    images, masks = scene(2)
    assert repeated_forward(Victim(Honest(), images, masks, 0.1)).figure == 0
    assert repeated_forward(Victim(Randomised(), images, masks, 0.1)).figure > 1e-3


def test_the_share_of_pixels_that_are_too_sure() -> None:
    logits = torch.tensor([[[[17.0, -17.0, 3.0, 16.0]]]])
    found = saturation(Victim(lambda _: Bernoulli(logits), torch.zeros(1, 1, 1, 4), torch.ones(1, 1, 1, 4), 0.1))
    assert (found.figure, found.status) == (0.5, "suspicious")
    alpha = torch.tensor([[[[2e4, 3.0, 3.0, 3.0]]]])
    found = saturation(Victim(lambda _: Beta(alpha, alpha), torch.zeros(1, 1, 1, 4), torch.ones(1, 1, 1, 4), 0.1))
    assert found.figure == 0.25
