"""Attacks that never ask the model for a gradient, to find out whether its gradients hide a weakness."""

import math
from typing import Final

import torch
from torch import Tensor

from trustseg.attacks.ascent import require_generator
from trustseg.attacks.contract import Attack, Count
from trustseg.attacks.guard import isolated
from trustseg.attacks.iterated import pgd
from trustseg.attacks.objectives import Objective
from trustseg.attacks.projections import LINF
from trustseg.attacks.search import Model, Search
from trustseg.errors import AttackError

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
    -2 eps a channel and is projected onto ball and box; its area shrinks from 80 % of the image to 0.16 %. Costs
    ``steps`` + 1 forward passes, with ``keep_best`` one more. All images of a batch meet the same squares, so none
    depends on its batch.

    Args:
        model: any callable from images to a belief; it is run in eval mode and left as found.
        images: (B, C, H, W) float32 in [0, 1].
        masks: reference masks (B, 1, H, W), each value 0 or 1.
        eps: L-infinity budget in pixel units of [0, 1], >= 0, one number or one per image (B,).
        objective: what to increase, a name in ``OBJECTIVES`` or a function (belief, masks, progress) -> (B,). Choose
            one whose value can be compared between steps, so not ``"segpgd"``.
        steps: squares tried, >= 1; a few hundred say nothing.
        generator: source of squares and signs; mandatory.
        keep_best: return per image the most harmful of all points tried and the clean image; with ``False`` the point
            of the largest objective.

    Returns:
        (B, C, H, W) float32, detached, within eps of ``images`` and within [0, 1].

    Raises:
        AttackError: if there is no generator, ``steps`` is below 1, ``images`` leave [0, 1], ``eps`` is negative, or
            the objective is not finite.
        ShapeError: if shapes or types do not fit, or ``masks`` holds anything but 0 and 1.
        UnknownNameError: if no objective has that name.

    Reference:
        Andriushchenko et al., "Square Attack: a query-efficient black-box adversarial attack via random search",
        ECCV 2020, arXiv:1912.00049, algorithms 1 and 2, sizes as in the authors' code.
        Deviations: the objective is that of a mask, and squares and signs are shared by the images of a batch.
    """
    generator = require_generator(generator, "square draws squares")
    if steps < 1:
        raise AttackError(f"steps must be at least 1, got {steps}; use 2000")
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
            points = torch.where(better.view(-1, 1, 1, 1), candidates, points)
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

    Args:
        model: any callable from images to a belief; it is run in eval mode and left as found.
        images: (B, C, H, W) float32 in [0, 1].
        masks: reference masks (B, 1, H, W), each value 0 or 1.
        eps: budget in pixel units of [0, 1], >= 0, one number or one per image (B,), in the norm of ``attack``.
        surrogate: the other model, for example one trained from another seed; only it is asked for gradients.
        attack: what is done to it, an entry of ``ATTACKS`` or one with options, such as ``partial(pgd, steps=100)``.
        objective: what to increase on the surrogate.
        generator: source of what ``attack`` draws.
        keep_best: return per image the clean or the attacked version, whichever does ``model`` more harm; with
            ``False`` always the attacked one.

    Returns:
        (B, C, H, W) float32, detached, within eps of ``images`` and within [0, 1].

    Raises:
        AttackError: if ``images`` leave [0, 1], ``eps`` is negative, or a model gives no finite numbers.
        ShapeError: if shapes or types do not fit, or ``masks`` holds anything but 0 and 1.
        UnknownNameError: if no objective has that name.

    Reference:
        Papernot et al., "Transferability in Machine Learning: from Phenomena to Black-Box Attacks using Adversarial
        Samples", arXiv:1605.07277. Deviation: per image, the clean version stays if it is worse.
    """
    moved = attack(surrogate, images, masks, eps=eps, objective=objective, generator=generator)
    with isolated(model):
        search = Search(  # the attack has held eps against what its own norm allows
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
    """Return random signs (1, C, height, width), drawn where the generator lives."""
    shape = (1, images.shape[1], height, width)
    return (2 * torch.randint(2, shape, generator=generator, device=generator.device) - 1).to(images)
