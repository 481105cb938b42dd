"""Metrics on plain tensors: overlap, ranking of errors by uncertainty, calibration; each a function, some a Metric.

``overlap`` scores masks, ``selective`` and ``sparsification`` score a ranking exactly, ``histograms`` and ``streaming``
do so for pixels that are never kept, ``calibration`` scores probabilities (``regions`` says of which pixels),
``detection`` how positives stand out. Undefined is NaN, never 0.
"""

from trustseg.metrics.area import area_error, precision, sensitivity
from trustseg.metrics.calibration import (
    CalibrationError,
    adaptive_calibration_error,
    brier,
    calibration_counts,
    calibration_error_from_counts,
    expected_calibration_error,
    maximum_calibration_error_from_counts,
    negative_log_likelihood,
    top_label_calibration_error,
)
from trustseg.metrics.deferral import undetected_harm
from trustseg.metrics.detection import (
    Detection,
    auroc,
    auroc_from_counts,
    average_precision,
    average_precision_from_counts,
    fpr_at_tpr,
    fpr_at_tpr_from_counts,
)
from trustseg.metrics.histograms import (
    BINS,
    Histogram,
    bin_values,
    coarsen,
    error_histogram,
    oracle_histogram,
    scores_from_histogram,
    sparsification_from_histogram,
    uncertainty_keys,
)
from trustseg.metrics.lesions import LesionCounts, lesion_counts, lesion_f1
from trustseg.metrics.operating_points import CoverageAtRisk, RiskAtCoverage
from trustseg.metrics.overlap import (
    Dice,
    OverlapCounts,
    dice,
    harm,
    iou,
    overlap_counts,
    pooled_dice,
    pooled_iou,
)
from trustseg.metrics.regions import boundary_band
from trustseg.metrics.selective import (
    RiskCoverageCurve,
    augrc,
    aurc,
    coverage_at_risk,
    e_aurc,
    rank_scores,
    risk_at_coverage,
    risk_coverage_curve,
)
from trustseg.metrics.sparsification import SparsificationCurve, ause, nause, sparsification_curve
from trustseg.metrics.streaming import AURC, AUSE, AdaptiveCalibrationError, pixel_error
from trustseg.metrics.surface import hausdorff_95, surface_dice
from trustseg.metrics.survival import SurvivalCurve, survival_curve
from trustseg.metrics.tie_blocks import RankScores

__all__ = [
    "AURC",
    "AUSE",
    "BINS",
    "AdaptiveCalibrationError",
    "CalibrationError",
    "CoverageAtRisk",
    "Detection",
    "Dice",
    "Histogram",
    "LesionCounts",
    "OverlapCounts",
    "RankScores",
    "RiskAtCoverage",
    "RiskCoverageCurve",
    "SparsificationCurve",
    "SurvivalCurve",
    "adaptive_calibration_error",
    "area_error",
    "augrc",
    "aurc",
    "auroc",
    "auroc_from_counts",
    "ause",
    "average_precision",
    "average_precision_from_counts",
    "bin_values",
    "boundary_band",
    "brier",
    "calibration_counts",
    "calibration_error_from_counts",
    "coarsen",
    "coverage_at_risk",
    "dice",
    "e_aurc",
    "error_histogram",
    "expected_calibration_error",
    "fpr_at_tpr",
    "fpr_at_tpr_from_counts",
    "harm",
    "hausdorff_95",
    "iou",
    "lesion_counts",
    "lesion_f1",
    "maximum_calibration_error_from_counts",
    "nause",
    "negative_log_likelihood",
    "oracle_histogram",
    "overlap_counts",
    "pixel_error",
    "pooled_dice",
    "pooled_iou",
    "precision",
    "rank_scores",
    "risk_at_coverage",
    "risk_coverage_curve",
    "scores_from_histogram",
    "sensitivity",
    "sparsification_curve",
    "sparsification_from_histogram",
    "surface_dice",
    "survival_curve",
    "top_label_calibration_error",
    "uncertainty_keys",
    "undetected_harm",
]
