"""Survival of images under a rising budget, from brackets of their smallest harmful budgets."""

from trustseg.errors import ShapeError
from trustseg.metrics.counts import Array

__all__ = ["survivors"]


def survivors(eps_holds: Array, eps_breaks: Array, eps: Array) -> tuple[Array, Array]:
    """Return which images are known to hold at each budget, and which are not known to break, both (B, K) bool.

    Their means over the images are the two step curves between which the survival curve lies. Survivors are "not broken
    by this suite", never "robust".

    Args:
        eps_holds: (B,) largest budget at which each image held, finite, >= 0.
        eps_breaks: (B,) smallest budget known to break it, >= ``eps_holds``; infinite if it never broke, 0 if it was
            broken without an attack.
        eps: (K,) budgets >= 0.

    Example:
        >>> import numpy as np
        >>> holds, breaks, eps = np.array([0, 1, 8]), np.array([0, 4, np.inf]), np.array([1, 2, 4])
        >>> [known.mean(axis=0).round(2).tolist() for known in survivors(holds, breaks, eps)]
        [[0.67, 0.33, 0.33], [0.67, 0.67, 0.33]]

    Reference:
        Peto, "Experimental Survival Curves for Interval-censored Data", Applied Statistics 1973. Deviation: the two
        bounds that need no assumption stand for the maximum-likelihood curve between them.
    """
    if eps_holds.shape != eps_breaks.shape or eps_holds.ndim != 1:
        raise ShapeError(f"eps_holds is {tuple(eps_holds.shape)}, eps_breaks {tuple(eps_breaks.shape)}, not both (B,)")
    if not bool(((eps_holds >= 0) & (eps_holds <= eps_breaks) & (eps_holds < float("inf"))).all()):
        raise ShapeError("brackets must be 0 <= eps_holds <= eps_breaks, with a finite eps_holds")
    holds, breaks = eps_holds[:, None], eps_breaks[:, None]
    return (holds >= eps) & (breaks > 0), breaks > eps
