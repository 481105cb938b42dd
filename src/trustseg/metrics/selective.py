"""Rankings of errors by uncertainty, exact and with ties averaged: AURC, AUGRC, AUSE and their curves."""

from dataclasses import dataclass

from torch import Tensor

from trustseg.metrics.ranking import (
    RankScores,
    SparsificationCurve,
    augrc_from_counts,
    aurc_from_counts,
    error_of_kept,
    scores_from_counts,
    sparsification_from_counts,
)
from trustseg.metrics.tie_blocks import checked_ranking, kept_grid, tie_blocks

__all__ = [
    "RiskCoverageCurve",
    "augrc",
    "aurc",
    "ause",
    "nause",
    "rank_scores",
    "risk_coverage_curve",
    "sparsification_curve",
]


@dataclass(frozen=True, slots=True)
class RiskCoverageCurve:
    """Mean error of the kept items against the share kept, both (K,) float64, coverage rising to 1."""

    coverage: Tensor
    risk: Tensor


def rank_scores(uncertainty: Tensor, error: Tensor) -> RankScores[Tensor]:
    """Return every score of how ``uncertainty`` ranks ``error``, scalars; all NaN for no items at all.

    Example:
        >>> scores = rank_scores(torch.tensor([0.5, 0.5, 0.5, 0.5]), torch.tensor([0, 0, 1, 1]))
        >>> round(float(scores.ause), 4), float(scores.nause)
        (0.5833, 1.0)

    Reference:
        AURC and E-AURC: Geifman, Uziel and El-Yaniv, "Bias-Reduced Uncertainty Estimation", ICLR 2019,
        arXiv:1805.08206. AUGRC: as ``augrc_from_counts``. Deviation from both: ties are averaged.
    """
    uncertainty, error = checked_ranking(uncertainty, error)
    return scores_from_counts(*tie_blocks(uncertainty, error), oracle=tie_blocks(error, error))


def aurc(uncertainty: Tensor, error: Tensor) -> Tensor:
    """Return the area under the risk-coverage curve, in units of the error.

    Example:
        >>> aurc(torch.tensor([0.1, 0.2]), torch.tensor([0.0, 1.0]))
        tensor(0.2500, dtype=torch.float64)
    """
    return aurc_from_counts(*tie_blocks(*checked_ranking(uncertainty, error)))


def augrc(uncertainty: Tensor, error: Tensor) -> Tensor:
    """Return the mean undetected error over all coverages, in units of the error."""
    return augrc_from_counts(*tie_blocks(*checked_ranking(uncertainty, error)))


def risk_coverage_curve(uncertainty: Tensor, error: Tensor, *, points: int | None = None) -> RiskCoverageCurve:
    """Return the mean error of the k surest items for every k, or for ``points`` evenly spaced k; empty for no items.

    Example:
        >>> risk_coverage_curve(torch.tensor([0.2, 0.1]), torch.tensor([1.0, 0.0])).risk
        tensor([0.0000, 0.5000], dtype=torch.float64)
    """
    uncertainty, error = checked_ranking(uncertainty, error)
    kept = kept_grid(error.numel(), points).to(error.device)
    risk = error_of_kept(*tie_blocks(uncertainty, error), kept) / kept
    return RiskCoverageCurve(coverage=kept / error.numel(), risk=risk)


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
    """
    return rank_scores(uncertainty, error).nause


def sparsification_curve(
    uncertainty: Tensor, error: Tensor, *, points: int | None = None
) -> SparsificationCurve[Tensor]:
    """Return the sparsification curves of the uncertainty and of the oracle."""
    uncertainty, error = checked_ranking(uncertainty, error)
    removed = 1 - kept_grid(error.numel(), points).to(error.device).flip(0) / error.numel()
    return sparsification_from_counts(*tie_blocks(uncertainty, error), removed, oracle=tie_blocks(error, error))
