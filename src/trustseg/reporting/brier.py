"""The order in which an oracle would remove pixels by their squared error, from histograms of entropy or variance.

Both measures are functions of min(p, 1 - p) alone, and that with right or wrong gives the squared error (p - y)^2:
min(p, 1 - p)^2 of a right pixel, its complement squared of a wrong one. No pixel has to be kept.
"""

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trustseg.metrics import BINS, bin_values

__all__ = ["KNOWING", "doubt_of", "oracle_blocks"]

Floats = NDArray[np.float64]

KNOWING: Final = ("entropy", "variance")
"""Measures that tell the squared error of a pixel that is known to be right or wrong."""


def doubt_of(values: Floats, *, measure: str) -> Floats:
    """Return min(p, 1 - p) of pixels from their entropy or variance, in [0, 1/2].

    Args:
        values: the measure of each pixel, >= 0; above its maximum counts as the maximum.
        measure: ``"entropy"`` (natural logarithm) or ``"variance"``.

    Example:
        >>> doubt_of(np.array([0.0, 0.1875, 0.25]), measure="variance").tolist()
        [0.0, 0.25, 0.5]
    """
    if measure == "variance":
        v = np.clip(values, 0, 0.25)
        return np.asarray(2 * v / (1 + np.sqrt(1 - 4 * v)), np.float64)
    grid = np.geomspace(1e-40, 0.5, 100_001)
    entropy = -grid * np.log(grid) - (1 - grid) * np.log1p(-grid)
    found = np.interp(np.log(np.clip(values, entropy[0], None)), np.log(entropy), np.log(grid))
    return np.where(values > 0, np.exp(found), 0.0)


def oracle_blocks(histogram: pl.DataFrame, *, measure: str) -> pl.DataFrame:
    """Return a histogram of the squared errors: blocks from the smallest error to the largest.

    Args:
        histogram: columns ``bin, count, wrong, brier`` and any others, of the entropy or the variance of pixels.
        measure: which of the two.

    Returns:
        The other columns with ``bin`` (the order of the blocks), ``count`` and ``brier`` (sum of the squared errors).
    """
    bins = histogram["bin"].to_numpy().astype(np.int64)
    values = bin_values("coarse").astype(np.float64).clip(0)
    doubt = doubt_of(values, measure=measure)[np.maximum(bins, BINS["coarse"] // 2)]
    wrong = histogram["wrong"].to_numpy().astype(np.int64)
    right = histogram["count"].to_numpy().astype(np.int64) - wrong
    parts = [
        histogram.drop("wrong").with_columns(
            bin=pl.Series(order), count=pl.Series(count), brier=pl.Series(count * error**2)
        )
        for order, count, error in ((bins, right, doubt), (2 * BINS["coarse"] - bins, wrong, 1 - doubt))
    ]
    return pl.concat(parts).filter(pl.col("count") > 0)
