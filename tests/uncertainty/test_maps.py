"""Maps that do not lie on each other are refused."""

import pytest
import torch

from trustseg.errors import ShapeError
from trustseg.uncertainty import AGGREGATIONS
from trustseg.uncertainty.maps import check_maps


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (0, 1, 4, 4), (2, 1, 3, 5)])
def test_maps_of_one_shape_are_accepted(shape: tuple[int, ...]) -> None:
    check_maps(torch.zeros(shape), torch.zeros(shape))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((2, 1, 3, 5), (2, 1, 5, 3)),
        ((2, 1, 3, 5), (1, 1, 3, 5)),  # would be broadcast
        ((2, 1, 3, 5), (2, 3, 5)),
        ((3, 5), (3, 5)),
        ((2, 3, 5), (2, 3, 5)),
        ((1, 2, 1, 3, 5), (1, 2, 1, 3, 5)),
    ],
)
def test_other_maps_are_refused_by_every_aggregation(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    maps = torch.full(one, 0.5), torch.full(other, 0.5)
    with pytest.raises(ShapeError) as caught:
        check_maps(*maps)
    assert str(caught.value) == (
        f"uncertainty and probability must have one shape (B, 1, H, W), got {one} and {other}; "
        "take both from the same belief"
    )
    for aggregation in AGGREGATIONS.values():
        with pytest.raises(ShapeError, match="take both from the same belief"):
            aggregation(*maps)
