"""Gradient ascent in projected steps: the loop that single-step and iterated attacks share."""

import torch
from torch import Tensor

from trustseg.attacks.projections import Norm
from trustseg.attacks.search import Search
from trustseg.errors import AttackError

__all__ = ["ascend", "require_generator", "require_steps"]


def ascend(
    search: Search, start: Tensor, norm: Norm, *, step_size: Tensor, steps: int, momentum: float | None = None
) -> Tensor:
    """Return the last of ``steps`` projected steps from the feasible points ``start``; every iterate is offered.

    Args:
        step_size: (B, 1, 1, 1), length of a step in the unit of the budget.
        momentum: step along v = momentum v + g / ||g||_1 instead of the gradient g.
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


def require_steps(steps: int) -> None:
    """Raise unless there is a step to take."""
    if steps < 1:
        raise AttackError(f"steps must be at least 1, got {steps}; leave it out for the default")


def require_generator(generator: torch.Generator | None, reason: str) -> torch.Generator:
    """Return the generator, or raise an AttackError that begins with ``reason``, what needs it."""
    if generator is None:
        raise AttackError(
            f"{reason}, but generator is None, expected a torch.Generator; "
            "pass generator=torch.Generator().manual_seed(0)"
        )
    return generator
