"""Climbing an objective in projected steps: the loop that every one-step and iterated attack shares."""

import torch
from torch import Tensor

from trustseg.attacks.projections import Norm
from trustseg.attacks.search import Search
from trustseg.errors import AttackError

__all__ = ["ascend", "require_generator"]


def ascend(
    search: Search, start: Tensor, norm: Norm, *, step_size: Tensor, steps: int, momentum: float | None = None
) -> Tensor:
    """Return the last of ``steps`` projected steps from ``start``, having offered every iterate.

    Args:
        search: the attack that this is a run of.
        start: (B, C, H, W), feasible.
        norm: geometry of the budget.
        step_size: (B, 1, 1, 1), length of a step in the unit of the budget.
        steps: how many, >= 1.
        momentum: step along v = momentum v + g / ||g||_1 instead of the gradient g.

    Returns:
        (B, C, H, W), feasible.
    """
    candidates, velocity = start, torch.zeros_like(start)
    for step in range(steps):
        uphill = search.gradient(candidates, progress=step / steps)
        if momentum is not None:
            uphill = velocity = momentum * velocity + _of_mass_one(uphill)
        candidates = norm.project(candidates + step_size * norm.direction(uphill), search.images, search.radius)
    search.offer(candidates, progress=(steps - 1) / steps)  # weighed like the iterate before it
    return candidates


def _of_mass_one(gradient: Tensor) -> Tensor:
    """Return the gradient divided by the sum of its absolute values, (B, C, H, W); 0 where it is 0."""
    mass = gradient.abs().sum(dim=(1, 2, 3), keepdim=True)
    return gradient / mass.clamp_min(torch.finfo(gradient.dtype).tiny)


def require_generator(generator: torch.Generator | None, reason: str) -> torch.Generator:
    """Return the generator.

    Args:
        generator: may be ``None``.
        reason: what needs it, the beginning of a sentence.

    Raises:
        AttackError: if there is none.
    """
    if generator is None:
        raise AttackError(
            f"{reason}, but generator is None, expected a torch.Generator; "
            "pass generator=torch.Generator().manual_seed(0)"
        )
    return generator
