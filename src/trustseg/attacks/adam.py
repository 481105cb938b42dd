"""An attack in steps of Adam, which scales each pixel's step by the size of its former gradients."""

import math

import torch
from torch import Tensor

from trustseg.attacks.contract import Count, Length
from trustseg.attacks.guard import isolated
from trustseg.attacks.objectives import Objective
from trustseg.attacks.projections import LINF
from trustseg.attacks.search import Model, Search, require_steps
from trustseg.errors import AttackError

__all__ = ["padam"]

MEAN_DECAY, SQUARE_DECAY = 0.9, 0.999


def padam(
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    eps: float | Tensor,
    objective: str | Objective = "cross_entropy",
    steps: Count = 100,
    step_size: Length = None,
    generator: torch.Generator | None = None,
    keep_best: bool = True,
) -> Tensor:
    """Return images moved from the clean ones in steps of Adam, projected onto ball and box after each.

    x' = P(x + a m / sqrt(v)), where m and v are bias-corrected running means of the gradient and of its square.

    Args:
        step_size: length a of a step at first, in the unit of eps, > 0; by default eps / 4.

    Reference:
        Halmosi et al., "Evaluating the Adversarial Robustness of Semantic Segmentation: Trying Harder Pays Off", ECCV
        2024, arXiv:2407.09150; Kingma and Ba, "Adam", ICLR 2015, arXiv:1412.6980, algorithm 1. Deviations: nothing is
        added to the root, so that tiny gradients count as much as large ones, and the step is eps / 4 for every budget.
    """
    require_steps(steps)
    if step_size is not None and not 0 < step_size < math.inf:
        raise AttackError(f"step_size must be finite and above 0, got {step_size}; leave it out for eps / 4")
    with isolated(model):
        search = Search(model, images, masks, eps=eps, objective=objective, keep_best=keep_best)
        stride = search.radius / 4 if step_size is None else torch.full_like(search.radius, step_size)
        candidates = search.images
        mean = torch.zeros_like(candidates, dtype=torch.float64)  # in which the square of a tiny gradient is not 0
        square = torch.zeros_like(mean)
        for step in range(steps):
            gradient = search.gradient(candidates, progress=step / steps).to(mean)
            mean = torch.lerp(gradient, mean, MEAN_DECAY)
            square = torch.lerp(gradient.square(), square, SQUARE_DECAY)
            deviation = (square / (1 - SQUARE_DECAY ** (step + 1))).sqrt()
            direction = torch.where(deviation > 0, mean / (1 - MEAN_DECAY ** (step + 1)) / deviation, 0)
            candidates = LINF.project(candidates + stride * direction.to(candidates), search.images, search.radius)
        search.offer(candidates, progress=(steps - 1) / steps)
        return search.result(candidates)
