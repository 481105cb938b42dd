"""Attacks that adapt their step size: Auto-PGD, and Auto-PGD through three shrinking balls."""

import math
from typing import Final

import torch
from torch import Tensor

from trustseg.attacks.contract import Count
from trustseg.attacks.guard import isolated
from trustseg.attacks.objectives import OBJECTIVES, Objective, cross_entropy, find_objective
from trustseg.attacks.projections import Norm, NormName, find_norm
from trustseg.attacks.search import Model, Search, eps_of, require_steps, where_images
from trustseg.errors import ShapeError

__all__ = ["apgd", "checkpoints", "find_judge", "staged"]

ENOUGH_RISES: Final = 0.75  # of the steps since the last checkpoint, called rho in the paper
INERTIA: Final = 0.25  # share of the step before in the next one, 1 - alpha in the paper
STAGES: Final = ((2.0, 30), (1.5, 30), (1.0, 40))  # radius in eps, percent of the steps


def apgd(
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    eps: float | Tensor,
    objective: str | Objective = "cross_entropy",
    norm: NormName = "linf",
    steps: Count = 100,
    track: str | Objective | None = None,
    start: Tensor | None = None,
    generator: torch.Generator | None = None,
    keep_best: bool = True,
) -> Tensor:
    """Return images moved in steps with momentum, whose length is halved per image where progress ends.

    z = P(x' + a d(g)), x'' = P(x' + 0.75 (z - x') + 0.25 (x' - the point before)), from a = 2 eps; P projects onto ball
    and box, d is the sign of the gradient or its direction. At each of ``checkpoints(steps)`` an image goes back to its
    best point with a / 2 if ``track`` rose in at most 75 % of the steps since the last checkpoint, or if a was not
    halved there and the best value has not improved since.

    Args:
        track: objective that judges progress, by name or as a function; it should grow with success. By default
            cross-entropy for the masked and weighted objectives, which fall when a pixel is lost, else ``objective``.
        start: points to start from (B, C, H, W), projected onto ball and box; by default a random point of the ball (in
            ``"l2"`` of the sphere) if there is a generator, else the images.

    Reference:
        Croce and Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-Free
        Attacks", ICML 2020, arXiv:2003.01690, algorithm 1 with alpha = rho = 0.75. Deviations: progress may be judged
        by another objective than the one climbed, and ``steps`` counts gradients, the one at the start included.
    """
    geometry = find_norm(norm)
    judge = find_judge(objective) if track is None else find_objective(track)
    require_steps(steps)
    if start is not None and start.shape != images.shape:
        raise ShapeError(f"start must be shaped like the images, {tuple(images.shape)}, got {tuple(start.shape)}")
    with isolated(model):
        search = Search(
            model, images, masks, eps=eps, objective=objective, keep_best=keep_best, largest=geometry.largest
        )
        first = search.images
        if start is not None:
            first = geometry.project(start.detach().to(search.images), search.images, search.radius)
        elif generator is not None:
            first = geometry.start(search.images, search.radius, generator)
        if first is not search.images:
            search.offer(search.images, progress=0.0)
        return search.result(_climb(search, first, geometry, judge, steps=steps))


