"""The band around a lesion's border against a loop over pixels."""

import pytest
import torch
from tests.oracles import band_by_loop

from trustseg.errors import ConfigError, ShapeError
from trustseg.metrics import boundary_band


@pytest.mark.parametrize("width", [0, 1, 2, 5])
def test_boundary_band_against_a_loop(width: int) -> None:
    masks = (torch.rand(3, 1, 7, 10, generator=torch.Generator().manual_seed(2)) > 0.9).float()
    masks[1] = 0.0
    masks[2] = 1.0
    masks[2, 0, 0, 0] = 0.0
    wanted = [[band_by_loop(mask[0].int().tolist(), width)] for mask in masks]
    assert boundary_band(masks, width=width).tolist() == wanted
    assert not bool(boundary_band(torch.ones(1, 1, 3, 3), width=width).any())


def test_bad_input_gets_its_sentence() -> None:
    with pytest.raises(ConfigError, match="width is -1"):
        boundary_band(torch.zeros(1, 1, 2, 2), width=-1)
    with pytest.raises(ShapeError, match="missing dimension"):
        boundary_band(torch.zeros(2, 2))
