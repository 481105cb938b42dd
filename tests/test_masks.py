import math

import pytest
import torch

from trustseg.errors import ShapeError
from trustseg.masks import is_binary, require_binary
from trustseg.metrics import (
    AURC,
    AUSE,
    AdaptiveCalibrationError,
    CalibrationError,
    adaptive_calibration_error,
    boundary_band,
    brier,
    dice,
    expected_calibration_error,
    negative_log_likelihood,
    top_label_calibration_error,
)
from trustseg.metrics.streaming import pixel_error

P = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "masks", [torch.tensor([True, False]), torch.tensor([0, 1]), torch.tensor([]), torch.ones(2, 3)]
)
def test_zero_and_one_pass(masks: torch.Tensor) -> None:
    assert bool(is_binary(masks))
    require_binary(masks)


@pytest.mark.parametrize("value", [255.0, 0.7, -1.0, math.nan])
def test_every_metric_refuses_other_values(value: float) -> None:
    masks = torch.zeros(1, 1, 4, 4)
    masks[..., 1:3] = value
    assert not bool(is_binary(masks))
    for metric in (
        expected_calibration_error,
        adaptive_calibration_error,
        top_label_calibration_error,
        brier,
        negative_log_likelihood,
        pixel_error,
        CalibrationError().update,
        AdaptiveCalibrationError().update,
        lambda p, m: AUSE().update(p, p, m),
        lambda p, m: AURC().update(p, p, m),
        lambda p, m: dice(p > 0.5, m),
        lambda p, m: boundary_band(m),
    ):
        with pytest.raises(ShapeError, match=r"masks hold values from .* only 0 and 1 were expected"):
            metric(P, masks)
