"""Ranked items as blocks of equal uncertainty, and what follows from them: every area and operating point, exactly.

Items with equal uncertainty form a *tie block*; inside it the order is unknown, so the error of the k surest items is
its expectation over every order, which grows linearly through the block. Areas then need one term a block:

    n items of mean error e, after n0 items of total error c0:   sum of c_k / k = n e + (c0 - e n0) (H_{n0+n} - H_{n0})
                                                                 sum of c_k     = n c0 + e n (n + 1) / 2

with harmonic numbers H. Exact scores (a block per distinct value) and streamed ones (a block per histogram bin, see
``histograms``) go through ``scores_from_blocks`` alike, which also makes AUSE = E-AURC / mean error an identity.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from trustseg.errors import ConfigError, ShapeError
from trustseg.masks import require_tensors

__all__ = [
    "Blocks",
    "RankScores",
    "check_coverage",
    "check_risk",
    "check_shapes",
    "checked_error",
    "checked_ranking",
    "coverage_of_blocks",
    "error_of_kept",
    "kept_grid",
    "risk_of_blocks",
    "scores_from_blocks",
    "tie_blocks",
]


class Blocks(NamedTuple):
    """Tie blocks, the surest first; leading dimensions are independent problems.

    Attributes:
        counts: items a block (..., K), float64; 0 for an empty block.
        error_sums: total error of each block (..., K), float64.
    """

    counts: Tensor
    error_sums: Tensor


@dataclass(frozen=True, slots=True)
class RankScores:
    """Every score of one ranking; float64 tensors of equal shape (scalars for one problem), NaN where undefined.

    Attributes:
        count: items N.
        mean_error: mean error of all items.
        aurc: area under the risk-coverage curve, mean over k of the mean error of the k surest.
        aurc_optimal: AURC of the oracle, which ranks by the error itself.
        e_aurc: ``aurc - aurc_optimal``.
        augrc: area under the generalised risk-coverage curve, mean over k of (total error of the k surest) / N.
        augrc_optimal: AUGRC of the oracle.
        ause: ``e_aurc / mean_error``; undefined without errors.
        ause_random: AUSE of a random ranking, ``1 - aurc_optimal / mean_error``.
        nause: ``ause / ause_random``: 0 oracle, 1 random, above 1 worse; undefined when all errors are equal.
    """

    count: Tensor
    mean_error: Tensor
    aurc: Tensor
    aurc_optimal: Tensor
    e_aurc: Tensor
    augrc: Tensor
    augrc_optimal: Tensor
    ause: Tensor
    ause_random: Tensor
    nause: Tensor


def checked_ranking(uncertainty: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
    """Return uncertainty and error flat, detached, without half types, the error in float64; raise on bad values."""
    check_shapes(uncertainty, error)
    uncertainty = uncertainty.detach().flatten()
    if uncertainty.dtype in (torch.float16, torch.bfloat16):
        uncertainty = uncertainty.float()
    if bool(torch.isnan(uncertainty).any()):
        raise ShapeError("uncertainty holds NaN, expected numbers or infinities; find where the model breaks down")
    return uncertainty, checked_error(error.flatten())


def check_shapes(uncertainty: Tensor, error: Tensor) -> None:
    """Raise unless there is one uncertainty for each error."""
    require_tensors(uncertainty=uncertainty, error=error)
    if uncertainty.shape != error.shape:
        raise ShapeError(
            f"uncertainty is {tuple(uncertainty.shape)} and error {tuple(error.shape)}, expected equal shapes; "
            "give one uncertainty for each error"
        )


def checked_error(error: Tensor) -> Tensor:
    """Return the error detached in float64; raise if a value is NaN, infinite or negative."""
    error = error.detach().double()
    if not bool((torch.isfinite(error) & (error >= 0)).all()):
        raise ShapeError(
            "error holds NaN, infinite or negative values, expected finite values >= 0; leave undefined items out"
        )
    return error


def tie_blocks(order: Tensor, error: Tensor) -> Blocks:
    """Return one block for each distinct value of ``order`` (N,), ascending, with the sums of ``error`` (N,)."""
    values, block, counts = torch.unique(order, return_inverse=True, return_counts=True)
    sums = torch.zeros(values.numel(), dtype=torch.float64, device=error.device).index_add_(0, block, error)
    return Blocks(counts.double(), sums)


def scores_from_blocks(blocks: Blocks, oracle: Blocks) -> RankScores:
    """Return the scores of a ranking from its tie blocks and those of the ranking by the error itself.

    Args:
        blocks: tie blocks (..., K), surest first.
        oracle: the same items ranked by their error (..., L), smallest error first.

    Returns:
        Scores of the leading shape.
    """
    count = blocks.counts.sum(-1)
    mean_error = blocks.error_sums.sum(-1) / count
    area, generalised = _areas(blocks)
    best, best_generalised = _areas(oracle)
    # With a single distinct error every ranking is the oracle; rounding must not pretend otherwise.
    distinct = (oracle.counts > 0).sum(-1) > 1
    excess = torch.where(distinct | (count == 0), area - best, 0.0)
    reach = torch.where(distinct, mean_error - best, torch.nan)
    return RankScores(
        count=count,
        mean_error=mean_error,
        aurc=area,
        aurc_optimal=best,
        e_aurc=excess,
        augrc=generalised,
        augrc_optimal=best_generalised,
        ause=excess / mean_error,
        ause_random=1 - best / mean_error,
        nause=excess / reach,
    )


def check_coverage(coverage: float) -> None:
    """Raise unless a coverage lies in (0, 1]."""
    if not 0.0 < coverage <= 1.0:
        raise ConfigError(f"coverage is {coverage}, expected a share above 0 and up to 1; pass e.g. 0.8 for 80 %")


def check_risk(risk: float) -> None:
    """Raise unless a risk is a number, of any size."""
    if math.isnan(risk):
        raise ConfigError("risk is nan, expected the highest mean error allowed; pass e.g. 0.05 for 5 % wrong pixels")


def risk_of_blocks(blocks: Blocks, coverage: float) -> Tensor:
    """Return the mean error of the surest share ``coverage`` of one problem, scalar; NaN for no items."""
    count = blocks.counts.sum()
    if not bool(count > 0):
        return torch.full_like(count, torch.nan)
    kept = (coverage * count).clamp_min(1.0).unsqueeze(0)
    return (error_of_kept(blocks, kept) / kept).squeeze(0)


def coverage_of_blocks(blocks: Blocks, risk: float) -> Tensor:
    """Return the largest share of one problem's items with a mean error of at most ``risk``, scalar; NaN for none.

    Inside a block the mean error of k items, (c0 + e (k - n0)) / k, moves steadily towards e, so that the largest k is
    its last item or lies where the two sides are equal, give or take the rounding.
    """
    counts, sums = blocks
    upto, total = counts.cumsum(0), sums.cumsum(0)
    before, total_before, mean = upto - counts, total - sums, sums / counts
    crossing = ((mean * before - total_before) / (mean - risk)).nan_to_num().floor()
    kept = torch.stack([upto, crossing + 1, crossing, crossing - 1])
    kept = torch.minimum(torch.maximum(kept, before + 1), upto)
    within = (total_before + mean * (kept - before)) / kept <= risk
    largest = torch.cat([torch.where(within, kept, 0.0).flatten(), counts.new_zeros(1)]).max()
    return largest / counts.sum()


def error_of_kept(blocks: Blocks, kept: Tensor) -> Tensor:
    """Return the expected total error (M,) of the ``kept`` (M,) surest items of one problem, 0 < kept <= N."""
    upto = torch.nn.functional.pad(blocks.counts.cumsum(0), (1, 0))
    total = torch.nn.functional.pad(blocks.error_sums.cumsum(0), (1, 0))
    block = torch.searchsorted(upto, kept).clamp_max(blocks.counts.numel()) - 1
    mean = blocks.error_sums / blocks.counts
    return total[block] + (kept - upto[block]) * mean[block]


def kept_grid(count: int, points: int | None) -> Tensor:
    """Return rising numbers of kept items up to ``count``, float64: every one, or about ``points`` of them."""
    if points is not None and points < 1:
        raise ConfigError(f"points is {points}, expected at least 1; pass None for one point per item")
    if points is None or points >= count:
        return torch.arange(1, count + 1, dtype=torch.float64)
    return -(-count * torch.arange(1, points + 1) // points).double()


def _areas(blocks: Blocks) -> tuple[Tensor, Tensor]:
    """Return AURC and AUGRC by the block formula at the top of this file."""
    counts, sums = blocks
    upto, total = counts.cumsum(-1), sums.cumsum(-1)
    before, total_before = upto - counts, total - sums
    mean = sums / counts.clamp_min(1)
    harmonic = torch.diff(torch.digamma(torch.nn.functional.pad(upto, (1, 0)) + 1), dim=-1)
    count = counts.sum(-1)
    area = (sums + (total_before - mean * before) * harmonic).sum(-1) / count
    generalised = (counts * total_before + sums * (counts + 1) / 2).sum(-1) / count**2
    return area, generalised
