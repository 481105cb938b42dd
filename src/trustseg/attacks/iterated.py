"""Attacks in many steps of one size along the gradient: BIM, MI-FGSM, PGD, and PGD on a weighted cross-entropy."""

import math
from functools import partial
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from trustseg.attacks.contract import Count, Length
from trustseg.attacks.guard import isolated
from trustseg.attacks.objectives import Objective
from trustseg.attacks.projections import LINF, NormName, find_norm
from trustseg.attacks.search import Model, Search, ascend, require_generator, require_steps
from trustseg.errors import AttackError

__all__ = ["bim", "cospgd", "mi_fgsm", "pgd", "segpgd"]


def bim(
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    eps: float | Tensor,
    objective: str | Objective = "cross_entropy",
    steps: Count = 10,
    generator: torch.Generator | None = None,
    keep_best: bool = True,
) -> Tensor:
    """Return images moved in ``steps`` steps of 1.25 eps / steps along the sign of the gradient.

    Reference:
        Kurakin et al., "Adversarial Examples in the Physical World", ICLR 2017 workshop, arXiv:1607.02533, section 2.2.
        Deviation: there, min(eps + 4, 1.25 eps) steps of one grey level, which is the same up to eps = 16/255.
    """
    require_steps(steps)
    with isolated(model):
        search = Search(model, images, masks, eps=eps, objective=objective, keep_best=keep_best)
        stride = 1.25 * search.radius / steps
        return search.result(ascend(search, search.images, LINF, step_size=stride, steps=steps))


def mi_fgsm(
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    eps: float | Tensor,
    objective: str | Objective = "cross_entropy",
    steps: Count = 10,
    momentum: Annotated[float, Ge(0)] = 1.0,
    generator: torch.Generator | None = None,
    keep_best: bool = True,
) -> Tensor:
    """Return images moved in ``steps`` steps of eps / steps along the sign of a gradient with momentum.

    v = momentum v + g / ||g||_1; x' = clip(x' + eps / steps sign v). Made for images that transfer to other models.

    Args:
        momentum: share of v that is kept, >= 0; 0 gives plain steps along the sign of the gradient.

    Reference:
        Dong et al., "Boosting Adversarial Attacks with Momentum", CVPR 2018, arXiv:1710.06081, algorithm 1.
    """
    require_steps(steps)
    if not 0 <= momentum < math.inf:
        raise AttackError(f"momentum must be finite and at least 0, got {momentum}; use 1")
    with isolated(model):
        search = Search(model, images, masks, eps=eps, objective=objective, keep_best=keep_best)
        stride = search.radius / steps
        return search.result(ascend(search, search.images, LINF, step_size=stride, steps=steps, momentum=momentum))


def pgd(
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    eps: float | Tensor,
    objective: str | Objective = "cross_entropy",
    norm: NormName = "linf",
    steps: Count = 20,
    step_size: Length = None,
    restarts: Count = 1,
    random_start: bool | None = None,
    generator: torch.Generator | None = None,
    keep_best: bool = True,
) -> Tensor:
    """Return images moved in many steps up the gradient, projected onto ball and box after each.

    Costs restarts * steps backward passes, with ``keep_best`` restarts + 1 further forward passes at most.

    Args:
        steps: steps per run, >= 1.
        step_size: length of a step in the unit of eps, > 0; by default 2.5 eps / steps.
        restarts: runs from different random points, >= 1; the most harmful image of all runs is kept.
        random_start: start at a random point of the ball (``"l2"``: of the sphere) instead of the image itself; by
            default if there is a generator, which is mandatory for it.

    Reference:
        Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018, arXiv:1706.06083,
        section 2.1; the default step is that of section 5. Deviation: restarts are judged per image by harm, not by the
        mean loss.
    """
    geometry = find_norm(norm)
    if random_start is None:
        random_start = generator is not None
    _check_options(steps, step_size, restarts, random_start, keep_best)
    source = require_generator(generator, "random_start=True") if random_start else None
    with isolated(model):
        search = Search(
            model, images, masks, eps=eps, objective=objective, keep_best=keep_best, largest=geometry.largest
        )
        stride = 2.5 * search.radius / steps if step_size is None else torch.full_like(search.radius, step_size)
        last = search.images
        if source is not None:
            search.offer(search.images, progress=0.0)
        for _ in range(restarts):
            start = search.images if source is None else geometry.start(search.images, search.radius, source)
            last = ascend(search, start, geometry, step_size=stride, steps=steps)
        return search.result(last)


def _check_options(steps: int, step_size: float | None, restarts: int, random_start: bool, keep_best: bool) -> None:
    if steps < 1 or restarts < 1:
        raise AttackError(f"steps and restarts must be at least 1, got {steps} and {restarts}; use 20 and 1")
    if step_size is not None and not 0 < step_size < math.inf:
        raise AttackError(f"step_size must be finite and above 0, got {step_size}; leave it out for 2.5 eps / steps")
    if restarts > 1 and not (random_start and keep_best):
        raise AttackError(
            f"restarts={restarts} needs random_start and keep_best, got {random_start} and {keep_best}; "
            "without them all runs but one are lost: pass a generator and keep_best=True, or restarts=1"
        )


def segpgd(
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    eps: float | Tensor,
    objective: str | Objective = "cross_entropy",
    norm: NormName = "linf",
    steps: Count = 20,
    generator: torch.Generator | None = None,
    keep_best: bool = True,
) -> Tensor:
    """Return images moved by PGD on a cross-entropy whose weight moves from right pixels to all pixels.

    It is ``pgd(..., objective="segpgd")``; the only objective is ``"cross_entropy"``, the loss that is weighted.

    Reference:
        Gu et al., "SegPGD", ECCV 2022, arXiv:2207.12391, algorithm 1. Deviation: the most harmful iterate is kept.
    """
    _require_cross_entropy("segpgd", objective)
    attack = partial(pgd, objective="segpgd", norm=norm, steps=steps, generator=generator, keep_best=keep_best)
    return attack(model, images, masks, eps=eps)


def cospgd(
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    eps: float | Tensor,
    objective: str | Objective = "cross_entropy",
    norm: NormName = "linf",
    steps: Count = 20,
    generator: torch.Generator | None = None,
    keep_best: bool = True,
) -> Tensor:
    """Return images moved by PGD on a cross-entropy that weighs pixels by how right they are.

    It is ``pgd(..., objective="cospgd")``; the only objective is ``"cross_entropy"``, the loss that is weighted.

    Reference:
        Agnihotri et al., "CosPGD", ICML 2024, arXiv:2302.02213, algorithm 1. Deviation: as ``segpgd``.
    """
    _require_cross_entropy("cospgd", objective)
    attack = partial(pgd, objective="cospgd", norm=norm, steps=steps, generator=generator, keep_best=keep_best)
    return attack(model, images, masks, eps=eps)


def _require_cross_entropy(name: str, objective: str | Objective) -> None:
    if objective not in ("cross_entropy", name):
        raise AttackError(
            f"{name} supports only objective='cross_entropy', got {objective!r}; "
            "leave it out, or use pgd with that objective"
        )
