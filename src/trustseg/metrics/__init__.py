"""Metrics, each written once: overlap, ranking of errors by uncertainty, calibration, detection, deferral.

``overlap``, ``surface`` and ``lesions`` compare hard masks, ``selective`` scores a ranking exactly, ``histograms`` and
``streaming`` do so without keeping pixels, ``calibration`` scores probabilities, ``detection`` how well a score finds
positives. ``counts``, ``ranking`` and ``robustness`` hold formulas on NumPy arrays or tensors; they and ``bins`` load
no torch. Undefined is NaN, never 0. The docstrings give only their own arguments.

Args:
    prediction: hard masks (B, 1, H, W), bool or numbers that are all 0 or 1 (probability > 0.5, not probability).
    masks: reference masks of the same shape, bool or in {0, 1}, NaN where ignored. Ignored pixels do not count.
    probability: foreground probability p, in [0, 1], of the shape of ``masks``; for calibration (B, ...), for pixel
        errors any shape.
    bins: number of equal bins [i/bins, (i+1)/bins) of p, the last one closed, or of groups of equal size, >= 1.
    region: pixels to count, bool of the shape of ``masks``, such as ``boundary_band(masks)``; None for all.
    uncertainty: any shape, any real type, higher = less sure; may be infinite. Ties are averaged.
    error: same shape, finite and >= 0: wrong pixels as bool, squared errors, 1 - Dice of images ... Of streaming
        metrics ``"wrong"`` (prediction p > 1/2 differs from the mask) or ``"brier"`` ((p - y)^2).
    points: largest number of points of a curve, >= 1; None for one per item. All items kept are always one of them.
    scores: of a detection: any shape, any real type, higher = more likely positive; may be infinite.
    positive: same shape, bool or in {0, 1}; items of label NaN, such as ignored pixels, are left out.

Returns:
    (B,) float32 of hard masks; scalar float64 of rankings, calibration errors and detection.

Raises:
    ShapeError: if shapes differ or do not fit, a mask is not binary, a number is NaN where it must not be, or a
        probability or an error is out of range.
    ConfigError: if a number such as ``bins`` or ``points`` is out of range.
    UnknownNameError: if a name such as ``error`` is none of those listed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from trustseg.metrics.bins import BINS, bin_values
from trustseg.metrics.counts import (
    auroc_from_counts,
    average_precision_from_counts,
    calibration_error_from_counts,
    dice_from_counts,
    dice_terms,
    fpr_at_tpr_from_counts,
    iou_terms,
)
from trustseg.metrics.ranking import (
    RankScores,
    SparsificationCurve,
    augrc_from_counts,
    aurc_from_counts,
    ause_from_counts,
    error_of_kept,
    nause_from_counts,
    scores_from_counts,
    sparsification_from_counts,
)
from trustseg.metrics.robustness import survivors, undetected_harm

# ruff: noqa: F403, F405 - below, each file offers what its __all__ names
if TYPE_CHECKING:  # the rest needs torch, and reports do not: it is imported when it is used
    from trustseg.metrics.calibration import *
    from trustseg.metrics.detection import *
    from trustseg.metrics.entries import *
    from trustseg.metrics.histograms import *
    from trustseg.metrics.lesions import *
    from trustseg.metrics.overlap import *
    from trustseg.metrics.selective import *
    from trustseg.metrics.streaming import *
    from trustseg.metrics.surface import *
    from trustseg.metrics.tie_blocks import *

__all__ = [
    "AURC",
    "AUSE",
    "BINS",
    "METRICS",
    "CalibrationError",
    "Detection",
    "Dice",
    "MetricFacts",
    "OverlapCounts",
    "RankScores",
    "RiskCoverageCurve",
    "SparsificationCurve",
    "area_error",
    "augrc",
    "augrc_from_counts",
    "aurc",
    "aurc_from_counts",
    "auroc",
    "auroc_from_counts",
    "ause",
    "ause_from_counts",
    "average_precision",
    "average_precision_from_counts",
    "bin_values",
    "boundary_band",
    "brier",
    "calibration_counts",
    "calibration_error_from_counts",
    "dice",
    "dice_from_counts",
    "dice_terms",
    "error_histogram",
    "error_of_kept",
    "expected_calibration_error",
    "fpr_at_tpr",
    "fpr_at_tpr_from_counts",
    "harm",
    "hausdorff_95",
    "iou",
    "iou_terms",
    "lesion_f1",
    "metrics_of",
    "nause",
    "nause_from_counts",
    "overlap_counts",
    "pixel_error",
    "pooled_dice",
    "pooled_iou",
    "precision",
    "rank_scores",
    "risk_coverage_curve",
    "scores_from_counts",
    "sensitivity",
    "sparsification_curve",
    "sparsification_from_counts",
    "surface_dice",
    "survivors",
    "uncertainty_keys",
    "undetected_harm",
]

_WITH_TORCH: Final = (
    *("calibration", "detection", "entries", "histograms", "lesions", "overlap", "selective", "surface"),
    *("tie_blocks", "streaming"),  # the last loads torchmetrics
)

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Return a name of a file that needs torch, imported when it is first used."""
        for module in (import_module(f"{__name__}.{file}") for file in _WITH_TORCH if name in __all__):
            if name in module.__all__:
                return globals().setdefault(name, getattr(module, name))
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
