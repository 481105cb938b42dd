"""Metrics of a whole data set, streamed: nothing is kept of an image or pixel, processes merge by adding.

They are torchmetrics', which takes seconds to load; no other file of this package needs it. Scores are binned, see
``histograms``: results equal those of the exact functions on all pixels at once to about 1e-6 from a million pixels on,
and to the bit whatever the batches and their order.
"""

from collections.abc import Callable, Mapping
from typing import Final, Literal, get_args

import torch
from torch import Tensor
from torchmetrics import Metric

from trustseg.errors import unknown_name
from trustseg.masks import counted, require_same_shape
from trustseg.metrics.calibration import calibration_counts, check_bins
from trustseg.metrics.counts import (
    auroc_from_counts,
    average_precision_from_counts,
    calibration_error_from_counts,
    dice_from_counts,
    fpr_at_tpr_from_counts,
)
from trustseg.metrics.detection import labelled
from trustseg.metrics.histograms import UNIT, accumulate, add_histograms
from trustseg.metrics.overlap import overlap_counts
from trustseg.metrics.ranking import scores_from_counts
from trustseg.metrics.tie_blocks import PIXEL_ERRORS, PixelError, pixel_error

__all__ = ["AURC", "AUSE", "CalibrationError", "Detection", "DetectionScore", "Dice"]

DetectionScore = Literal["auroc", "average_precision", "fpr_at_95_tpr"]

