"""The smallest budget that breaks each image, as a bracket: the largest one known to hold, the smallest known to break.

An image is *broken* when its Dice is at most tau; where the mask is empty, when at least 1 % of it is predicted as
foreground. A smaller tau asks for more harm, so for a larger budget.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor

from trustseg.attacks.guard import isolated
from trustseg.attacks.objectives import Objective
from trustseg.attacks.projections import Norm, NormName, find_norm
from trustseg.attacks.search import Model, Search, areas, ascend
from trustseg.beliefs import Belief
from trustseg.errors import AttackError

__all__ = ["FALSE_ALARM", "LADDERS", "Bracket", "check_tau", "is_broken", "minimal_eps"]

FALSE_ALARM: Final = 0.01
"""Share of pixels predicted as foreground from which an image with an empty mask counts as broken."""

LADDERS: Final[Mapping[str, tuple[float, ...]]] = {
    "linf": (0.25 / 255, 0.5 / 255, 1 / 255, 2 / 255, 4 / 255, 8 / 255),
    "l2": (0.125, 0.25, 0.5, 1.0, 2.0, 4.0),
}
"""Budgets tried for each norm; those of L2 are meant for images of about 224 to 256 pixels per side."""


@dataclass(frozen=True, slots=True)
class Bracket:
    """Where the smallest harmful budget of each image lies: in (eps_holds, eps_breaks].

    Attributes:
        eps_holds: (B,) largest budget at which no attack broke the image; no proof that none exists.
        eps_breaks: (B,) smallest budget known to break it, a true upper bound; infinite where censored.
        already_broken: (B,) bool, the clean image is broken; both budgets are 0.
        censored: (B,) bool, not broken by the largest budget tried.
        images: (B, C, H, W) images in [0, 1], detached, broken within ``eps_breaks``; the clean ones where censored.
    """

    eps_holds: Tensor
    eps_breaks: Tensor
    already_broken: Tensor
    censored: Tensor
    images: Tensor


def is_broken(belief: Belief, masks: Tensor, progress: float = 0.0, *, tau: float) -> Tensor:
    """Return which images are broken, Dice <= ``tau``, (B,) bool; ``progress`` is not used."""
    overlap, found, reference, pixels = areas(belief, masks)
    false_alarm = found / pixels.clamp_min(1) >= FALSE_ALARM
    return torch.where(reference > 0, 2 * overlap / (found + reference) <= tau, false_alarm)


def check_tau(tau: float) -> None:
    """Raise an AttackError unless ``tau`` is a Dice that an image can fall to, in [0, 1)."""
    if not 0 <= tau < 1:
        raise AttackError(f"tau must be a Dice in [0, 1), got {tau}; the usual values are 0.5 and 0.8")


def minimal_eps(
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    tau: float = 0.5,
    ladder: Sequence[float] | None = None,
    halvings: int = 4,
    steps: int = 20,
    objectives: Sequence[str | Objective] = ("margin", "balanced_masked_cross_entropy", "soft_dice"),
    norm: NormName = "linf",
    region: Tensor | None = None,
) -> Bracket:
    """Return the bracket of each image, found by walking up a ladder of budgets and bisecting its last rung.

    On each rung PGD follows one objective after the other from the most harmful image of the rung below; an image that
    breaks leaves the ladder. Bisection then starts from the breaking image, projected onto the smaller ball. The width
    of a bracket is the gap of the ladder it broke in, over 2^halvings. Costs at most (len(ladder) + halvings) *
    len(objectives) * (steps + 2) passes per image, and mostly half of them.

    Args:
        tau: Dice in [0, 1) at or below which an image is broken.
        ladder: rising budgets to try, > 0, in pixel units of [0, 1], measured in ``norm``; by default that of
            ``LADDERS``.
        halvings: bisections of the gap between the last rung that held and the first that broke, >= 0.
        steps: steps of PGD per objective, >= 1.
        objectives: at least one; for a Beta model add ``"evidence_margin"``.
        norm: geometry of the budgets.
        region: where an image may change, (B, 1, H, W) bool; everywhere if left out.
    """
    geometry, broken_at_tau = find_norm(norm), partial(is_broken, tau=tau)
    ladder = LADDERS[norm] if ladder is None else ladder
    check_tau(tau)
    _check_options(ladder, halvings, steps, objectives)
    press = partial(_press, model, objectives=objectives, norm=geometry, steps=steps, broken_at_tau=broken_at_tau)
    with isolated(model):
        search = Search(model, images, masks, eps=0.0, objective=objectives[0], keep_best=False)
        _, already_broken = search.gradient_and_value(search.images, progress=0.0, track=broken_at_tau)
        clean, masks = search.result(search.images), search.masks
        points = clean.clone()  # the most harmful image so far; once broken, the breaking one
        reach = torch.ones_like(clean[:, :1, :1, :1]) if region is None else region.to(clean)
        holds = clean.new_zeros(len(clean))
        breaks = torch.where(already_broken, 0.0, torch.full_like(holds, torch.inf))
        for eps in ladder:
            rows = breaks.isinf().nonzero().squeeze(1)
            points[rows], broken = press(clean[rows], masks[rows], points[rows], eps * reach[rows])
            holds[rows[~broken]], breaks[rows[broken]] = eps, eps
        censored = breaks.isinf()
        rows = (~censored & ~already_broken).nonzero().squeeze(1)
        for _ in range(halvings):
            middle = (holds[rows] + breaks[rows]) / 2
            nearer, broken = press(clean[rows], masks[rows], points[rows], middle.view(-1, 1, 1, 1) * reach[rows])
            points[rows[broken]] = nearer[broken]
            holds[rows[~broken]], breaks[rows[broken]] = middle[~broken], middle[broken]
        points[censored] = clean[censored]
        return Bracket(holds, breaks, already_broken, censored, points)


def _press(
    model: Model,
    images: Tensor,
    masks: Tensor,
    points: Tensor,
    eps: Tensor,
    *,
    objectives: Sequence[str | Objective],
    norm: Norm,
    steps: int,
    broken_at_tau: Objective,
) -> tuple[Tensor, Tensor]:
    """Return the most harmful images within eps by PGD from ``points``, and which of them are broken."""
    points = norm.project(points, images, eps)
    broken = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    for objective in objectives:
        rows = (~broken).nonzero().squeeze(1)
        if not len(rows):
            break
        search = Search(
            model,
            images[rows],
            masks[rows],
            eps=eps[rows] if eps.shape[1:].numel() > 1 else eps[rows].flatten(),
            objective=objective,
            keep_best=True,
            largest=norm.largest,
        )
        points[rows] = search.result(
            ascend(search, points[rows], norm, step_size=2.5 * search.radius / steps, steps=steps)
        )
        with torch.no_grad():
            broken[rows] = broken_at_tau(search.belief(points[rows]), search.masks, 1.0)
    return points, broken


def _check_options(ladder: Sequence[float], halvings: int, steps: int, objectives: Sequence[str | Objective]) -> None:
    if not ladder or not all(low < high < math.inf for low, high in pairwise([0.0, *ladder])):
        raise AttackError(
            f"ladder must hold rising finite budgets above 0, got {tuple(ladder)}; sort it, such as (1/255, 2/255)"
        )
    if halvings < 0 or steps < 1:
        raise AttackError(f"halvings must be at least 0 and steps at least 1, got {halvings} and {steps}; use 4 and 20")
    if isinstance(objectives, str) or not objectives:
        raise AttackError(f"objectives must be a sequence of at least one, got {objectives!r}; use ('margin',) for one")
