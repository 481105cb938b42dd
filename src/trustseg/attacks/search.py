"""The part that all attacks share: ask the model, keep the worst image, climb the gradient, check the numbers."""

from collections.abc import Callable

import torch
from torch import Tensor

from trustseg.attacks.objectives import Objective, find_objective
from trustseg.attacks.projections import Norm
from trustseg.beliefs import Belief
from trustseg.errors import AttackError, ShapeError
from trustseg.masks import counted, filled, is_binary

__all__ = [
    "Model",
    "Search",
    "areas",
    "ascend",
    "eps_of",
    "harm",
    "require_generator",
    "require_steps",
    "where_images",
]

Model = Callable[[Tensor], Belief]  # images (B, C, H, W) in [0, 1] to a belief


def areas(belief: Belief, masks: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return four counts (B,) for the decision z > 0: right, predicted and reference foreground, and counted pixels."""
    inside = counted(masks).flatten(1)
    predicted, reference = (belief.log_odds > 0).flatten(1) & inside, masks.flatten(1) > 0
    return (predicted & reference).sum(dim=1), predicted.sum(dim=1), reference.sum(dim=1), inside.sum(dim=1)


def where_images(chosen: Tensor, ours: Tensor, others: Tensor) -> Tensor:
    """Return ``ours`` (B, ...) for the images that are ``chosen`` (B,), ``others`` for the rest."""
    return torch.where(chosen.view(-1, *[1] * (ours.ndim - 1)), ours, others)


def harm(belief: Belief, masks: Tensor) -> Tensor:
    """Return how wrong the decision z > 0 is on each image, (B,) in [0, 1]; it orders candidates and is never reported.

    Harm is 1 - Dice; for an empty mask the share of pixels predicted as foreground, 0 if every pixel is ignored.
    """
    overlap, found, reference, pixels = areas(belief, masks)
    return torch.where(reference > 0, 1 - 2 * overlap / (found + reference), found / pixels.clamp_min(1))


class Search:
    """One attack on one batch, to be used inside ``isolated(model)``.

    ``largest`` is the upper limit of ``eps``, see ``Norm``. Images and masks are copied. Nothing waits for a GPU
    between construction and ``result``. Every method that asks the model raises an AttackError if it returns no belief,
    and a ShapeError if the belief is not about ``masks`` or an objective is not (B,).

    Attributes:
        images: the clean images, float32.
        masks: the masks on the device and in the type of ``images``.
        radius: (B, 1, 1, 1) or (B, 1, H, W), the budget.
    """

    def __init__(
        self,
        model: Model,
        images: Tensor,
        masks: Tensor,
        *,
        eps: float | Tensor,
        objective: str | Objective,
        keep_best: bool,
        largest: float = 1.0,
    ) -> None:
        _check_shapes(images, masks, eps)
        self.images = images.detach().clone()
        self.masks = masks.detach().to(self.images, copy=True)
        by_pixel = isinstance(eps, Tensor) and eps.ndim == 4
        self.radius = self.images.new_empty(self.masks.shape if by_pixel else (len(images), 1, 1, 1))
        if isinstance(eps, Tensor):
            eps = eps.detach().to(self.images)
            eps = eps if by_pixel else eps.view(-1, 1, 1, 1)
        self.radius[:] = eps
        self._reached = self.radius > 0 if by_pixel else None
        _check_values(self.images, self.masks, self.radius, largest)
        self.keep_best, self._model, self._objective = keep_best, model, find_objective(objective)
        self._worst = self.images
        self._harm = self.images.new_full((len(images),), -1.0)
        self._value = self._harm
        self._finite = torch.ones((), dtype=torch.bool, device=images.device)

    def gradient(self, candidates: Tensor, *, progress: float) -> Tensor:
        """Return the gradient (B, C, H, W) of the objective at ``candidates``; with ``keep_best``, remember them."""
        gradient, _ = self.gradient_and_value(candidates, progress=progress, track=self._objective)
        return gradient

    def gradient_and_value(self, candidates: Tensor, *, progress: float, track: Objective) -> tuple[Tensor, Tensor]:
        """Return the gradient of the objective as ``gradient`` does, and the value (B,) of ``track``."""
        candidates = candidates.detach().requires_grad_()
        belief, values = self._ask(candidates, progress)
        gradient = None
        if values.requires_grad:  # summed, not averaged: an image's gradient does not depend on its batch
            (gradient,) = torch.autograd.grad(values.sum(), candidates, allow_unused=True)
        if gradient is None:
            raise AttackError(
                "got an objective without a gradient with respect to the images; remove no_grad, detach or rounding "
                "from the model, or attack it without gradients"
            )
        self._finite &= gradient.isfinite().all()
        if self._reached is not None:  # pixels that cannot change have no part in a direction
            gradient = torch.where(self._reached, gradient, 0)
        with torch.no_grad():
            if self.keep_best:
                self._remember(candidates.detach(), belief, values.detach())
            tracked = values.detach() if track is self._objective else self._valued(track, belief, progress)
        return gradient, tracked

    def value(self, candidates: Tensor, *, progress: float) -> Tensor:
        """Return the objective (B,) at ``candidates``, without a gradient; with ``keep_best``, remember them."""
        with torch.no_grad():
            belief, values = self._ask(candidates, progress)
            if self.keep_best:
                self._remember(candidates, belief, values)
        return values

    def offer(self, candidates: Tensor, *, progress: float) -> None:
        """With ``keep_best``, remember ``candidates`` where they do more harm; otherwise do nothing."""
        if self.keep_best:
            self.value(candidates, progress=progress)

    def belief(self, candidates: Tensor) -> Belief:
        """Return the model's belief about ``candidates``, checked."""
        belief = self._model(candidates)
        if not isinstance(belief, Belief):
            raise AttackError(
                f"the model returned a {type(belief).__name__}, expected a belief; "
                "wrap its logits, for example lambda images: Bernoulli(network(images))"
            )
        if belief.log_odds.shape != self.masks.shape:
            raise ShapeError(
                f"the belief has shape {tuple(belief.log_odds.shape)}, the masks {tuple(self.masks.shape)}; resize the "
                "masks or use a model with one map per image"
            )
        return belief

    def result(self, last: Tensor) -> Tensor:
        """Return the most harmful candidates, with ``keep_best=False`` the ``last`` ones.

        Raises:
            AttackError: if an objective or a gradient was not finite on the way.
        """
        if not self._finite.item():
            raise AttackError(
                "the attack met NaN or infinity in the objective or its gradient; check the model's weights and "
                "logits, or choose the objective 'margin'"
            )
        return self._worst if self.keep_best else last

    def _ask(self, candidates: Tensor, progress: float) -> tuple[Belief, Tensor]:
        belief = self.belief(candidates)
        return belief, self._valued(self._objective, belief, progress)

    def _valued(self, objective: Objective, belief: Belief, progress: float) -> Tensor:
        values = objective(belief, self.masks, progress)
        if values.shape != self._harm.shape:
            raise ShapeError(
                f"the objective returned shape {tuple(values.shape)}, expected {tuple(self._harm.shape)}, "
                "one value per image"
            )
        self._finite &= values.isfinite().all()
        return values

    def _remember(self, candidates: Tensor, belief: Belief, values: Tensor) -> None:
        """Keep each candidate that does more harm than the best before it."""
        harms = harm(belief, self.masks)
        better = (harms > self._harm) | ((harms == self._harm) & (values > self._value))
        self._worst = where_images(better, candidates, self._worst)
        self._harm = torch.where(better, harms, self._harm)
        self._value = torch.where(better, values, self._value)


def eps_of(search: Search) -> Tensor:
    """Return the budget of an attack as ``eps`` of another: (B,) or (B, 1, H, W)."""
    return search.radius.flatten() if search.radius.shape[1:].numel() == 1 else search.radius


def _check_shapes(images: Tensor, masks: Tensor, eps: float | Tensor) -> None:
    """Raise unless the tensors fit each other; costs nothing."""
    if images.ndim != 4 or images.dtype != torch.float32:
        got = f"{images.dtype} {tuple(images.shape)}"
        raise ShapeError(f"images must be float32 (B, C, H, W), got {got}; use .float() and add missing dimensions")
    if not isinstance(masks, Tensor):
        raise ShapeError(f"masks must be a tensor of reference masks, got {type(masks).__name__}")
    expected = (images.shape[0], 1, *images.shape[2:])
    if masks.shape != expected:
        raise ShapeError(f"masks must be {expected} for images {tuple(images.shape)}, got {tuple(masks.shape)}")
    if isinstance(eps, Tensor) and eps.shape not in ((), (len(images),), expected):
        raise ShapeError(
            f"eps must be one number, {expected}, one per pixel, or ({len(images)},), one per image, "
            f"got {tuple(eps.shape)}"
        )


def _check_values(images: Tensor, masks: Tensor, radius: Tensor, largest: float) -> None:
    """Raise unless the values make sense; reads them from the device once."""
    checks = (
        ((images >= 0) & (images <= 1)).all(),
        is_binary(masks, ignored=True),
        ((radius >= 0) & (radius <= largest) & radius.isfinite()).all(),
    )
    images_fit, masks_fit, radius_fits = torch.stack(checks).tolist()
    if not images_fit:
        raise AttackError(
            f"images must be finite and in [0, 1], got values from {images.min():g} to {images.max():g}; "
            "pass them before normalisation, divided by 255 if they hold grey levels"
        )
    if not masks_fit:
        raise ShapeError(
            f"masks must hold only 0 and 1, got values from {filled(masks).min():g} to {filled(masks).max():g}; "
            "threshold them, for example (masks > 0.5).float(), and mark ignored pixels by NaN"
        )
    if not radius_fits:
        raise AttackError(
            f"eps must be from 0 to {largest:g} and finite, got {radius.min():g} to {radius.max():g}; "
            "give it in pixel units of [0, 1], such as 4/255"
        )


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
            mass = uphill.abs().sum(dim=(1, 2, 3), keepdim=True).clamp_min(torch.finfo(uphill.dtype).tiny)
            uphill = velocity = momentum * velocity + uphill / mass
        candidates = norm.project(candidates + step_size * norm.direction(uphill), search.images, search.radius)
    search.offer(candidates, progress=(steps - 1) / steps)  # weighed like the iterate before it
    return candidates


def require_steps(steps: int) -> None:
    """Raise unless there is a step to take."""
    if steps < 1:
        raise AttackError(f"steps must be at least 1, got {steps}; leave it out for the default")


def require_generator(generator: torch.Generator | None, reason: str) -> torch.Generator:
    """Return the generator, or raise an AttackError that begins with ``reason``, what needs it."""
    if generator is None:
        raise AttackError(f"{reason}, but generator is None; pass generator=torch.Generator().manual_seed(0)")
    return generator
