"""Curves over the share of pixels or cases that are kept, averaged over seeds."""

from typing import Final

import numpy as np
import polars as pl

from trustseg.metrics.ranking import error_of_kept, oracle_blocks
from trustseg.reporting.image_scores import ConditionKey, Floats, ImageScores
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.results import load_histogram

__all__ = ["FRACTIONS", "mean_risk_coverage", "mean_sparsification"]

FRACTIONS: Final = np.linspace(0.0, 0.99, 100)


def mean_sparsification(evidence: ReportData, variant: str, place: ConditionKey) -> tuple[Floats, Floats]:
    """Return error left / initial error after removing each fraction: of the measure, of an oracle; seed means."""
    cells = evidence.results.cells_of(variant)
    curves = []
    for seed in sorted({cell.seed for cell in cells}):
        frames = [
            load_histogram(cell, condition=place[0], eps=place[1], measure=evidence.choices.measures[variant])
            for cell in cells
            if cell.seed == seed
        ]
        sums = pl.concat(frames).group_by("bin").agg(pl.col("count").sum(), pl.col("wrong").sum()).sort("bin")
        curves.append(_errors_left(sums["count"], sums["wrong"]))
    model, oracle = np.mean(curves, axis=0)
    return model, oracle


def _errors_left(count: pl.Series, wrong: pl.Series) -> tuple[Floats, Floats]:
    """Return both curves of one histogram; inside a bin every order is equally likely, so errors grow linearly."""
    items, errors = float(count.sum()), float(wrong.sum())
    if errors == 0:
        return np.full_like(FRACTIONS, np.nan), np.full_like(FRACTIONS, np.nan)
    kept = (1 - FRACTIONS) * items
    blocks = count.to_numpy(), wrong.to_numpy()
    model, oracle = (
        error_of_kept(counts, sums, kept) / kept / (errors / items) for counts, sums in (blocks, oracle_blocks(*blocks))
    )
    return model, oracle


def mean_risk_coverage(held: ImageScores) -> tuple[Floats, Floats]:
    """Return the mean over the seeds of the risk-coverage curve on a common grid."""
    grid = np.linspace(1 / len(held.images), 1, min(200, len(held.images)))
    curves = []
    for uncertainty, risk in zip(held.uncertainty, held.risk, strict=True):
        known = np.isfinite(uncertainty) & np.isfinite(risk)
        _, block = np.unique(uncertainty[known], return_inverse=True)
        kept = np.arange(1, len(block) + 1)
        risks = error_of_kept(np.bincount(block), np.bincount(block, risk[known]), kept) / kept
        curves.append(np.interp(grid, kept / len(block), risks))
    return grid, np.mean(curves, axis=0)
