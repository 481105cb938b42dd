"""Numbers with intervals: bootstrap over patients and trainings, paired comparisons, rank correlation."""

from trustseg.statistics.bootstrap import (
    PairedSummary,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_ratio,
    bootstrap_rows,
    bootstrap_statistic,
    draw_patients,
    paired_summary,
)
from trustseg.statistics.comparisons import ALPHA, Comparison, compare_drawn, compare_images, holm
from trustseg.statistics.correlation import spearman, spearman_of_blocks
from trustseg.statistics.interval import FEW_PATIENTS, Interval

__all__ = [
    "ALPHA",
    "FEW_PATIENTS",
    "Comparison",
    "Interval",
    "PairedSummary",
    "bootstrap_difference",
    "bootstrap_mean",
    "bootstrap_ratio",
    "bootstrap_rows",
    "bootstrap_statistic",
    "compare_drawn",
    "compare_images",
    "draw_patients",
    "holm",
    "paired_summary",
    "spearman",
    "spearman_of_blocks",
]
