"""Reference masks: 0 is background, 1 is infection, and nothing else is."""

import torch
from torch import Tensor

from trustseg.errors import ShapeError

__all__ = ["is_binary", "require_binary"]


def is_binary(values: Tensor) -> Tensor:
    """Return whether every value is 0 or 1, a bool scalar on the device of ``values``; NaN is neither.

    Example:
        >>> is_binary(torch.tensor([0.0, 1.0, 0.7])).item()
        False
    """
    return ((values == 0) | (values == 1)).all()


def require_binary(values: Tensor, name: str = "masks", *, remedy: str = "(masks > 0.5).float()") -> None:
    """Raise unless every value is 0 or 1: a silent threshold would hide a mistake.

    Args:
        values: masks of any shape, bool or numbers.
        name: what they are called in the error.
        remedy: what to pass instead.

    Raises:
        ShapeError: if another value is among them.
    """
    if values.dtype != torch.bool and not bool(is_binary(values)):
        raise ShapeError(
            f"{name} hold values from {values.min():g} to {values.max():g}, only 0 and 1 were expected; "
            f"pass e.g. {remedy}"
        )
