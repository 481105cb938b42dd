"""Sparsification: how fast the error falls when the least sure items are removed, against an oracle that knows it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trustseg.metrics.ranking import error_of_kept, filled_blocks, oracle_blocks
from trustseg.metrics.selective import rank_scores
from trustseg.metrics.tie_blocks import checked_ranking, kept_grid, tie_blocks

__all__ = ["SparsificationCurve", "ause", "nause", "sparsification_curve", "sparsification_from_counts"]


@dataclass(frozen=True, slots=True)
class SparsificationCurve:
    """Mean error of the rest over the mean error of all, against the share removed; each (K,) float64.

    Attributes:
        removed: share of least sure items removed, rising from 0.
        model: removed by uncertainty. The mean of ``model - oracle`` over every item count is AUSE.
        oracle: removed by the error itself.
        random: removed in random order, 1 everywhere.
    """

    removed: Tensor
    model: Tensor
    oracle: Tensor
    random: Tensor


def ause(uncertainty: Tensor, error: Tensor) -> Tensor:
    """Return the area between the sparsification curves of the uncertainty and of the oracle.

    AUSE = (AURC - AURC of the oracle) / mean error, exactly; 0 for the oracle, NaN without any error or item. It falls
    when the error rate rises, so compare clean with attacked images by ``nause``.

    Example:
        >>> ause(torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([0.0, 0.0, 1.0, 0.0]))
        tensor(0.3333, dtype=torch.float64)

    Reference:
        Ilg et al., "Uncertainty Estimates and Multi-Hypotheses Networks for Optical Flow", ECCV 2018,
        arXiv:1802.07095, section 4. Deviation: ties averaged, a plain mean over every item count.
    """
    return rank_scores(uncertainty, error).ause


def nause(uncertainty: Tensor, error: Tensor) -> Tensor:
    """Return AUSE over the AUSE of a random ranking: 0 for the oracle, 1 for chance, above 1 worse than chance.

    It is NaN when all errors are equal, because then every ranking is as good.

    Example:
        >>> nause(torch.tensor([0.5, 0.5, 0.5]), torch.tensor([0.0, 1.0, 0.0]))
        tensor(1., dtype=torch.float64)
    """
    return rank_scores(uncertainty, error).nause


def sparsification_curve(uncertainty: Tensor, error: Tensor, *, points: int | None = None) -> SparsificationCurve:
    """Return the sparsification curves of the uncertainty, the oracle and a random order.

    They start at 1; all but ``removed`` are NaN without any error.

    Args:
        points: number of points, >= 1; None gives one per item. Nothing removed is always the first point.

    Example:
        >>> sparsification_curve(torch.tensor([0.1, 0.2]), torch.tensor([0.0, 1.0])).model
        tensor([1., 0.], dtype=torch.float64)
    """
    uncertainty, error = checked_ranking(uncertainty, error)
    return sparsification_from_counts(*tie_blocks(uncertainty, error), oracle=tie_blocks(error, error), points=points)


def sparsification_from_counts(
    counts: Tensor, errors: Tensor, *, oracle: tuple[Tensor, Tensor] | None = None, points: int | None = 101
) -> SparsificationCurve:
    """Return the sparsification curves of one problem (K,) of ``scores_from_counts``, at ``points`` shares removed."""
    blocks = filled_blocks(counts, errors)
    best = oracle_blocks(*blocks) if oracle is None else filled_blocks(*oracle)
    count = blocks[0].sum()
    kept = kept_grid(int(count), points).to(count.device).flip(0)
    mean_error = blocks[1].sum() / count
    model = error_of_kept(*blocks, kept) / kept / mean_error
    return SparsificationCurve(
        removed=1 - kept / count,
        model=model,
        oracle=error_of_kept(*best, kept) / kept / mean_error,
        random=torch.where(torch.isnan(model), torch.nan, torch.ones_like(model)),
    )
