"""Attacks that follow the gradient of an objective in many steps of one size: BIM, MI-FGSM and PGD."""

import math

import torch
from torch import Tensor

from trustseg.attacks.ascent import ascend, require_generator
from trustseg.attacks.contract import Count, Length
from trustseg.attacks.guard import isolated
from trustseg.attacks.objectives import Objective
from trustseg.attacks.projections import LINF, NormName, find_norm
from trustseg.attacks.search import Model, Search
from trustseg.errors import AttackError

__all__ = ["bim", "mi_fgsm", "pgd"]


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
    """Return images moved from where they are in ``steps`` steps of 1.25 eps / steps along the sign of the gradient.

    The steps add up to 1.25 eps, so they reach the edge of the ball. Costs ``steps`` backward passes.

    Args:
        model: any callable from images to a belief; it is run in eval mode and left as found.
        images: (B, C, H, W) float32 in [0, 1].
        masks: reference masks (B, 1, H, W), each value 0 or 1.
        eps: L-infinity budget in pixel units of [0, 1], >= 0, one number or one per image (B,).
        objective: what to increase, a name in ``OBJECTIVES`` or a function (belief, masks, progress) -> (B,).
        steps: steps, >= 1.
        generator: not used; BIM draws nothing.
        keep_best: return per image the most harmful of all iterates and the clean image; with ``False`` the last.

    Returns:
        (B, C, H, W) float32, detached, within eps of ``images`` and within [0, 1].

    Raises:
        AttackError: if ``steps`` is below 1, ``images`` leave [0, 1], ``eps`` is negative, or the model gives no finite
            gradient.
        ShapeError: if shapes or types do not fit, or ``masks`` holds anything but 0 and 1.
        UnknownNameError: if no objective has that name.

    Reference:
        Kurakin et al., "Adversarial Examples in the Physical World", ICLR 2017 workshop, arXiv:1607.02533, section 2.2.
        Deviation: there, steps of one grey level, min(eps + 4, 1.25 eps) of them; here, any number of steps of the
        length that makes them 1.25 eps in all, which is the same up to eps = 16/255.
    """
    _check_steps(steps)
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
    momentum: float = 1.0,
    generator: torch.Generator | None = None,
    keep_best: bool = True,
) -> Tensor:
    """Return images moved in ``steps`` steps of eps / steps along the sign of a gradient with momentum.

    v = momentum v + g / ||g||_1; x' = clip(x' + eps / steps sign v). Costs ``steps`` backward passes. Made for images
    that shall fool other models too.

    Args:
        model: any callable from images to a belief; it is run in eval mode and left as found.
        images: (B, C, H, W) float32 in [0, 1].
        masks: reference masks (B, 1, H, W), each value 0 or 1.
        eps: L-infinity budget in pixel units of [0, 1], >= 0, one number or one per image (B,).
        objective: what to increase, a name in ``OBJECTIVES`` or a function (belief, masks, progress) -> (B,).
        steps: steps, >= 1.
        momentum: share of v that stays, >= 0; 0 gives plain steps along the sign of the gradient.
        generator: not used; MI-FGSM draws nothing.
        keep_best: return per image the most harmful of all iterates and the clean image; with ``False`` the last.

    Returns:
        (B, C, H, W) float32, detached, within eps of ``images`` and within [0, 1].

    Raises:
        AttackError: if ``steps`` is below 1, ``momentum`` is negative, ``images`` leave [0, 1], ``eps`` is negative, or
            the model gives no finite gradient.
        ShapeError: if shapes or types do not fit, or ``masks`` holds anything but 0 and 1.
        UnknownNameError: if no objective has that name.

    Reference:
        Dong et al., "Boosting Adversarial Attacks with Momentum", CVPR 2018, arXiv:1710.06081, algorithm 1.
    """
    _check_steps(steps)
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
        model: any callable from images to a belief; it is run in eval mode and left as found.
        images: (B, C, H, W) float32 in [0, 1].
        masks: reference masks (B, 1, H, W), each value 0 or 1.
        eps: budget in pixel units of [0, 1], >= 0, one number or one per image (B,), measured in ``norm``.
        objective: what to increase, a name in ``OBJECTIVES`` or a function (belief, masks, progress) -> (B,).
        norm: ``"linf"``, steps along the sign of the gradient, or ``"l2"``, steps along the normalised gradient.
        steps: steps per run, >= 1.
        step_size: length of a step in the same unit as eps, > 0; by default 2.5 eps / steps.
        restarts: runs from different random points, >= 1; the most harmful image of all runs is kept.
        random_start: start at a random point of the ball (``"l2"``: of the sphere) instead of the image itself; by
            default when there is a generator.
        generator: source of random starts; mandatory for them.
        keep_best: return per image the most harmful of all iterates and the clean image; with ``False`` the last.

    Returns:
        (B, C, H, W) float32, detached, within eps of ``images`` and within [0, 1].

    Raises:
        AttackError: if an option is out of range or does not fit another, a random start has no generator,
            ``images`` leave [0, 1], ``eps`` is negative, or the model gives no finite gradient.
        ShapeError: if shapes or types do not fit, or ``masks`` holds anything but 0 and 1.
        UnknownNameError: if no objective or norm has that name.

    Reference:
        Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018, arXiv:1706.06083,
        section 2.1; the default step is that of section 5. Deviations: the most harmful iterate is kept, and restarts
        are judged by it per image, not by the mean loss.
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
    """Raise unless the options of PGD are in range and fit each other."""
    if steps < 1 or restarts < 1:
        raise AttackError(f"steps and restarts must be at least 1, got {steps} and {restarts}; use 20 and 1")
    if step_size is not None and not 0 < step_size < math.inf:
        raise AttackError(f"step_size must be finite and above 0, got {step_size}; leave it out for 2.5 eps / steps")
    if restarts > 1 and not (random_start and keep_best):
        raise AttackError(
            f"restarts={restarts} needs random_start and keep_best, got {random_start} and {keep_best}; "
            "without them all runs but one are lost: pass a generator and keep_best=True, or restarts=1"
        )


def _check_steps(steps: int) -> None:
    """Raise unless there is a step to take."""
    if steps < 1:
        raise AttackError(f"steps must be at least 1, got {steps}; use 10")
