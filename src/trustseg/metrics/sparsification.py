"""Sparsification: how fast the error falls when the least sure items are removed, against an oracle that knows it."""

from torch import Tensor

from trustseg.metrics.ranking import SparsificationCurve, sparsification_from_counts
from trustseg.metrics.selective import rank_scores
from trustseg.metrics.tie_blocks import checked_ranking, kept_grid, tie_blocks

__all__ = ["ause", "nause", "sparsification_curve"]


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


def sparsification_curve(
    uncertainty: Tensor, error: Tensor, *, points: int | None = None
) -> SparsificationCurve[Tensor]:
    """Return the sparsification curves of the uncertainty and of the oracle.

    Example:
        >>> sparsification_curve(torch.tensor([0.1, 0.2]), torch.tensor([0.0, 1.0])).model
        tensor([1., 0.], dtype=torch.float64)
    """
    uncertainty, error = checked_ranking(uncertainty, error)
    removed = 1 - kept_grid(error.numel(), points).to(error.device).flip(0) / error.numel()
    return sparsification_from_counts(*tie_blocks(uncertainty, error), removed, oracle=tie_blocks(error, error))
