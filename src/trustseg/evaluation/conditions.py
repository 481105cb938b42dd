"""The conditions a model is measured under: clean images, and attacks at a ladder of budgets."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import torch
from torch import Tensor

from trustseg.attacks import ATTACKS, Attack, pgd
from trustseg.beliefs import Belief
from trustseg.config import AttackConfig, EvaluationConfig
from trustseg.errors import AttackError

__all__ = ["CLEAN", "Condition", "conditions_of", "perturbed"]

TOLERANCE: Final = 1e-6  # float32 rounding of x + eps, relative where eps > 1


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition.

    Attributes:
        name: ``"clean"`` or the attack's label, unique together with ``eps``.
        eps: budget in pixel units of [0, 1]; 0 for clean.
        attack: how the images are attacked; ``None`` for clean.
    """

    name: str
    eps: float = 0.0
    attack: AttackConfig | None = None

    @property
    def slug(self) -> str:
        """Return a file name."""
        return f"{self.name}_{self.eps:.6f}".replace(".", "p")


CLEAN: Final = Condition("clean")


def conditions_of(config: EvaluationConfig) -> list[Condition]:
    """Return the conditions of an evaluation: clean first, then every attack with its budgets above 0 in rising order.

    The configuration sees to it that no two have the same name and budget.
    """
    attacked = [
        Condition(attack.label, eps, attack) for attack in config.attacks for eps in sorted(attack.eps) if eps > 0
    ]
    return [CLEAN, *attacked]


def perturbed(
    model: Callable[[Tensor], Belief],
    images: Tensor,
    masks: Tensor,
    condition: Condition,
    *,
    generator: torch.Generator,
) -> Tensor:
    """Return the images under ``condition``; what an attack returns is measured, never trusted.

    Args:
        model: maps images to a belief.
        images: (B, C, H, W) float32 in [0, 1].
        masks: (B, 1, H, W) float32 in {0, 1}.
        condition: what happens to the images.
        generator: source of random starts.

    Returns:
        (B, C, H, W) float32 in [0, 1].

    Raises:
        AttackError: if the attack left its ball, [0, 1], the real numbers, or the shape of the images.
    """
    if condition.attack is None:
        return images
    config = condition.attack
    run_attack: Attack = ATTACKS[config.name]
    if config.name == "pgd":
        run_attack = partial(pgd, steps=config.steps, restarts=config.restarts, norm=config.norm)
    attacked = run_attack(model, images, masks, eps=condition.eps, objective=config.objective, generator=generator)
    if attacked.shape != images.shape:
        raise AttackError(
            f"the attack '{condition.name}' returned images of shape {tuple(attacked.shape)}, "
            f"{tuple(images.shape)} was expected; mend the attack, its results are void"
        )
    excess = max(
        float(perturbation_size(attacked - images, norm=config.norm).max()) - condition.eps,
        float(-attacked.min()),
        float(attacked.max()) - 1,
    )
    if not excess <= TOLERANCE * max(1, condition.eps):
        raise AttackError(
            f"the attack '{condition.name}' left its budget eps={condition.eps:.6f} by {excess:.2e}, at most "
            f"{TOLERANCE:.0e} was expected; mend the attack, its results are void"
        )
    return attacked.clamp(0, 1)


def perturbation_size(change: Tensor, *, norm: str) -> Tensor:
    """Return the L-inf or L2 norm of each image's change (B, C, H, W), as (B,) float64."""
    flat = change.flatten(1).double()
    return flat.abs().amax(1) if norm == "linf" else flat.norm(dim=1)
