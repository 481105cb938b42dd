"""Digamma and log-gamma from plain arithmetic: ONNX has no such operators."""

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor

__all__ = ["DECOMPOSITIONS", "digamma", "lgamma"]

_SHIFT: Final = 8  # from where the series below are exact to 1e-10


def digamma(x: Tensor) -> Tensor:
    """Return the digamma function of x > 0.

    psi(x) = psi(x + 8) - sum over k < 8 of 1 / (x + k), and the asymptotic series of psi from 8 on, in float64.

    Example:
        >>> digamma(torch.tensor([1.0]))  # minus Euler's constant
        tensor([-0.5772])

    Reference:
        Abramowitz and Stegun, "Handbook of Mathematical Functions", 6.3.5 and 6.3.18.
    """
    low = x.double()
    high = low + _SHIFT
    i = 1 / (high * high)
    tail = i * (1 / 12 - i * (1 / 120 - i * (1 / 252 - i * (1 / 240 - i / 132))))
    steps = sum((1 / (low + k) for k in range(_SHIFT)), start=torch.zeros_like(low))
    return (high.log() - 0.5 / high - tail - steps).to(x.dtype)


def lgamma(x: Tensor) -> Tensor:
    """Return the logarithm of the gamma function of x > 0.

    lnGamma(x) = lnGamma(x + 8) - ln of the product of x + k over k < 8, and Stirling's series from 8 on, in float64.

    Example:
        >>> lgamma(torch.tensor([5.0]))  # ln 4!
        tensor([3.1781])

    Reference:
        Abramowitz and Stegun, "Handbook of Mathematical Functions", 6.1.15 and 6.1.41.
    """
    low = x.double()
    high = low + _SHIFT
    i = 1 / high
    tail = i * (1 / 12 - i * i * (1 / 360 - i * i * (1 / 1260 - i * i / 1680)))
    steps = sum(((low + k).log() for k in range(_SHIFT)), start=torch.zeros_like(low))
    constant = 0.9189385332046727  # ln(2 pi) / 2
    return ((high - 0.5) * high.log() - high + constant + tail - steps).to(x.dtype)


DECOMPOSITIONS: Final[dict[Any, Callable[..., Any]]] = {
    torch.ops.aten.digamma.default: digamma,
    torch.ops.aten.lgamma.default: lgamma,
}
"""Operators of torch -> the functions above, for ``ExportedProgram.run_decompositions``."""
