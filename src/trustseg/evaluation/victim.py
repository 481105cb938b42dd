"""A model to check for gradient masking: the images it is questioned on, the attacks on it, and what a check found."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

import torch
from torch import Tensor

from trustseg.attacks import ATTACKS, Model, ensemble, isolated
from trustseg.beliefs import Belief
from trustseg.metrics import dice
from trustseg.randomness import derived_generator

__all__ = ["SQUARE_QUERIES", "MaskingCheck", "Victim", "not_run", "verdict_on"]

SQUARE_QUERIES: Final = 2000
"""Queries of the Square attack per image; a few hundred find next to nothing."""

Status = Literal["ok", "suspicious", "not_run"]


@dataclass(frozen=True, slots=True)
class MaskingCheck:
    """What one check found.

    Attributes:
        name: a key of ``CHECKS``; empty until ``masking_checks`` gives it.
        status: not_run where the check does not apply.
        figure: what was measured; NaN if it was not.
        threshold: the figure above which the model is suspicious.
        meaning: one sentence: what was compared, and what an excess would say.
    """

    name: str
    status: Status
    figure: float
    threshold: float
    meaning: str


def verdict_on(figure: float, threshold: float, meaning: str) -> MaskingCheck:
    """Return the verdict; a figure that is NaN is suspicious too, as nothing that is honest gives one."""
    return MaskingCheck("", "ok" if figure <= threshold else "suspicious", figure, threshold, meaning)


def not_run(threshold: float, why: str) -> MaskingCheck:
    """Return that a check was not made; ``why`` completes the sentence that begins with "not run"."""
    return MaskingCheck("", "not_run", float("nan"), threshold, f"not run: {why}")


@dataclass(frozen=True, slots=True)
class Victim:
    """A model and the images it is questioned on; remembers the attacks that several checks need.

    Attributes:
        model: any callable from images to a belief.
        eps: L-inf budget in pixel units of [0, 1], > 0.
        surrogate: another model whose adversarial images are tried, e.g. another seed or the undefended model.
        square_steps: queries of the Square attack; 0 leaves it out.
        deployed: the model as it predicts, where ``model`` is another form of it, e.g. a faster one; ``model`` if None.
    """

    model: Model
    images: Tensor
    masks: Tensor
    eps: float
    seed: int = 0
    surrogate: Model | None = None
    square_steps: int = SQUARE_QUERIES
    deployed: Model | None = None
    found: dict[str, Tensor] = field(default_factory=dict)

    def attacked(self, name: str, **options: float | str) -> Tensor:
        """Return the images under an attack or a suite with its options, at ``eps`` unless they hold another."""
        settings = {"eps": self.eps, **options}
        key = " ".join([name, *(f"{option}={value}" for option, value in sorted(settings.items()))])
        if key not in self.found:
            attack: Callable[..., Tensor] = ensemble if name == "ensemble" else ATTACKS[name]
            generator = self.generator(key)
            self.found[key] = attack(self.model, self.images, self.masks, generator=generator, **settings)
        return self.found[key]

    def generator(self, purpose: str) -> torch.Generator:
        """Return the random numbers for one purpose."""
        return derived_generator(self.seed, "suspicions", purpose)  # fixed: the seed of published figures

    def dice(self, images: Tensor) -> Tensor:
        """Return the Dice (B,) of the prediction on ``images``; NaN where it is not defined."""
        return dice(self.belief(images).log_odds > 0, self.masks)

    def mean_dice(self, images: Tensor) -> float:
        """Return the mean Dice over images that have foreground in their mask."""
        return float(self.dice(images)[self.positive].mean())

    def belief(self, images: Tensor, model: Model | None = None) -> Belief:
        """Return the belief about ``images`` in evaluation mode, without gradients."""
        chosen = self.model if model is None else model
        with isolated(chosen), torch.no_grad():
            return chosen(images)

    @property
    def positive(self) -> Tensor:
        """Return which masks have foreground, (B,) bool."""
        return (self.masks > 0).flatten(1).any(dim=1)
