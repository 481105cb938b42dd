import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trustseg.attacks.projections import L2, LINF, NORMS

TOLERANCE = 1e-6


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def length(difference: Tensor, norm: str) -> Tensor:
    """Return the length (B,) in float64."""
    flat = difference.double().flatten(1)
    return flat.abs().amax(dim=1) if norm == "linf" else flat.square().sum(dim=1).sqrt()


@pytest.mark.parametrize("norm", sorted(NORMS))
@given(
    seed=st.integers(0, 10**6),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    eps=st.floats(0, 8, width=32),
    reach=st.sampled_from([1e-6, 1e-2, 1.0, 100.0]),
)
@settings(max_examples=60, deadline=None)
def test_projection_ends_in_ball_and_box(
    norm: str, seed: int, height: int, width: int, eps: float, reach: float
) -> None:
    images = drawn(seed, 2, 1, height, width).round(decimals=1)  # some pixels on the edge of the box
    radius = torch.tensor([eps, eps / 3]).view(-1, 1, 1, 1)
    far = images + reach * (drawn(seed + 1, 2, 1, height, width) - 0.5)
    for candidates in (
        NORMS[norm].project(far, images, radius),
        NORMS[norm].start(images, radius, torch.Generator().manual_seed(seed)),
    ):
        assert (length(candidates - images, norm) <= radius.flatten() + TOLERANCE).all()
        assert candidates.min() >= 0
        assert candidates.max() <= 1
        again = NORMS[norm].project(candidates, images, radius)
        torch.testing.assert_close(again, candidates, rtol=0, atol=TOLERANCE)


def test_l2_budget_holds_on_large_images() -> None:
    images = drawn(0, 1, 3, 256, 256)
    radius = torch.full((1, 1, 1, 1), 4.0)
    candidates = L2.project(images + 0.1 * (drawn(1, 1, 3, 256, 256) - 0.5), images, radius)
    assert length(candidates - images, "l2").item() <= 4 + TOLERANCE


@pytest.mark.parametrize("scale", [1e-36, 1e-20, 1.0, 1e25])
def test_directions_have_length_one_whatever_the_gradient(scale: float) -> None:
    gradient = scale * (drawn(0, 2, 1, 6, 5) - 0.5)
    assert length(LINF.direction(gradient), "linf").tolist() == [1, 1]
    torch.testing.assert_close(length(L2.direction(gradient), "l2"), torch.ones(2).double(), rtol=0, atol=1e-6)


def test_directions_of_a_zero_gradient_are_zero() -> None:
    for geometry in NORMS.values():
        assert geometry.direction(torch.zeros(1, 1, 2, 2)).tolist() == [[[[0, 0], [0, 0]]]]


def test_linf_start_is_uniform() -> None:
    images = torch.full((1, 1, 200, 200), 0.5)
    start = LINF.start(images, torch.full((1, 1, 1, 1), 0.1), torch.Generator().manual_seed(0))
    shares = torch.histc(start, bins=4, min=0.4, max=0.6) / start.numel()
    assert shares.tolist() == pytest.approx([0.25] * 4, abs=0.01)


def test_l2_start_is_on_the_sphere_inside_the_box() -> None:
    images = torch.full((2, 1, 9, 9), 0.5)
    start = L2.start(images, torch.tensor([0.3, 0.1]).view(-1, 1, 1, 1), torch.Generator().manual_seed(0))
    assert length(start - images, "l2").tolist() == pytest.approx([0.3, 0.1], rel=1e-5)
