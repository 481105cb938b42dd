"""Metrics on plain tensors: overlap, ranking of errors by uncertainty, calibration; each a function, some a Metric.

``overlap`` scores masks, ``selective`` and ``sparsification`` score a ranking exactly, ``histograms`` and ``streaming``
do so for pixels that are never kept, ``calibration`` scores probabilities. Undefined is NaN, never 0.
"""

from trustseg.metrics.calibration import (
    CalibrationError,
    adaptive_calibration_error,
    boundary_band,
    brier,
    calibration_counts,
    calibration_error_from_counts,
    expected_calibration_error,
    maximum_calibration_error_from_counts,
    negative_log_likelihood,
    top_label_calibration_error,
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
from trustseg.metrics.selective import (
    RankScores,
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
from trustseg.metrics.streaming import AURC, AUSE, pixel_error

__all__ = [
    "AURC",
    "AUSE",
    "BINS",
    "CalibrationError",
    "Dice",
    "Histogram",
    "OverlapCounts",
    "RankScores",
    "RiskCoverageCurve",
    "SparsificationCurve",
    "adaptive_calibration_error",
    "augrc",
    "aurc",
    "ause",
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
    "harm",
    "iou",
    "maximum_calibration_error_from_counts",
    "nause",
    "negative_log_likelihood",
    "oracle_histogram",
    "overlap_counts",
    "pixel_error",
    "pooled_dice",
    "pooled_iou",
    "rank_scores",
    "risk_at_coverage",
    "risk_coverage_curve",
    "scores_from_histogram",
    "sparsification_curve",
    "sparsification_from_histogram",
    "top_label_calibration_error",
    "uncertainty_keys",
]
