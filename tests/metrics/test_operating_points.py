"""Risk at a coverage and coverage at a risk, streamed: equal to sorting all pixels, whatever the batches."""

import math

import pytest
import torch

from trustseg.errors import ConfigError, ShapeError, UnknownNameError
from trustseg.metrics import CoverageAtRisk, RiskAtCoverage, coverage_at_risk, pixel_error, risk_at_coverage
from trustseg.metrics.streaming import PixelError


def _pixels() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Uncertainty, probability and masks in steps so coarse that each value has a bin of its own."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(5, 1, 21, 34, generator=generator)
    masks = (torch.rand(logits.shape, generator=generator) < torch.sigmoid(logits / 2)).float()
    probability = (128 * torch.sigmoid(logits)).round() / 128
    return torch.minimum(probability, 1 - probability), probability, masks


@pytest.mark.parametrize("error", ["wrong", "brier"])
@pytest.mark.parametrize("share", [0.001, 0.05, 0.1, 0.8, 1.0])
def test_metrics_equal_sorting_every_pixel(error: PixelError, share: float) -> None:
    pixels = _pixels()
    errors = pixel_error(*pixels[1:], error=error)
    risk, coverage = RiskAtCoverage(coverage=share, error=error), CoverageAtRisk(risk=share, error=error)
    for number in (4, 1, 0, 3, 2):
        for metric in (risk, coverage):
            metric.update(*(part[number] for part in pixels))
    assert float(risk.compute()) == pytest.approx(float(risk_at_coverage(pixels[0], errors, share)), rel=1e-7)
    assert float(coverage.compute()) == pytest.approx(float(coverage_at_risk(pixels[0], errors, share)), abs=1e-12)


def test_no_pixels_and_hopeless_ones() -> None:
    nothing = (torch.zeros(0),) * 3
    wrong = (torch.tensor([0.1, 0.2]), torch.tensor([0.9, 0.9]), torch.zeros(2))
    risk, coverage = RiskAtCoverage(coverage=0.5), CoverageAtRisk(risk=0.5)
    for pixels, expected in ((nothing, (math.nan, math.nan)), (wrong, (1.0, 0.0))):
        for metric in (risk, coverage):
            metric.update(*pixels)
        assert (float(risk.compute()), float(coverage.compute())) == pytest.approx(expected, nan_ok=True)


def test_bad_input_gets_its_sentence() -> None:
    for share in (0.0, 1.5, math.nan):
        with pytest.raises(ConfigError, match="coverage is"):
            RiskAtCoverage(coverage=share)
    with pytest.raises(ConfigError, match="risk is nan"):
        CoverageAtRisk(risk=math.nan)
    with pytest.raises(UnknownNameError, match="did you mean 'brier'"):
        CoverageAtRisk(risk=0.1, error="brer")  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(UnknownNameError, match="did you mean 'brier'"):
        RiskAtCoverage(coverage=0.1, error="brer")  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(ShapeError, match="uncertainty holds NaN"):
        RiskAtCoverage(coverage=0.5).update(torch.tensor([math.nan]), torch.zeros(1), torch.zeros(1))
