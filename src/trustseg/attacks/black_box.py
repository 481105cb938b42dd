"""Attacks without the model's gradient, to find out whether its gradients hide a weakness."""

import math
from typing import Final

import torch
from torch import Tensor

from trustseg.attacks.contract import Attack, Count
from trustseg.attacks.guard import isolated
from trustseg.attacks.iterated import pgd
from trustseg.attacks.objectives import Objective
from trustseg.attacks.projections import LINF
from trustseg.attacks.search import Model, Search, require_generator, require_steps, where_images

__all__ = ["square", "transfer"]

FIRST_SHARE: Final = 0.8  # of the pixels, in the first square
HALVINGS: Final = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # in 1/10000 of the steps


def square(
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    eps: float | Tensor,
    objective: str | Objective = "soft_dice",
    steps: Count = 2000,
    generator: torch.Generator | None = None,
    keep_best: bool = True,
) -> Tensor:
    """Return images changed in random squares, each kept where it raises the objective; no gradients.

    The start adds eps or -eps to each column. Then, ``steps`` times, one random square of each image moves by 2 eps or
    -2 eps per channel and is projected onto ball and box; its area shrinks from 80 % of the image to 0.16 %. Costs
    ``steps`` + 1 forward passes, with ``keep_best`` one more. The generator draws squares and signs, the same for all
    images of a batch. Choose an objective whose values compare between steps, so not ``"segpgd"``; ``keep_best=False``
    returns the point of the largest objective.

    Args:
        steps: squares tried, >= 1; a few hundred say nothing.

    Reference:
        Andriushchenko et al., "Square Attack: a query-efficient black-box adversarial attack via random search", ECCV
        2020, arXiv:1912.00049, algorithms 1 and 2, sizes as in the authors' code. Deviations: the objective is that of
        a mask, and squares and signs are shared by the images of a batch.
    """
    generator = require_generator(generator, "square draws squares")
    require_steps(steps)
    with isolated(model):
        search = Search(model, images, masks, eps=eps, objective=objective, keep_best=keep_best)
        clean, radius = search.images, search.radius
        reach = radius.expand(-1, -1, *clean.shape[2:])
        search.offer(clean, progress=0.0)
        stripes = _signs(clean, 1, clean.shape[3], generator=generator)
        points = LINF.project(clean + radius * stripes, clean, radius)
        values = search.value(points, progress=0.0)
        for step in range(steps):
            rows, columns = _window(step, steps, clean.shape[2], clean.shape[3], generator)
            candidates = points.clone()
            candidates[..., rows, columns] += 2 * reach[..., rows, columns] * _signs(clean, 1, 1, generator=generator)
            candidates = LINF.project(candidates, clean, radius)
            tried = search.value(candidates, progress=step / steps)
            better = tried > values
            points = where_images(better, candidates, points)
            values = torch.where(better, tried, values)
        return search.result(points)


def transfer(
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    eps: float | Tensor,
    surrogate: Model,
    attack: Attack = pgd,
    objective: str | Objective = "cross_entropy",
    generator: torch.Generator | None = None,
    keep_best: bool = True,
) -> Tensor:
    """Return images that ``attack`` made to fool another model, and that may fool this one too.

    ``keep_best`` compares the clean with the attacked version, by the harm to ``model``.

    Args:
        surrogate: the other model, for example one trained from another seed; only its gradients are used.
        attack: how it is attacked, such as ``partial(pgd, steps=100)``; eps is measured in its norm.

    Reference:
        Papernot et al., "Transferability in Machine Learning: from Phenomena to Black-Box Attacks using Adversarial
        Samples", arXiv:1605.07277. Deviation: the clean version is kept where it does more harm.
    """
    moved = attack(surrogate, images, masks, eps=eps, objective=objective, generator=generator)
    with isolated(model):
        search = Search(  # the attack has checked eps against the limit of its own norm
            model, images, masks, eps=eps, objective="margin", keep_best=keep_best, largest=math.inf
        )
        search.offer(search.images, progress=0.0)
        search.offer(moved, progress=0.0)
        return search.result(moved)


def _window(step: int, steps: int, height: int, width: int, generator: torch.Generator) -> tuple[slice, slice]:
    """Return rows and columns of a random square, whose area depends on the step."""
    share = FIRST_SHARE / 2 ** sum(step * 10000 // steps > limit for limit in HALVINGS)
    side = min(max(round(math.sqrt(share * height * width)), 1), height, width)
    top, left = (
        int(torch.randint(length - side + 1, (), generator=generator, device=generator.device))
        for length in (height, width)
    )
    return slice(top, top + side), slice(left, left + side)


def _signs(images: Tensor, height: int, width: int, *, generator: torch.Generator) -> Tensor:
    shape = (1, images.shape[1], height, width)
    return (2 * torch.randint(2, shape, generator=generator, device=generator.device) - 1).to(images)
