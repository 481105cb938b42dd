"""Attacks that follow the gradient of an objective: FGSM, R+FGSM and PGD."""

import math
from typing import Literal

import torch
from torch import Tensor

from trustseg.attacks.guard import isolated
from trustseg.attacks.objectives import Objective
from trustseg.attacks.projections import LINF, NORMS, Norm, gaussian
from trustseg.attacks.search import Model, Search
from trustseg.errors import AttackError, unknown_name

__all__ = ["fgsm", "pgd", "r_fgsm"]


def fgsm(
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    eps: float | Tensor,
    objective: str | Objective = "cross_entropy",
    generator: torch.Generator | None = None,
    keep_best: bool = True,
) -> Tensor:
    """Return images moved once, by eps along the sign of the gradient: x' = clip(x + eps sign g(x)).

    Args:
        model: any callable from images to a belief; it is run in eval mode and left as found.
        images: (B, C, H, W) float32 in [0, 1].
        masks: reference masks (B, 1, H, W), each value 0 or 1.
        eps: L-infinity budget in pixel units of [0, 1], >= 0, one number or one per image (B,).
        objective: what to increase, a name in ``OBJECTIVES`` or a function (belief, masks, progress) -> (B,).
        generator: not used; FGSM draws nothing.
        keep_best: return per image the clean or the attacked version, whichever harms more; with ``False`` always the
            attacked one, which saves a forward pass in training.

    Returns:
        (B, C, H, W) float32, detached, within eps of ``images`` and within [0, 1].

    Raises:
        AttackError: if ``images`` leave [0, 1], ``eps`` is negative, or the model gives no finite gradient.
        ShapeError: if shapes or types do not fit, or ``masks`` holds anything but 0 and 1.
        UnknownNameError: if no objective has that name.

    Example:
        >>> from trustseg.beliefs import Bernoulli
        >>> def model(images): return Bernoulli(images - 0.45)  # infected where brighter than 0.45
        >>> fgsm(model, torch.full((1, 1, 1, 1), 0.5), torch.ones(1, 1, 1, 1), eps=0.1).item()
        0.4000000059604645

    Reference:
        Goodfellow et al., "Explaining and Harnessing Adversarial Examples", ICLR 2015, arXiv:1412.6572, section 4.
    """
    with isolated(model):
        search = Search(model, images, masks, eps=eps, objective=objective, keep_best=keep_best)
        return search.result(_ascend(search, search.images, LINF, step_size=search.radius, steps=1))


def r_fgsm(
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    eps: float | Tensor,
    objective: str | Objective = "cross_entropy",
    generator: torch.Generator | None = None,
    keep_best: bool = True,
) -> Tensor:
    """Return images moved by eps/2 at random, then by eps/2 along the sign of the gradient found there.

    x1 = clip(x + eps/2 sign(N(0, 1))); x' = clip(x1 + eps/2 sign g(x1)).

    Args:
        model: any callable from images to a belief; it is run in eval mode and left as found.
        images: (B, C, H, W) float32 in [0, 1].
        masks: reference masks (B, 1, H, W), each value 0 or 1.
        eps: L-infinity budget in pixel units of [0, 1], >= 0, one number or one per image (B,).
        objective: what to increase, a name in ``OBJECTIVES`` or a function (belief, masks, progress) -> (B,).
        generator: source of the random step; mandatory.
        keep_best: return per image the most harmful of clean, x1 and x'; with ``False`` always x'.

    Returns:
        (B, C, H, W) float32, detached, within eps of ``images`` and within [0, 1].

    Raises:
        AttackError: if there is no generator, ``images`` leave [0, 1], ``eps`` is negative, or the model gives no
            finite gradient.
        ShapeError: if shapes or types do not fit, or ``masks`` holds anything but 0 and 1.
        UnknownNameError: if no objective has that name.

    Reference:
        Tramer et al., "Ensemble Adversarial Training: Attacks and Defenses", ICLR 2018, arXiv:1705.07204, equation 4
        with alpha = eps/2 as in its table 2. x1 is clipped to [0, 1] as in the authors' code.
    """
    generator = _demanded(generator, "r_fgsm starts at random")
    with isolated(model):
        search = Search(model, images, masks, eps=eps, objective=objective, keep_best=keep_best)
        half = search.radius / 2
        start = (search.images + half * gaussian(search.images, generator).sign()).clamp(0, 1)
        search.offer(search.images, progress=0.0)
        return search.result(_ascend(search, start, LINF, step_size=half, steps=1))


def pgd(
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    eps: float | Tensor,
    objective: str | Objective = "cross_entropy",
    norm: Literal["linf", "l2"] = "linf",
    steps: int = 20,
    step_size: float | None = None,
    restarts: int = 1,
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
    if norm not in NORMS:
        raise unknown_name("norm", norm, NORMS)
    if random_start is None:
        random_start = generator is not None
    _check_options(steps, step_size, restarts, random_start, keep_best)
    source = _demanded(generator, "random_start=True") if random_start else None
    geometry = NORMS[norm]
    with isolated(model):
        search = Search(model, images, masks, eps=eps, objective=objective, keep_best=keep_best)
        stride = 2.5 * search.radius / steps if step_size is None else torch.full_like(search.radius, step_size)
        last = search.images
        if source is not None:
            search.offer(search.images, progress=0.0)
        for _ in range(restarts):
            start = search.images if source is None else geometry.start(search.images, search.radius, source)
            last = _ascend(search, start, geometry, step_size=stride, steps=steps)
        return search.result(last)


def _ascend(search: Search, start: Tensor, norm: Norm, *, step_size: Tensor, steps: int) -> Tensor:
    """Return the last of ``steps`` projected steps from ``start``, having offered every iterate."""
    candidates = start
    for step in range(steps):
        gradient = search.gradient(candidates, progress=step / steps)
        candidates = norm.project(candidates + step_size * norm.direction(gradient), search.images, search.radius)
    search.offer(candidates, progress=(steps - 1) / steps)  # weighed like the iterate before it
    return candidates


def _demanded(generator: torch.Generator | None, reason: str) -> torch.Generator:
    """Return the generator, or say that there is none."""
    if generator is None:
        raise AttackError(
            f"{reason}, but generator is None, expected a torch.Generator; "
            "pass generator=torch.Generator().manual_seed(0)"
        )
    return generator


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