def staged(
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    eps: float | Tensor,
    objective: str | Objective = "cross_entropy",
    norm: NormName = "linf",
    steps: Count = 100,
    track: str | Objective | None = None,
    generator: torch.Generator | None = None,
    keep_best: bool = True,
) -> Tensor:
    """Return images moved by Auto-PGD within 2 eps, then from the most harmful point found within 1.5 eps, then eps.

    The three runs take 30, 30 and 40 % of the ``steps``. Each starts at the most harmful point of the one before,
    projected onto its own ball, with a step size of twice its own radius; the first starts at the images. The
    candidates of ``keep_best`` are the clean image and the iterates of the last run.

    Args:
        steps: steps of all three runs together, >= 1.
        track: objective that judges progress; the default is that of ``apgd``.

    Reference:
        Croce et al., "Towards Reliable Evaluation and Fast Training of Robust Semantic Segmentation Models", ECCV 2024,
        arXiv:2306.12941, the red-epsilon schedule of its attack SEA. Deviations: there, 300 steps, and the worst point
        is the one with the fewest right pixels; here, the one of lowest Dice.
    """
    geometry = find_norm(norm)
    judge = find_judge(objective) if track is None else find_objective(track)
    require_steps(steps)
    lengths = [share * steps // 100 for _, share in STAGES[:-1]]
    lengths.append(steps - sum(lengths))
    with isolated(model):
        final = Search(
            model, images, masks, eps=eps, objective=objective, keep_best=keep_best, largest=geometry.largest
        )
        final.offer(final.images, progress=0.0)
        points, done = final.images, 0
        for (factor, _), length in zip(STAGES, lengths, strict=True):
            search = final
            if factor > 1:  # the points of a wider ball are starts, not results
                wide = factor * eps_of(final)
                search = Search(model, images, masks, eps=wide, objective=objective, keep_best=True, largest=math.inf)
            points = geometry.project(points, search.images, search.radius)
            if length > 0:
                points = search.result(_climb(search, points, geometry, judge, steps=length, done=done, total=steps))
            done += length
        return points


def checkpoints(steps: int) -> list[int]:
    """Return after how many of ``steps`` >= 1 steps Auto-PGD checks its progress, in rising order.

    First after 22 % of the steps, then after periods that shrink by 3 % of the steps down to 6 %; lengths are rounded
    down as in the authors' code.

    Example:
        >>> checkpoints(100)
        [22, 41, 57, 70, 80, 87, 93, 99]
    """
    period, found = max(22 * steps // 100, 1), [0]
    while found[-1] + period < steps:
        found.append(found[-1] + period)
        period = max(period - 3 * steps // 100, 6 * steps // 100, 1)
    return found[1:]


def find_judge(objective: str | Objective) -> Objective:
    """Return what judges progress: cross-entropy for an objective that falls when a pixel is lost, else itself."""
    found = find_objective(objective)
    falls = any(found in (entry, entry.function) for entry in OBJECTIVES.values() if entry.facts.falls)
    return cross_entropy if falls else found


def _climb(
    search: Search, start: Tensor, norm: Norm, judge: Objective, *, steps: int, done: int = 0, total: int | None = None
) -> Tensor:
    """Return the last point of Auto-PGD from ``start``, every iterate offered; ``done`` of ``total`` steps are past."""
    total = steps if total is None else total
    looks = checkpoints(steps)
    step_size, points, before = 2 * search.radius, start, start
    best, best_gradient = start, torch.zeros_like(start)
    best_value = search.radius.new_full((len(start),), -math.inf)
    last_value = last_best = best_value
    rises, halved = torch.zeros_like(best_value), torch.zeros_like(best_value, dtype=torch.bool)
    for step in range(steps):
        gradient, value = search.gradient_and_value(points, progress=(done + step) / total, track=judge)
        better = value > best_value
        best, best_gradient = where_images(better, points, best), where_images(better, gradient, best_gradient)
        best_value = torch.where(better, value, best_value)
        if step == 0:
            last_best = best_value
        else:
            rises += value > last_value
        if step in looks:
            window = step - max((look for look in looks if look < step), default=0)
            halved = (rises <= ENOUGH_RISES * window) | (~halved & (best_value <= last_best))
            step_size = where_images(halved, step_size / 2, step_size)
            points, gradient = where_images(halved, best, points), where_images(halved, best_gradient, gradient)
            value, last_best, rises = torch.where(halved, best_value, value), best_value, torch.zeros_like(rises)
        last_value = value
        moved = norm.project(points + step_size * norm.direction(gradient), search.images, search.radius)
        if step > 0:
            moved = points + (1 - INERTIA) * (moved - points) + INERTIA * (points - before)
            moved = norm.project(moved, search.images, search.radius)
        points, before = moved, points
    search.offer(points, progress=(done + steps - 1) / total)  # weighed like the iterate before it
    return points
