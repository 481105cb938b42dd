"""PGD on a weighted cross-entropy under its usual names, SegPGD and CosPGD.

Both are ``pgd(..., objective=NAME)`` with fewer options: the start is random if there is a generator, and the only
objective is ``"cross_entropy"``, the loss that is weighted.
"""

import torch
from torch import Tensor

from trustseg.attacks.contract import Count
from trustseg.attacks.iterated import pgd
from trustseg.attacks.objectives import Objective
from trustseg.attacks.projections import NormName
from trustseg.attacks.search import Model
from trustseg.errors import AttackError

__all__ = ["cospgd", "segpgd"]


def segpgd(
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    eps: float | Tensor,
    objective: str | Objective = "cross_entropy",
    norm: NormName = "linf",
    steps: Count = 20,
    generator: torch.Generator | None = None,
    keep_best: bool = True,
) -> Tensor:
    """Return images moved by PGD on a cross-entropy whose weight moves from right pixels to all pixels.

    Reference:
        Gu et al., "SegPGD: An Effective and Efficient Adversarial Attack for Evaluating and Boosting Segmentation
        Robustness", ECCV 2022, arXiv:2207.12391, algorithm 1. Deviation: the most harmful iterate is kept.
    """
    _check_weighted("segpgd", objective)
    return pgd(
        model,
        images,
        masks,
        eps=eps,
        objective="segpgd",
        norm=norm,
        steps=steps,
        generator=generator,
        keep_best=keep_best,
    )


def cospgd(
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    eps: float | Tensor,
    objective: str | Objective = "cross_entropy",
    norm: NormName = "linf",
    steps: Count = 20,
    generator: torch.Generator | None = None,
    keep_best: bool = True,
) -> Tensor:
    """Return images moved by PGD on a cross-entropy that weighs pixels by how right they are.

    Reference:
        Agnihotri et al., "CosPGD: an efficient white-box adversarial attack for pixel-wise prediction tasks",
        ICML 2024, arXiv:2302.02213, algorithm 1. Deviation: the most harmful iterate is kept.
    """
    _check_weighted("cospgd", objective)
    return pgd(
        model,
        images,
        masks,
        eps=eps,
        objective="cospgd",
        norm=norm,
        steps=steps,
        generator=generator,
        keep_best=keep_best,
    )


def _check_weighted(name: str, objective: str | Objective) -> None:
    """Raise unless the objective is the one that the attack weighs."""
    if objective not in ("cross_entropy", name):
        raise AttackError(
            f"{name} supports only objective='cross_entropy', got {objective!r}; "
            "leave it out, or use pgd with that objective"
        )
