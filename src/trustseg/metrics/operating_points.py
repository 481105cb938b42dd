"""Risk at a coverage and coverage at a risk over all pixels of a dataset, streamed as in ``streaming``."""

from torch import Tensor
from torchmetrics import Metric

from trustseg.metrics.histograms import UNIT
from trustseg.metrics.ranking import filled_blocks
from trustseg.metrics.streaming import PixelError, PixelRanking, add_pixels, add_states
from trustseg.metrics.tie_blocks import Blocks, check_coverage, check_risk, coverage_of_blocks, risk_of_blocks

__all__ = ["CoverageAtRisk", "RiskAtCoverage"]


class RiskAtCoverage(Metric):
    """Mean error of the surest share ``coverage``, in (0, 1], of every pixel seen: ``risk_at_coverage``, streamed.

    Example:
        >>> metric = RiskAtCoverage(coverage=0.5)
        >>> metric.update(torch.tensor([0.1, 0.4]), torch.tensor([0.1, 0.4]), torch.tensor([0.0, 1.0]))
        >>> metric.compute()
        tensor(0., dtype=torch.float64)
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    counts: Tensor
    error_units: Tensor

    def __init__(self, *, coverage: float, error: PixelError = "wrong") -> None:
        super().__init__()
        check_coverage(coverage)
        self.coverage = coverage
        self.error = error
        add_states(self, error)

    def update(self, uncertainty: Tensor, probability: Tensor, masks: Tensor) -> None:
        """Add pixels, all three of one shape."""
        add_pixels(self, uncertainty, probability, masks)

    def compute(self) -> Tensor:
        """Return the risk, scalar float64; NaN without pixels."""
        return risk_of_blocks(_blocks(self), self.coverage)


class CoverageAtRisk(Metric):
    """Largest share of every pixel seen that can be kept at a mean error of ``risk``: ``coverage_at_risk``, streamed.

    Example:
        >>> metric = CoverageAtRisk(risk=0.1)
        >>> metric.update(torch.tensor([0.1, 0.4]), torch.tensor([0.1, 0.4]), torch.tensor([0.0, 1.0]))
        >>> metric.compute()
        tensor(0.5000, dtype=torch.float64)
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    counts: Tensor
    error_units: Tensor

    def __init__(self, *, risk: float, error: PixelError = "wrong") -> None:
        super().__init__()
        check_risk(risk)
        self.risk = risk
        self.error = error
        add_states(self, error)

    def update(self, uncertainty: Tensor, probability: Tensor, masks: Tensor) -> None:
        """Add pixels, all three of one shape."""
        add_pixels(self, uncertainty, probability, masks)

    def compute(self) -> Tensor:
        """Return the coverage, scalar float64 in [0, 1]; NaN without pixels."""
        return coverage_of_blocks(_blocks(self), self.risk)


def _blocks(metric: PixelRanking) -> Blocks:
    """Return the filled bins as tie blocks."""
    return Blocks(*filled_blocks(metric.counts, metric.error_units.double() / UNIT))
