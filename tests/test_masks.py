import math

import pytest
import torch

from trustseg.errors import ShapeError
from trustseg.masks import counted, counted_mean, filled, ignoring, is_binary, require_binary
from trustseg.metrics import (
    AURC,
    AUSE,
    CalibrationError,
    boundary_band,
    brier,
    dice,
    expected_calibration_error,
    pixel_error,
)

P = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "masks", [torch.tensor([True, False]), torch.tensor([0, 1]), torch.tensor([]), torch.ones(2, 3)]
)
def test_only_zero_and_one_pass(masks: torch.Tensor) -> None:
    assert bool(is_binary(masks))
    require_binary(masks)


def test_ignored_pixels() -> None:
    masks = ignoring(torch.tensor([[0, 1, 255], [255, 255, 255]], dtype=torch.uint8), 255)
    assert counted(masks).tolist() == [[True, True, False], [False] * 3]
    assert filled(masks).tolist() == [[0, 1, 0], [0, 0, 0]]
    assert not bool(is_binary(masks))
    require_binary(masks)
    with pytest.raises(ShapeError):
        require_binary(masks, ignored=False)
    values = torch.tensor([[2.0, 4.0, math.inf], [math.nan, 1.0, 1.0]], requires_grad=True)
    means = counted_mean(values, counted(masks), empty=7.0)
    assert means.tolist() == [3.0, 7.0]
    assert torch.autograd.grad(means.sum(), values)[0].tolist() == [[0.5, 0.5, 0], [0, 0, 0]]


@pytest.mark.parametrize("value", [255.0, 0.7, -1.0, math.inf])
def test_every_metric_refuses_other_values(value: float) -> None:
    masks = torch.zeros(1, 1, 4, 4)
    masks[..., 1:3] = value
    assert not bool(is_binary(masks))
    for metric in (
        expected_calibration_error,
        brier,
        pixel_error,
        CalibrationError().update,
        lambda p, m: AUSE().update(p, p, m),
        lambda p, m: AURC().update(p, p, m),
        lambda p, m: dice(p > 0.5, m),
        lambda p, m: boundary_band(m),
    ):
        with pytest.raises(ShapeError, match="masks hold values from"):
            metric(P, masks)
