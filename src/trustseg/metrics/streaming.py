"""AUSE, AURC and adaptive calibration error of all pixels, streamed: no pixel is kept, processes merge by adding.

Scores are binned, see ``histograms``: results equal those of the exact functions on all pixels at once to about 1e-6
from a million pixels on, and to the bit whatever the batches and their order.
"""

from typing import Final, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from trustseg.errors import ShapeError, unknown_name
from trustseg.masks import counted, require_binary, require_tensors
from trustseg.metrics.calibration import adaptive_error_of_blocks, check_bins, checked_probability
from trustseg.metrics.histograms import UNIT, accumulate, add_histograms
from trustseg.metrics.ranking import RankScores, filled_blocks, scores_from_counts
from trustseg.metrics.tie_blocks import check_shapes

__all__ = [
    "AURC",
    "AUSE",
    "AdaptiveCalibrationError",
    "PixelError",
    "pixel_error",
]

PixelError = Literal["wrong", "brier"]

_PIXEL_ERRORS: Final = ("wrong", "brier")


class AUSE(Metric):
    """Area between the sparsification curves of the uncertainty and of the oracle, over every pixel seen.

    Args:
        error: ``"wrong"`` or ``"brier"``.
        normalized: give ``nause`` instead of ``ause``, which makes error rates comparable.

    Example:
        >>> metric = AUSE()
        >>> uncertainty, probability = torch.tensor([0.1, 0.2, 0.4]), torch.tensor([0.1, 0.8, 0.6])
        >>> metric.update(uncertainty, probability, torch.tensor([1.0, 1.0, 1.0]))
        >>> metric.compute()
        tensor(1.5000, dtype=torch.float64)
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    counts: Tensor
    error_units: Tensor
    oracle_counts: Tensor
    oracle_units: Tensor

    def __init__(self, *, error: PixelError = "wrong", normalized: bool = False) -> None:
        super().__init__()
        self.error = error
        self.normalized = normalized
        _add_states(self, error)

    def update(self, uncertainty: Tensor, probability: Tensor, masks: Tensor) -> None:
        """Add pixels, all three of one shape."""
        _add_pixels(self, uncertainty, probability, masks)

    def compute(self) -> Tensor:
        """Return AUSE or nAUSE, scalar float64; NaN without any error (nAUSE: when all errors are equal)."""
        scores = _scores(self)
        return scores.nause if self.normalized else scores.ause


class AURC(Metric):
    """Area under the risk-coverage curve over every pixel seen, in units of the error.

    Args:
        error: ``"wrong"`` or ``"brier"``.
        generalized: give ``augrc`` instead of ``aurc``, the mean undetected error over all coverages.

    Example:
        >>> metric = AURC()
        >>> uncertainty, probability = torch.tensor([0.1, 0.2, 0.4]), torch.tensor([0.1, 0.8, 0.6])
        >>> metric.update(uncertainty, probability, torch.tensor([1.0, 1.0, 1.0]))
        >>> metric.compute()
        tensor(0.6111, dtype=torch.float64)
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    counts: Tensor
    error_units: Tensor
    oracle_counts: Tensor
    oracle_units: Tensor

    def __init__(self, *, error: PixelError = "wrong", generalized: bool = False) -> None:
        super().__init__()
        self.error = error
        self.generalized = generalized
        _add_states(self, error)

    def update(self, uncertainty: Tensor, probability: Tensor, masks: Tensor) -> None:
        """Add pixels, all three of one shape."""
        _add_pixels(self, uncertainty, probability, masks)

    def compute(self) -> Tensor:
        """Return AURC or AUGRC, scalar float64; NaN without any pixel."""
        scores = _scores(self)
        return scores.augrc if self.generalized else scores.aurc


