"""The float type of beliefs, and the map of a measure by its name."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from trustseg.errors import BeliefError

__all__ = ["look_up", "promoted"]


class _Measured(Protocol):
    @property
    def measures(self) -> tuple[str, ...]: ...


def promoted(values: Tensor) -> Tensor:
    """Return ``values`` in float32, or unchanged if float64."""
    return values if values.dtype == torch.float64 else values.float()


def look_up(belief: _Measured, measure: str) -> Tensor:
    """Return the map of ``measure``, or raise an error that lists the measures of this belief."""
    if measure not in belief.measures:
        kind = type(belief).__name__
        raise BeliefError(
            f"a {kind} belief has no '{measure}'; it gives {', '.join(belief.measures)}; "
            "choose one of these or a model with another head"
        )
    method: Callable[[], Tensor] = getattr(belief, measure)
    return method()
