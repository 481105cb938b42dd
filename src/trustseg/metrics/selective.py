"""How well an uncertainty ranks errors: AURC, AUGRC, E-AURC and risk-coverage curves, exact and with ties averaged."""

from dataclasses import dataclass

from torch import Tensor

from trustseg.metrics.ranking import RankScores, augrc_from_counts, aurc_from_counts, error_of_kept, scores_from_counts
from trustseg.metrics.tie_blocks import (
    check_coverage,
    check_risk,
    checked_ranking,
    coverage_of_blocks,
    kept_grid,
    risk_of_blocks,
    tie_blocks,
)

__all__ = [
    "RiskCoverageCurve",
    "augrc",
    "aurc",
    "coverage_at_risk",
    "e_aurc",
    "rank_scores",
    "risk_at_coverage",
    "risk_coverage_curve",
]


@dataclass(frozen=True, slots=True)
class RiskCoverageCurve:
    """Mean error of the kept items against the share kept, both (K,) float64, coverage rising to 1."""

    coverage: Tensor
    risk: Tensor


def rank_scores(uncertainty: Tensor, error: Tensor) -> RankScores[Tensor]:
    """Return every score of how ``uncertainty`` ranks ``error``.

    Args:
        uncertainty: any shape, any real type, higher = less sure; may be infinite.
        error: same shape, finite and >= 0: wrong pixels as bool, squared errors, 1 - Dice of images ...

    Returns:
        Scalar scores; all NaN for no items at all.

    Raises:
        ShapeError: if the shapes differ, the uncertainty is NaN, or an error is NaN, infinite or negative.

    Example:
        >>> scores = rank_scores(torch.tensor([0.5, 0.5, 0.5, 0.5]), torch.tensor([0, 0, 1, 1]))
        >>> round(float(scores.ause), 4), float(scores.nause)
        (0.5833, 1.0)

    Reference:
        AURC and E-AURC: Geifman, Uziel and El-Yaniv, "Bias-Reduced Uncertainty Estimation", ICLR 2019,
        arXiv:1805.08206. AUGRC: Traub et al., NeurIPS 2024, arXiv:2407.01032. Deviation from both: ties are averaged.
    """
    uncertainty, error = checked_ranking(uncertainty, error)
    return scores_from_counts(*tie_blocks(uncertainty, error), oracle=tie_blocks(error, error))


def aurc(uncertainty: Tensor, error: Tensor) -> Tensor:
    """Return the area under the risk-coverage curve, in units of the error (see ``rank_scores``).

    Example:
        >>> aurc(torch.tensor([0.1, 0.2]), torch.tensor([0.0, 1.0]))
        tensor(0.2500, dtype=torch.float64)
    """
    return aurc_from_counts(*tie_blocks(*checked_ranking(uncertainty, error)))


def e_aurc(uncertainty: Tensor, error: Tensor) -> Tensor:
    """Return the excess of AURC over that of the oracle, 0 for a perfect ranking (see ``rank_scores``)."""
    return rank_scores(uncertainty, error).e_aurc


def augrc(uncertainty: Tensor, error: Tensor) -> Tensor:
    """Return the mean undetected error over all coverages, in units of the error (see ``rank_scores``).

    Example:
        >>> augrc(torch.tensor([0.1, 0.2]), torch.tensor([1.0, 0.0]))
        tensor(0.5000, dtype=torch.float64)
    """
    return augrc_from_counts(*tie_blocks(*checked_ranking(uncertainty, error)))


def risk_coverage_curve(uncertainty: Tensor, error: Tensor, *, points: int | None = None) -> RiskCoverageCurve:
    """Return the mean error of the k surest items for every k, or for ``points`` evenly spaced k.

    Args:
        uncertainty: as in ``rank_scores``.
        error: as in ``rank_scores``.
        points: number of points, >= 1; None gives one per item. Full coverage is always the last point.

    Returns:
        At most ``points`` points; none for no items.

    Raises:
        ConfigError: if ``points`` is below 1.
        ShapeError: as ``rank_scores``.

    Example:
        >>> risk_coverage_curve(torch.tensor([0.2, 0.1]), torch.tensor([1.0, 0.0])).risk
        tensor([0.0000, 0.5000], dtype=torch.float64)
    """
    uncertainty, error = checked_ranking(uncertainty, error)
    kept = kept_grid(error.numel(), points).to(error.device)
    risk = error_of_kept(*tie_blocks(uncertainty, error), kept) / kept
    return RiskCoverageCurve(coverage=kept / error.numel(), risk=risk)


def risk_at_coverage(uncertainty: Tensor, error: Tensor, coverage: float) -> Tensor:
    """Return the mean error when the surest share ``coverage`` of the items is kept.

    Args:
        uncertainty: as in ``rank_scores``.
        error: as in ``rank_scores``.
        coverage: share of items kept, in (0, 1]; at least one item is kept, a fraction of an item counts in part.

    Returns:
        Scalar float64; NaN for no items.

    Raises:
        ConfigError: if ``coverage`` is outside (0, 1].
        ShapeError: as ``rank_scores``.

    Example:
        >>> risk_at_coverage(torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([0.0, 1.0, 1.0, 1.0]), 0.5)
        tensor(0.5000, dtype=torch.float64)
    """
    check_coverage(coverage)
    return risk_of_blocks(tie_blocks(*checked_ranking(uncertainty, error)), coverage)


def coverage_at_risk(uncertainty: Tensor, error: Tensor, risk: float) -> Tensor:
    """Return the largest share of items that can be kept with a mean error of at most ``risk``.

    Args:
        uncertainty: as in ``rank_scores``.
        error: as in ``rank_scores``.
        risk: highest mean error allowed, in units of the error.

    Returns:
        Scalar float64 in [0, 1]; 0 if even the surest item is too wrong, NaN for no items.

    Raises:
        ConfigError: if ``risk`` is NaN.
        ShapeError: as ``rank_scores``.

    Example:
        >>> coverage_at_risk(torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([0.0, 0.0, 1.0, 1.0]), 0.4)
        tensor(0.7500, dtype=torch.float64)
    """
    check_risk(risk)
    return coverage_of_blocks(tie_blocks(*checked_ranking(uncertainty, error)), risk)