class AdaptiveCalibrationError(Metric):
    """Calibration error over groups of equal numbers of pixels, over every pixel seen.

    ``adaptive_calibration_error``, but that probabilities whose log-odds share a bin count as equal.

    Example:
        >>> metric = AdaptiveCalibrationError(bins=1)
        >>> metric.update(torch.tensor([[0.9, 0.9, 0.2]]), torch.tensor([[1.0, 0.0, 0.0]]))
        >>> round(float(metric.compute()), 6)
        0.333333
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    counts: Tensor
    probability_units: Tensor
    positive_units: Tensor

    def __init__(self, *, bins: int = 15) -> None:
        super().__init__()
        check_bins(bins)
        self.bins = bins
        add_histograms(self, "counts", "probability_units", "positive_units")

    def update(self, probability: Tensor, masks: Tensor, region: Tensor | None = None) -> None:
        """Add a batch of probabilities and masks, only the pixels of ``region`` if given."""
        probability, masks, region = checked_probability(probability, masks, self.bins, region)
        probability, masks = probability[region], masks[region]
        log_odds = torch.logit(probability)
        counts, units = accumulate(log_odds, probability)
        self.counts += counts
        self.probability_units += units
        self.positive_units += accumulate(log_odds, masks > 0.5)[1]

    def compute(self) -> Tensor:
        """Return the adaptive calibration error, scalar float64; NaN without pixels."""
        gaps = (self.probability_units - self.positive_units).double() / UNIT
        return adaptive_error_of_blocks(*filled_blocks(self.counts, gaps), bins=self.bins)


def pixel_error(probability: Tensor, masks: Tensor, *, error: PixelError = "wrong") -> Tensor:
    """Return the error of each pixel, of the shape of ``masks``.

    ``"wrong"`` is [p > 1/2] != y as bool, ``"brier"`` (p - y)^2, at least float32. Where pixels are ignored, both are
    float and NaN there, which no ranking takes: leave these pixels out.

    Example:
        >>> pixel_error(torch.tensor([0.4, 0.5, 0.9]), torch.tensor([0.0, 1.0, 1.0]))
        tensor([False,  True, False])
    """
    require_tensors(probability=probability, masks=masks)
    if probability.shape != masks.shape:
        raise ShapeError(
            f"probability is {tuple(probability.shape)} and masks {tuple(masks.shape)}, expected equal shapes; "
            "resize the prediction to the mask"
        )
    require_binary(masks)
    if error == "wrong":
        wrong, inside = (probability > 0.5) != (masks > 0.5), counted(masks)
        return wrong if bool(inside.all()) else torch.where(inside, wrong.float(), torch.nan)
    if error == "brier":
        promoted = torch.promote_types(probability.dtype, torch.float32)
        return (probability.to(promoted) - masks.to(promoted)).square()
    raise unknown_name("pixel error", error, _PIXEL_ERRORS)


def _add_states(metric: Metric, error: str) -> None:
    """Give a metric the histograms of its pixels and, where their error is not 0 or 1, those of the oracle."""
    if error not in _PIXEL_ERRORS:
        raise unknown_name("pixel error", error, _PIXEL_ERRORS)
    add_histograms(metric, "counts", "error_units")
    if error == "brier":
        add_histograms(metric, "oracle_counts", "oracle_units")


def _add_pixels(metric: AUSE | AURC, uncertainty: Tensor, probability: Tensor, masks: Tensor) -> None:
    """Add the pixels that are not ignored to the histograms of a metric, and to those of the oracle if it has them."""
    check_shapes(uncertainty, probability)
    if probability.shape == masks.shape:  # otherwise pixel_error raises
        inside = counted(masks)
        uncertainty, probability, masks = uncertainty[inside], probability[inside], masks[inside]
    errors = pixel_error(probability, masks, error=metric.error)
    counts, units = accumulate(uncertainty, errors)
    metric.counts += counts
    metric.error_units += units
    if metric.error == "brier":
        counts, units = accumulate(errors, errors)
        metric.oracle_counts += counts
        metric.oracle_units += units


def _scores(metric: AUSE | AURC) -> RankScores[Tensor]:
    """Return the scores of the histograms of a metric."""
    oracle = None if metric.error == "wrong" else (metric.oracle_counts, metric.oracle_units.double() / UNIT)
    return scores_from_counts(metric.counts, metric.error_units.double() / UNIT, oracle=oracle)
