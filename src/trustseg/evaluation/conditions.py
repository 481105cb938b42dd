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

TOLERANCE: Final = 1e-6  # float32 rounding of x + eps


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

    The label of an attack tells it from others of the same name: steps, norm, restarts and objective where they are
    not the usual ones.

    Raises:
        AttackError: if two entries of the configuration give the same condition.
    """
    conditions = [CLEAN]
    for attack in config.attacks:
        conditions += [Condition(_label(attack), eps, attack) for eps in sorted(attack.eps) if eps > 0]
    names = [(condition.name, condition.eps) for condition in conditions]
    for name, eps in names:
        if names.count((name, eps)) > 1:
            raise AttackError(
                f"the attack '{name}' at eps={eps:.4f} is named twice, each condition was expected once; "
                "remove one from evaluation.attacks"
            )
    return conditions


def _label(attack: AttackConfig) -> str:
    parts = [attack.name]
    if attack.name == "pgd":
        parts[0] += str(attack.steps) if attack.steps != AttackConfig.model_fields["steps"].default else ""
        parts += [attack.norm] if attack.norm != "linf" else []
        parts += [f"x{attack.restarts}"] if attack.restarts > 1 else []
    parts += [attack.objective] if attack.objective != "cross_entropy" else []
    return "_".join(parts)


def perturbed(
    model: Callable[[Tensor], Belief],
    images: Tensor,
    masks: Tensor,
    condition: Condition,
    *,
    generator: torch.Generator,
) -> Tensor:
    """Return the images under ``condition``; what an attack returns is projected again and measured, never trusted.

    Args:
        model: maps images to a belief.
        images: (B, C, H, W) float32 in [0, 1].
        masks: (B, 1, H, W) float32 in {0, 1}.
        condition: what happens to the images.
        generator: source of random starts.

    Returns:
        (B, C, H, W) float32 in [0, 1].

    Raises:
        AttackError: if the attack left its ball, [0, 1], or the real numbers.
    """
    if condition.attack is None:
        return images
    config = condition.attack
    run_attack: Attack = ATTACKS[config.name]
    if config.name == "pgd":
        run_attack = partial(pgd, steps=config.steps, restarts=config.restarts, norm=config.norm)
    attacked = run_attack(model, images, masks, eps=condition.eps, objective=config.objective, generator=generator)
    excess = max(
        float(perturbation_size(attacked - images, norm=config.norm).max()) - condition.eps,
        float(-attacked.min()),
        float(attacked.max()) - 1,
    )
    if not excess <= TOLERANCE:
        raise AttackError(
            f"the attack '{condition.name}' left its budget eps={condition.eps:.6f} by {excess:.2e}, at most "
            f"{TOLERANCE:.0e} was expected; mend the attack, its results are void"
        )
    return attacked.clamp(0, 1)


def perturbation_size(change: Tensor, *, norm: str) -> Tensor:
    """Return the L-inf or L2 norm of each image's change (B, C, H, W), as (B,)."""
    flat = change.flatten(1)
    return flat.abs().amax(1) if norm == "linf" else flat.norm(dim=1)
