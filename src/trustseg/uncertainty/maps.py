"""The check of the two maps of every aggregation."""

from torch import Tensor

from trustseg.errors import ShapeError
from trustseg.masks import require_tensors

__all__ = ["check_maps"]


def check_maps(uncertainty: Tensor, probability: Tensor) -> None:
    """Raise a ShapeError unless both are tensors of one shape (B, 1, H, W)."""
    require_tensors(uncertainty=uncertainty, probability=probability)
    if uncertainty.shape != probability.shape or uncertainty.ndim != 4:
        raise ShapeError(
            "uncertainty and probability must have one shape (B, 1, H, W), "
            f"got {tuple(uncertainty.shape)} and {tuple(probability.shape)}; take both from the same belief"
        )
