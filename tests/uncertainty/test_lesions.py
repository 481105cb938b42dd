"""Scores by lesion against a flood fill and hand-made maps."""

import pytest
import torch
from torch import Tensor

from trustseg.uncertainty import AGGREGATIONS
from trustseg.uncertainty.aggregation import lesion_max, lesion_mean


def lesions_by_flood(positive: Tensor) -> list[list[tuple[int, int]]]:
    """Return the pixels of every piece of a map (H, W), pieces touching by edge or corner."""
    left = {(i, j) for i, j in positive.nonzero().tolist()}
    pieces = []
    while left:
        front = [left.pop()]
        piece = []
        while front:
            i, j = front.pop()
            piece.append((i, j))
            near = {(i + a, j + b) for a in (-1, 0, 1) for b in (-1, 0, 1)} & left
            left -= near
            front += near
        pieces.append(piece)
    return pieces


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 1, 1, 9), (4, 1, 13, 17)])
@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_equals_flood_fill(shape: tuple[int, ...], threshold: float) -> None:
    generator = torch.Generator().manual_seed(3)
    uncertainty = torch.rand(shape, generator=generator, dtype=torch.float64)
    probability = (torch.rand(shape, generator=generator, dtype=torch.float64) > threshold).double()
    probability[0] = 0
    for k in range(shape[0]):
        pieces = lesions_by_flood(probability[k, 0] > 0.5)
        means = [sum(uncertainty[k, 0, i, j].item() for i, j in piece) / len(piece) for piece in pieces]
        whole = uncertainty[k].max().item()
        mean = sum(means) / len(means) if means else whole
        assert lesion_mean(uncertainty, probability)[k].item() == pytest.approx(mean)
        assert lesion_max(uncertainty, probability)[k].item() == pytest.approx(max(means, default=whole))


def test_lesions_of_neighbouring_images_do_not_touch() -> None:
    probability = torch.ones(3, 1, 2, 2)
    uncertainty = torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1, 1).expand(3, 1, 2, 2)
    assert lesion_mean(uncertainty, probability).tolist() == [1.0, 2.0, 3.0]
    assert lesion_max(uncertainty, probability).tolist() == [1.0, 2.0, 3.0]


def test_corners_touch_and_exactly_one_half_is_background() -> None:
    probability = torch.tensor([[[[0.9, 0.5, 0.1], [0.1, 0.9, 0.5], [0.1, 0.1, 0.1]]]])
    uncertainty = torch.tensor([[[[1.0, 9.0, 9.0], [9.0, 3.0, 9.0], [9.0, 9.0, 9.0]]]])
    assert lesion_max(uncertainty, probability).item() == 2.0


@pytest.mark.parametrize("name", ["lesion_mean", "lesion_max"])
def test_a_gradient_reaches_the_map(name: str) -> None:
    uncertainty = torch.rand(2, 1, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    probability = torch.zeros(2, 1, 5, 6, dtype=torch.float64)
    probability[0, 0, :2, :2] = probability[0, 0, 4, 4] = 1
    assert torch.autograd.gradcheck(lambda u: AGGREGATIONS[name](u, probability), uncertainty.requires_grad_())
