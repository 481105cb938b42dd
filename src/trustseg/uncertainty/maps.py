"""What every aggregation asks of its two maps."""

from torch import Tensor

from trustseg.errors import ShapeError
from trustseg.masks import require_tensors

__all__ = ["check_maps"]


def check_maps(uncertainty: Tensor, probability: Tensor) -> None:
    """Check that a map of uncertainty lies pixel by pixel on its probability.

    Args:
        uncertainty: should be (B, 1, H, W).
        probability: should be (B, 1, H, W).

    Raises:
        ShapeError: if one is no tensor, the two differ in shape or are not (B, 1, H, W).
    """
    require_tensors(uncertainty=uncertainty, probability=probability)
    if uncertainty.shape != probability.shape or uncertainty.ndim != 4:
        raise ShapeError(
            "uncertainty and probability must have one shape (B, 1, H, W), "
            f"got {tuple(uncertainty.shape)} and {tuple(probability.shape)}; take both from the same belief"
        )