_SCORES: Final[Mapping[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "auroc": auroc_from_counts,
    "average_precision": average_precision_from_counts,
    "fpr_at_95_tpr": fpr_at_tpr_from_counts,
}


class Dice(Metric):
    """Dice over a dataset, streamed: the mean of the defined per-image values, or pooled.

    Args:
        per_image: mean over images if True, all images as one if False.

    Attributes:
        undefined: images without foreground in prediction and mask, left out of the mean.

    Example:
        >>> metric = Dice()
        >>> metric.update(torch.tensor([[[[1, 1]]], [[[0, 0]]]]), torch.tensor([[[[0, 1]]], [[[0, 0]]]]))
        >>> metric.compute(), metric.undefined
        (tensor(0.6667), tensor(1))
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    dice_sum: Tensor
    defined: Tensor
    undefined: Tensor
    intersection: Tensor
    predicted: Tensor
    reference: Tensor

    def __init__(self, *, per_image: bool = True) -> None:
        super().__init__()
        self.per_image = per_image
        self.add_state("dice_sum", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        for name in ("defined", "undefined", "intersection", "predicted", "reference"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, masks: Tensor) -> None:
        """Add a batch."""
        counts = overlap_counts(prediction, masks)
        values = dice_from_counts(counts.intersection, counts.predicted, counts.reference).double()
        self.dice_sum += values.nansum()
        self.undefined += values.isnan().sum()
        self.defined += values.isfinite().sum()
        self.intersection += counts.intersection.sum()
        self.predicted += counts.predicted.sum()
        self.reference += counts.reference.sum()

    def compute(self) -> Tensor:
        """Return the mean per-image or the pooled Dice, scalar float32; NaN if no image defines it."""
        if self.per_image:
            return (self.dice_sum / self.defined).float()
        return dice_from_counts(self.intersection, self.predicted, self.reference)


class Detection(Metric):
    """A detection score over everything seen, streamed.

    Equals ``auroc``, ``average_precision`` or ``fpr_at_tpr`` of all items up to scores that share a bin of
    ``histograms``, and to the bit whatever the batches, their order and the processes.
    """

    is_differentiable = False
    full_state_update = False

    counts: Tensor
    positives: Tensor

    def __init__(self, *, score: DetectionScore = "auroc") -> None:
        super().__init__()
        if score not in _SCORES:
            raise unknown_name("detection score", score, get_args(DetectionScore))
        self.score = score
        add_histograms(self, "counts", "positives")

    def update(self, scores: Tensor, positive: Tensor) -> None:
        """Add scores and labels."""
        counts, units = accumulate(*labelled(scores, positive))
        self.counts += counts
        self.positives += units // UNIT

    def compute(self) -> Tensor:
        """Return the score, scalar float64; NaN where undefined."""
        filled = self.counts > 0
        return _SCORES[self.score](self.counts[filled], self.positives[filled])


class CalibrationError(Metric):
    """Expected calibration error of the foreground probability over a dataset, streamed.

    Example:
        >>> metric = CalibrationError(bins=2)
        >>> metric.update(torch.tensor([[0.0, 0.5, 1.0]]), torch.tensor([[0.0, 1.0, 1.0]]))
        >>> metric.compute()
        tensor(0.1667, dtype=torch.float64)
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    counts: Tensor

    def __init__(self, *, bins: int = 15) -> None:
        super().__init__()
        check_bins(bins)
        self.bins = bins
        self.add_state("counts", torch.zeros(bins, 3, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, probability: Tensor, masks: Tensor, region: Tensor | None = None) -> None:
        """Add a batch of probabilities and masks, only the pixels of ``region`` if given."""
        self.counts += calibration_counts(probability, masks, bins=self.bins, region=region).sum(0)

    def compute(self) -> Tensor:
        """Return the expected calibration error, scalar float64; NaN without pixels."""
        return calibration_error_from_counts(self.counts)


class PixelRanking(Metric):
    """A score of how uncertainty ranks the errors of every pixel seen, streamed.

    Args:
        score: a field of ``RankScores``.
        error: of a pixel, see ``pixel_error``.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    counts: Tensor
    error_units: Tensor
    oracle_counts: Tensor
    oracle_units: Tensor

    def __init__(self, *, score: str, error: PixelError = "wrong") -> None:
        super().__init__()
        if error not in PIXEL_ERRORS:
            raise unknown_name("pixel error", error, PIXEL_ERRORS)
        self.score, self.error = score, error
        add_histograms(self, "counts", "error_units")
        if error == "brier":  # the oracle of errors that are 0 or 1 follows from their number
            add_histograms(self, "oracle_counts", "oracle_units")

    def update(self, uncertainty: Tensor, probability: Tensor, masks: Tensor) -> None:
        """Add the pixels that are not ignored, all three of one shape."""
        require_same_shape(uncertainty=uncertainty, probability=probability)
        if probability.shape == masks.shape:  # otherwise pixel_error raises
            inside = counted(masks)
            uncertainty, probability, masks = uncertainty[inside], probability[inside], masks[inside]
        errors = pixel_error(probability, masks, error=self.error)
        counts, units = accumulate(uncertainty, errors)
        self.counts += counts
        self.error_units += units
        if self.error == "brier":
            counts, units = accumulate(errors, errors)
            self.oracle_counts += counts
            self.oracle_units += units

    def compute(self) -> Tensor:
        """Return the score, scalar float64; NaN where undefined."""
        oracle = None if self.error == "wrong" else (self.oracle_counts, self.oracle_units.double() / UNIT)
        found: Tensor = getattr(
            scores_from_counts(self.counts, self.error_units.double() / UNIT, oracle=oracle), self.score
        )
        return found


class AUSE(PixelRanking):
    """Area between the sparsification curves of the uncertainty and of the oracle, over every pixel seen.

    NaN without any error (normalised: when all errors are equal).

    Args:
        normalized: give ``nause`` instead of ``ause``, which makes error rates comparable.

    Example:
        >>> metric = AUSE()
        >>> uncertainty, probability = torch.tensor([0.1, 0.2, 0.4]), torch.tensor([0.1, 0.8, 0.6])
        >>> metric.update(uncertainty, probability, torch.tensor([1.0, 1.0, 1.0]))
        >>> metric.compute()
        tensor(1.5000, dtype=torch.float64)
    """

    def __init__(self, *, error: PixelError = "wrong", normalized: bool = False) -> None:
        super().__init__(score="nause" if normalized else "ause", error=error)


class AURC(PixelRanking):
    """Area under the risk-coverage curve over every pixel seen, in units of the error; NaN without any pixel.

    Args:
        generalized: give ``augrc`` instead of ``aurc``, the mean undetected error over all coverages.
    """

    def __init__(self, *, error: PixelError = "wrong", generalized: bool = False) -> None:
        super().__init__(score="augrc" if generalized else "aurc", error=error)
