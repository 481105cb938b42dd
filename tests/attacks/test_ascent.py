"""Steps uphill against loops by hand, on a slope that is known at every point."""

from dataclasses import dataclass, field
from typing import cast

import pytest
import torch
from tests.attacks.victims import seeded
from torch import Tensor

from trustseg.attacks.ascent import ascend, require_generator
from trustseg.attacks.projections import L2, LINF, Norm
from trustseg.attacks.search import Search
from trustseg.errors import AttackError


@dataclass
class Slope:
    """Stands for a search whose objective is -(target - x)^2 / 2: uphill lies the target."""

    images: Tensor
    radius: Tensor
    target: Tensor
    asked: list[tuple[Tensor, float]] = field(default_factory=list)
    offered: list[tuple[Tensor, float]] = field(default_factory=list)

    def gradient(self, candidates: Tensor, *, progress: float) -> Tensor:
        self.asked.append((candidates, progress))
        return self.target - candidates

    def offer(self, candidates: Tensor, *, progress: float) -> None:
        self.offered.append((candidates, progress))


def slope() -> Slope:
    """Two odd, oblong images with a budget each, the second of 0."""
    images = 0.3 + 0.4 * torch.rand(2, 1, 3, 5, generator=seeded(1), dtype=torch.float64)
    target = torch.rand(images.shape, generator=seeded(2), dtype=torch.float64)
    return Slope(images, torch.tensor([0.1, 0.0], dtype=torch.float64).view(2, 1, 1, 1), target)


def climb(search: Slope, norm: Norm, *, step_size: float, steps: int, momentum: float | None = None) -> Tensor:
    size = torch.full((2, 1, 1, 1), step_size, dtype=torch.float64)
    return ascend(cast(Search, search), search.images, norm, step_size=size, steps=steps, momentum=momentum)


def test_sign_steps_stay_in_the_ball() -> None:
    search = slope()
    got = climb(search, LINF, step_size=0.04, steps=4)
    point = search.images
    for _ in range(4):
        point = point + 0.04 * (search.target - point).sign()
        point = torch.minimum(torch.maximum(point, search.images - search.radius), search.images + search.radius)
    torch.testing.assert_close(got, point, rtol=0, atol=1e-12)
    assert torch.equal(got[1], search.images[1])


def test_steps_in_l2_have_their_length_until_the_ball_ends() -> None:
    search = slope()
    got = climb(search, L2, step_size=0.03, steps=5)
    (first, *_), *rest = search.asked
    lengths = [(point - first).flatten(1).norm(dim=1)[0].item() for point, _ in rest]
    assert lengths[:2] == pytest.approx([0.03, 0.06], abs=1e-4)  # nearly straight on
    assert all(length <= 0.1 + 1e-12 for length in lengths)
    unit = (search.target - first)[0] / (search.target - first)[0].norm()
    torch.testing.assert_close(rest[0][0][0], first[0] + 0.03 * unit)
    assert (got - first).flatten(1).norm(dim=1).tolist() == pytest.approx([0.1, 0.0])


def test_momentum_adds_up_gradients_of_mass_one() -> None:
    search = slope()
    got = climb(search, LINF, step_size=0.02, steps=6, momentum=0.8)
    point, velocity = search.images, torch.zeros_like(search.images)
    for _ in range(6):
        gradient = search.target - point
        velocity = 0.8 * velocity + gradient / gradient.abs().sum(dim=(1, 2, 3), keepdim=True)
        point = point + 0.02 * velocity.sign()
        point = torch.minimum(torch.maximum(point, search.images - search.radius), search.images + search.radius)
    torch.testing.assert_close(got, point, rtol=0, atol=1e-12)


def test_every_iterate_is_asked_for_and_the_last_is_offered() -> None:
    search = slope()
    got = climb(search, LINF, step_size=0.01, steps=4)
    assert [progress for _, progress in search.asked] == [0, 0.25, 0.5, 0.75]
    assert torch.equal(search.asked[0][0], search.images)
    ((last, progress),) = search.offered
    assert last is got
    assert progress == 0.75


def test_no_slope_is_no_step() -> None:
    search = slope()
    search.target = search.images
    for norm in (LINF, L2):
        for momentum in (None, 1.0):
            assert torch.equal(climb(search, norm, step_size=0.1, steps=2, momentum=momentum), search.images)


def test_a_generator_is_demanded_with_its_reason() -> None:
    generator = seeded(0)
    assert require_generator(generator, "unused") is generator
    with pytest.raises(
        AttackError, match=r"^square draws squares, but generator is None, expected a torch\.Generator; "
    ):
        require_generator(None, "square draws squares")
