"""How many images survive a budget, from the bracket in which each one's smallest harmful budget lies."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trustseg.errors import ShapeError

__all__ = ["SurvivalCurve", "survival_curve"]


@dataclass(frozen=True, slots=True)
class SurvivalCurve:
    """The share of images whose smallest harmful budget is above eps, between two step curves.

    Survivors are "not broken by this suite", never "robust": ``lower`` is the share that the attacks failed to break.

    Attributes:
        eps: (K,) budgets, rising from 0: every end of a bracket, or the ones asked for.
        lower: (K,) share of images that hold at eps; falls just after a budget (draw with ``where="pre"``).
        upper: (K,) share of images not known to break at eps; falls at a budget (draw with ``where="post"``).
        median_lower: scalar, lower bound of the median of the smallest harmful budgets.
        median_upper: scalar, its upper bound; infinite if more than half of the images are censored.
        images: number of images.
        censored: how many never broke.
        already_broken: how many were broken without an attack.
    """

    eps: Tensor
    lower: Tensor
    upper: Tensor
    median_lower: Tensor
    median_upper: Tensor
    images: int
    censored: int
    already_broken: int


def survival_curve(eps_holds: Tensor, eps_breaks: Tensor, *, eps: Tensor | None = None) -> SurvivalCurve:
    """Return the survival of images against the budget, from both ends of their brackets (eps_holds, eps_breaks].

    Curves are float64; their values and medians are NaN for no images.

    Args:
        eps_holds: (B,) largest budget at which each image held, finite, >= 0.
        eps_breaks: (B,) smallest budget known to break it, >= ``eps_holds``; infinite if it never broke, 0 if it was
            broken without an attack.
        eps: (K,) budgets >= 0 at which to read the curves, rising; every end of a bracket if left out.

    Example:
        >>> curve = survival_curve(torch.tensor([0.0, 1.0, 2.0, 8.0]), torch.tensor([0.0, 2.0, 4.0, torch.inf]))
        >>> curve.eps.tolist(), curve.lower.tolist(), curve.upper.tolist()
        ([0.0, 1.0, 2.0, 4.0, 8.0], [0.75, 0.75, 0.5, 0.25, 0.25], [0.75, 0.75, 0.5, 0.25, 0.25])
        >>> curve.median_lower.item(), curve.median_upper.item(), curve.censored, curve.already_broken
        (1.0, 2.0, 1, 1)

    Reference:
        Peto, "Experimental Survival Curves for Interval-censored Data", Applied Statistics 1973. Deviation: the two
        bounds that need no assumption stand for the maximum-likelihood curve between them.
    """
    holds, breaks = eps_holds.detach().double(), eps_breaks.detach().double()
    if holds.shape != breaks.shape or holds.ndim != 1:
        raise ShapeError(
            f"eps_holds is {tuple(holds.shape)} and eps_breaks {tuple(breaks.shape)}, expected the same (B,); "
            "give both ends of the bracket of each image"
        )
    if not bool(((holds >= 0) & (holds <= breaks) & holds.isfinite()).all()):
        raise ShapeError(
            "brackets must be 0 <= eps_holds <= eps_breaks with a finite eps_holds, got others; "
            "mark an image that never broke with an infinite eps_breaks only"
        )
    if eps is None:
        eps = torch.unique(torch.cat([holds.new_zeros(1), holds, breaks[breaks.isfinite()]]))
    eps = eps.detach().to(holds)
    if eps.ndim != 1 or not bool((eps >= 0).all()) or not bool((eps.diff() >= 0).all()):
        raise ShapeError(f"eps must be (K,), rising and at least 0, got {tuple(eps.shape)}; sort the budgets")
    broken = breaks == 0
    at = eps.view(-1, 1)
    return SurvivalCurve(
        eps=eps,
        lower=((holds >= at) & ~broken).double().mean(dim=1),
        upper=(breaks > at).double().mean(dim=1),
        median_lower=holds.median(),  # the smaller of two middle values: where a curve first falls to one half
        median_upper=breaks.median(),
        images=len(holds),
        censored=int(breaks.isinf().sum()),
        already_broken=int(broken.sum()),
    )
