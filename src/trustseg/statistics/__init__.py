"""Numbers with intervals: bootstrap over patients and trainings, paired comparisons, rank correlation.

Args:
    patients: patient of each row (N,), text or whole numbers; told apart without case. An unknown patient needs a name
        of its own.
    draws: number of bootstrap draws D, >= 1.
    confidence: coverage of the interval, in (0, 1).
    seed: seed of the draws. They depend on the patients and the seed alone, so two models, or two conditions of one
        model, that are scored on the same patients share them, in whatever order the rows are: differences are paired.

Raises:
    ShapeError: if there are no rows, lengths or shapes do not fit, or ``draws`` is below 1.
    ConfigError: if ``confidence`` is not in (0, 1).
"""

from trustseg.statistics.bootstrap import (
    bootstrap_contrast,
    bootstrap_counts,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_ratio,
    bootstrap_rows,
    bootstrap_statistic,
)
from trustseg.statistics.comparisons import ALPHA, Comparison, compare_drawn, compare_images, holm
from trustseg.statistics.correlation import spearman, spearman_of_blocks
from trustseg.statistics.drawing import draw_patients
from trustseg.statistics.interval import FEW_PATIENTS, Interval

__all__ = [
    "ALPHA",
    "FEW_PATIENTS",
    "Comparison",
    "Interval",
    "bootstrap_contrast",
    "bootstrap_counts",
    "bootstrap_difference",
    "bootstrap_mean",
    "bootstrap_ratio",
    "bootstrap_rows",
    "bootstrap_statistic",
    "compare_drawn",
    "compare_images",
    "draw_patients",
    "holm",
    "spearman",
    "spearman_of_blocks",
]
