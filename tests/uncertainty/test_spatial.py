"""Moran's I against its double sum and maps with a known value."""

import pytest
import torch
from torch import Tensor

from trustseg.uncertainty.aggregation import morans_i


def by_double_sum(u: Tensor) -> float:
    """Return Moran's I of a map (H, W) over all ordered pairs of pixels, weight 1 for those that share an edge."""
    places = [(i, j) for i in range(u.shape[0]) for j in range(u.shape[1])]
    mean = sum(u[p].item() for p in places) / len(places)
    weight = total = 0.0
    for p in places:
        for q in places:
            if abs(p[0] - q[0]) + abs(p[1] - q[1]) == 1:
                weight += 1
                total += (u[p].item() - mean) * (u[q].item() - mean)
    return len(places) / weight * total / sum((u[p].item() - mean) ** 2 for p in places)


@pytest.mark.parametrize("shape", [(1, 2), (5, 1), (6, 5), (7, 8)])
def test_equals_the_double_sum(shape: tuple[int, int]) -> None:
    maps = torch.rand(3, 1, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = [by_double_sum(u) for u in maps[:, 0]]
    assert morans_i(maps, maps).tolist() == pytest.approx(expected)


def test_a_chequerboard_a_halved_map_and_noise() -> None:
    rows, columns = torch.meshgrid(torch.arange(8), torch.arange(10), indexing="ij")
    board = ((rows + columns) % 2).float()
    halves = (columns < 5).float()
    noise = torch.rand(200, 200, generator=torch.Generator().manual_seed(2))
    assert morans_i(board[None, None], board[None, None]).item() == pytest.approx(-1)
    # 142 pairs, 8 of them across the border: (134 - 8) / 142.
    assert morans_i(halves[None, None], halves[None, None]).item() == pytest.approx(126 / 142)
    assert abs(morans_i(noise[None, None], noise[None, None]).item()) < 0.02


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1e6])
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (7, 9)])
def test_a_constant_map_has_no_pattern(value: float, shape: tuple[int, int]) -> None:
    maps = torch.full((2, 1, *shape), value)
    assert morans_i(maps, torch.zeros_like(maps)).tolist() == [0, 0]
