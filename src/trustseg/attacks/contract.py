"""The attack protocol, and the facts of its entries."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Protocol

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from trustseg.attacks.objectives import Objective
from trustseg.attacks.search import Model

__all__ = ["Attack", "AttackFacts", "Count", "Length", "once", "stepwise"]

Count = Annotated[int, Ge(1)]  # of steps, restarts
Length = Annotated[float | None, Gt(0)]  # of a step; None: the default


class Attack(Protocol):
    """The protocol of an attack; the contract is written in ``trustseg.attacks``."""

    def __call__(
        self,
        model: Model,
        images: Tensor,
        masks: Tensor,
        *,
        eps: float | Tensor,
        objective: str | Objective = "cross_entropy",
        generator: torch.Generator | None = None,
        keep_best: bool = True,
    ) -> Tensor:
        """Return adversarial images (B, C, H, W) of ``images`` and their reference ``masks`` (B, 1, H, W)."""


def once(**_: object) -> tuple[float, float]:
    """Return the passes per image (forward, backward) of an attack of one step."""
    return 1, 1


def stepwise(*, steps: int, restarts: int = 1, **_: object) -> tuple[float, float]:
    """Return the passes per image (forward, backward) of an attack that needs one gradient per step."""
    return steps * restarts, steps * restarts


@dataclass(frozen=True, slots=True)
class AttackFacts:
    """Facts about an attack for training, plans and tests.

    Attributes:
        passes: options to passes per image (forward, backward); ``evidential`` says whether the beliefs are Betas.
        single_step: whether it needs one gradient only: training on it can overfit catastrophically.
        starts_at_image: whether it always starts at the clean image, and so draws nothing.
        random: whether it draws from the generator by itself, not only for an optional random start.
        weighs_cross_entropy: whether it follows a weighted cross-entropy of its own and no other objective.
        carries: whether it takes images found with a smaller budget as ``candidates``.
        dense: whether it may change every pixel by the whole budget; a sparse attack may not, and so does not reach the
            optimum of a linear victim.
    """

    passes: Callable[..., tuple[float, float]]
    single_step: bool = False
    starts_at_image: bool = False
    random: bool = False
    weighs_cross_entropy: bool = False
    carries: bool = False
    dense: bool = True
