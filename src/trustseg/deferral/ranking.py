"""Ranking of image scores by how well they find failed segmentations, with intervals over patients.

A ``DrawnScore`` takes how often each of N images comes in each of D bootstrap draws, (D, N), the risk 1 - Dice and the
uncertainty of the images, (N,), and returns (D,).
"""

from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trustseg.errors import DataError
from trustseg.metrics import aurc_from_counts, auroc_from_counts, nause_from_counts
from trustseg.statistics import bootstrap_counts

__all__ = ["AURC", "DrawnScore", "auroc_of_failures", "by_blocks", "compare_scores", "grouped", "normalised_aurc"]

Floats = NDArray[np.float64]
DrawnScore = Callable[[Floats, Floats, Floats], Floats]


def grouped(values: Floats, scores: Floats) -> Floats:
    """Return the sums of values (D, N) over blocks of equal scores (N,), in rising order of the score (D, K)."""
    order = np.argsort(scores, kind="stable")
    starts, ordered = np.unique(scores[order], return_index=True)[1], np.take(values, order, axis=1)
    tied = len(starts) < len(order)
    return np.asarray(np.add.reduceat(ordered, starts, axis=1) if tied else ordered, np.float64)


def by_blocks(score: Callable[[Floats, Floats], Floats]) -> DrawnScore:
    """Return a ranking score of blocks, (counts, errors) of (D, K) each to (D,), as one of drawn images."""
    return lambda times, risk, uncertainty: score(grouped(times, uncertainty), grouped(times * risk, uncertainty))


AURC: Final = by_blocks(aurc_from_counts)


def normalised_aurc(times: Floats, risk: Floats, uncertainty: Floats) -> Floats:
    """Return AURC scaled so that an oracle has 0 and a random order 1."""
    blocks, oracle = ((grouped(times, order), grouped(times * risk, order)) for order in (uncertainty, risk))
    return nause_from_counts(*blocks, oracle=oracle)


def auroc_of_failures(tau: float) -> DrawnScore:
    """Return the score: the chance that an image with a Dice below ``tau`` looks less certain than another."""
    return lambda times, risk, uncertainty: auroc_from_counts(
        grouped(times, uncertainty), grouped(times * (risk > 1 - tau), uncertainty)
    )


def compare_scores(records: pl.DataFrame, *, tau: float = 0.5, draws: int = 2000) -> pl.DataFrame:
    """Return how well each image score of some records ranks the clean images by their risk, the best first.

    The clean images with foreground of one model are used; ``draws`` of the bootstrap are over patients.

    Returns:
        One row per image score: ``score`` (the column without ``u_``), ``naurc`` (normalised AURC of 1 - Dice: 0 for
        an oracle, 1 for a random order) and ``auroc`` (of failures, NaN without any), each with the ends of its 95 %
        interval in ``_low`` and ``_high``; ``images``, ``failures`` (Dice below ``tau``), ``patients``.
    """
    clean = records.filter(pl.col("condition") == "clean", pl.col("mask_px") > 0)
    scores = [name for name in clean.columns if name.startswith("u_")]
    columns = [name for name in scores if clean[name].cast(pl.Float64).fill_nan(None).null_count() < len(clean)]
    if not len(clean) or not columns:
        lacking = "image scores (columns u_...)" if len(clean) else "clean images with foreground"
        raise DataError(f"the records hold no {lacking}, so no score can be compared")
    rows = [_ranked(clean, column, tau=tau, draws=draws) for column in columns]
    return pl.DataFrame(rows).sort("naurc", "score")


def _ranked(clean: pl.DataFrame, column: str, *, tau: float, draws: int) -> dict[str, object]:
    known = clean.filter(pl.col(column).is_not_null() & pl.col(column).is_not_nan())
    risk, uncertainty = 1 - known["dice"].cast(pl.Float64).to_numpy(), known[column].cast(pl.Float64).to_numpy()
    patients = known["patient"].cast(pl.String).to_numpy()
    row: dict[str, object] = {"score": column.removeprefix("u_")}
    for name, score in (("naurc", normalised_aurc), ("auroc", auroc_of_failures(tau))):
        found = bootstrap_counts(partial(_of_draws, score, risk, uncertainty), patients, draws=draws)
        row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    return row | {"images": len(known), "failures": int((risk > 1 - tau).sum()), "patients": len(set(patients))}


def _of_draws(score: DrawnScore, risk: Floats, uncertainty: Floats, times: Floats) -> Floats:
    return score(times, risk, uncertainty)
