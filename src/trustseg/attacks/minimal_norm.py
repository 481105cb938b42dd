"""The nearest broken image, after DeepFool and Carlini and Wagner: cross-checks of ``minimal_eps``, mostly weaker.

Both shorten a distance where ``minimal_eps`` shrinks a ball; the distance found is an upper bound too. ``tau`` is the
Dice in [0, 1) at or below which an image is broken, as in ``minimal_eps``; ``norm`` measures the distance.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import torch
from torch import Tensor

from trustseg.attacks.guard import isolated
from trustseg.attacks.minimal import check_tau, is_broken
from trustseg.attacks.projections import Norm, NormName, find_norm, length
from trustseg.attacks.search import Model, Search, where_images
from trustseg.beliefs import Belief, reference_of
from trustseg.errors import AttackError
from trustseg.masks import counted_mean

__all__ = ["Nearest", "carlini_wagner_like", "deepfool_like"]

_LARGEST_STEP: Final[Mapping[str, float]] = {"linf": 0.5 / 255, "l2": 0.25}
_INSIDE: Final = 1 - 1e-6  # keeps black and white pixels off the ends of tanh, where the gradient is 0


@dataclass(frozen=True, slots=True)
class Nearest:
    """The nearest broken image found for each image.

    Attributes:
        distance: (B,) from the clean image in ``norm``, pixel units; 0 where already broken, infinite where censored.
        already_broken: (B,) bool, the clean image is broken.
        censored: (B,) bool, no broken image was found.
        images: (B, C, H, W) broken images in [0, 1], detached; the clean ones where censored.
    """

    distance: Tensor
    already_broken: Tensor
    censored: Tensor
    images: Tensor


def deepfool_like(
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    tau: float = 0.5,
    norm: NormName = "l2",
    steps: int = 50,
    largest_step: float | None = None,
    halvings: int = 10,
) -> Nearest:
    """Return images moved across the linearised boundary, step by step, then back towards the clean image.

    With f the mean margin of the pixels that are still right and g its gradient, a step goes against g, by
    min(largest_step, 1.02 (f + 1e-4) / |g|*), |.|* the dual norm. An image stops when it breaks; bisection of the
    segment to the clean image follows. Costs at most ``steps`` backward and ``steps`` + ``halvings`` forward passes.

    Args:
        steps: number of steps, >= 1.
        largest_step: length in pixel units, > 0; 0.5/255 (linf) or 0.25 (l2) if left out. The mean margin is far from
            linear, so that without a cap the step overshoots.
        halvings: bisections of the segment, >= 0.

    Reference:
        After Moosavi-Dezfooli et al., "DeepFool", CVPR 2016, arXiv:1511.04599, algorithm 1 and section 3.1. Deviations:
        the mean margin over pixels for the margin between classes, the cap, and the bisection.
    """
    geometry = find_norm(norm)
    largest_step = _LARGEST_STEP[norm] if largest_step is None else largest_step
    _check_options(tau, steps=steps, halvings=halvings, positive={"largest_step": largest_step})
    with isolated(model):
        search = Search(model, images, masks, eps=0.0, objective=_minus_right_margin, keep_best=False)
        candidates, broken = search.images, _broken(search, search.images, tau)
        already_broken = broken
        for _ in range(steps):
            gradient, value = search.gradient_and_value(candidates, progress=0.0, track=_minus_right_margin)
            slope = length(gradient, geometry.dual).clamp_min(torch.finfo(gradient.dtype).tiny)
            stride = (1.02 * (1e-4 - value).view(-1, 1, 1, 1) / slope).clamp_max(largest_step).to(gradient)
            moved = (candidates + stride * geometry.direction(gradient)).clamp(0, 1)
            candidates = where_images(broken, candidates, moved)
            broken = broken | _broken(search, candidates, tau)
            if broken.all():
                break
        candidates = _drawn_back(search, search.result(candidates), tau, halvings)
        return _nearest(search, candidates, broken, already_broken, geometry)


def carlini_wagner_like(
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    tau: float = 0.5,
    norm: NormName = "l2",
    steps: int = 60,
    searches: int = 5,
    weight: float = 1.0,
    confidence: float = 1.0,
    learning_rate: float = 0.003,
) -> Nearest:
    """Return the nearest broken images met while Adam trades distance against margin, over several weights.

    With x' = (tanh w + 1)/2 always in the box, it minimises D(x' - x) + c mean(relu(m + confidence)) over w. D is the
    squared L2 length, or for L-infinity sum(relu(|x' - x| - t)), t = 0.9 times the smallest distance so far. Per image,
    c grows tenfold until a search succeeds, then it is bisected. Costs ``searches`` * ``steps`` passes.

    Args:
        steps: steps of Adam per search, >= 1.
        searches: values of c tried, >= 1.
        weight: first value of c, > 0.
        confidence: margin in log-odds beyond which a lost pixel no longer counts, > 0.
        learning_rate: of Adam, > 0.

    Reference:
        After Carlini and Wagner, "Towards Evaluating the Robustness of Neural Networks", IEEE S&P 2017,
        arXiv:1608.04644, section VI-A (L2) and VI-C (L-infinity). Deviations: the margin of every pixel counts, and the
        bound t of L-infinity shrinks inside a search and not between searches.
    """
    geometry = find_norm(norm)
    positive = {"weight": weight, "confidence": confidence, "learning_rate": learning_rate}
    _check_options(tau, steps=min(steps, searches), halvings=0, positive=positive)
    objective, broken_at_tau = partial(_minus_excess, confidence=confidence), partial(is_broken, tau=tau)
    with isolated(model):
        search = Search(model, images, masks, eps=0.0, objective=objective, keep_best=False)
        clean, nearest, already_broken = search.images, search.images, _broken(search, search.images, tau)
        distance = torch.where(already_broken, 0.0, clean.new_full((len(clean),), torch.inf))
        trade, failed = clean.new_full((len(clean),), weight), clean.new_zeros(len(clean))
        succeeded = torch.full_like(trade, torch.inf)
        for _ in range(searches):
            latent = torch.atanh((2 * clean - 1) * _INSIDE)
            optimiser = torch.optim.Adam([latent], lr=learning_rate)
            success = already_broken
            for _ in range(steps):
                candidates = (torch.tanh(latent) + 1) / 2
                gradient, broken = search.gradient_and_value(candidates, progress=0.0, track=broken_at_tau)
                difference = candidates - clean
                away = length(difference, geometry.order).flatten()
                nearer = broken & (away < distance)
                nearest = where_images(nearer, candidates, nearest)
                distance, success = torch.where(nearer, away, distance), success | broken
                if norm == "l2":
                    pull = 2 * difference
                else:
                    pull = difference.sign() * (difference.abs() > 0.9 * distance.view(-1, 1, 1, 1))
                slope = 2 * candidates * (1 - candidates)  # of tanh
                latent.grad = slope * (pull - trade.view(-1, 1, 1, 1) * gradient)
                optimiser.step()
            failed, succeeded = torch.where(success, failed, trade), torch.where(success, trade, succeeded)
            trade = torch.where(succeeded.isinf(), 10 * trade, (failed + succeeded) / 2)
        return _nearest(search, search.result(nearest), distance.isfinite(), already_broken, geometry)


def _minus_right_margin(belief: Belief, masks: Tensor, progress: float) -> Tensor:
    """Return minus the mean margin of the pixels that are still right, (B,) <= 0."""
    y, counted = reference_of(belief, masks, "deepfool_like")
    margin = (2 * y - 1) * belief.log_odds
    return -counted_mean(margin, (margin.detach() > 0) & counted, empty=0.0)


def _minus_excess(belief: Belief, masks: Tensor, progress: float, *, confidence: float) -> Tensor:
    """Return minus the mean of relu(m + confidence), (B,) <= 0."""
    y, counted = reference_of(belief, masks, "carlini_wagner_like")
    return -counted_mean(torch.relu((2 * y - 1) * belief.log_odds + confidence), counted, empty=0.0)


def _broken(search: Search, candidates: Tensor, tau: float) -> Tensor:
    with torch.no_grad():
        return is_broken(search.belief(candidates), search.masks, tau=tau)


def _drawn_back(search: Search, images: Tensor, tau: float, halvings: int) -> Tensor:
    """Return the nearest broken images that bisection finds on the segments to the clean ones."""
    holds = images.new_zeros(len(images), 1, 1, 1)
    breaks, nearest = torch.ones_like(holds), images
    for _ in range(halvings):
        middle = (holds + breaks) / 2
        candidates = torch.lerp(search.images, images, middle)
        broken = _broken(search, candidates, tau).view(-1, 1, 1, 1)
        holds, breaks = torch.where(broken, holds, middle), torch.where(broken, middle, breaks)
        nearest = torch.where(broken, candidates, nearest)
    return nearest


def _nearest(search: Search, images: Tensor, broken: Tensor, already_broken: Tensor, norm: Norm) -> Nearest:
    images = where_images(broken & ~already_broken, images, search.images)
    distance = torch.where(broken, length(images - search.images, norm.order).flatten(), torch.inf)
    return Nearest(distance=distance, already_broken=already_broken, censored=~broken, images=images)


def _check_options(tau: float, *, steps: int, halvings: int, positive: Mapping[str, float]) -> None:
    check_tau(tau)
    if steps < 1 or halvings < 0:
        raise AttackError(f"steps and searches must be at least 1 and halvings at least 0, got {steps} and {halvings}")
    for name, value in positive.items():
        if not 0 < value < torch.inf:
            raise AttackError(f"{name} must be finite and above 0, got {value}; leave it out for the default")
