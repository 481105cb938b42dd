"""PGD up a cross-entropy with weights, under the names that the field knows: SegPGD and CosPGD."""

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
    """Return images moved by PGD up a cross-entropy whose weight goes from right pixels to all pixels.

    The same as ``pgd(..., objective="segpgd")``, which has more options.

    Args:
        model: any callable from images to a belief; it is run in eval mode and left as found.
        images: (B, C, H, W) float32 in [0, 1].
        masks: reference masks (B, 1, H, W), each value 0 or 1.
        eps: budget in pixel units of [0, 1], >= 0, one number or one per image (B,), measured in ``norm``.
        objective: ``"cross_entropy"``, the loss that is weighted; there is no other.
        norm: ``"linf"`` or ``"l2"``.
        steps: steps, >= 1.
        generator: source of the random start; without one, the start is the image itself.
        keep_best: return per image the most harmful of all iterates and the clean image; with ``False`` the last.

    Returns:
        (B, C, H, W) float32, detached, within eps of ``images`` and within [0, 1].

    Raises:
        AttackError: if ``objective`` or ``steps`` does not fit, ``images`` leave [0, 1], ``eps`` is negative, or the
            model gives no finite gradient.
        ShapeError: if shapes or types do not fit, or ``masks`` holds anything but 0 and 1.
        UnknownNameError: if no norm has that name.

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
    """Return images moved by PGD up a cross-entropy that weighs pixels by how right they are.

    The same as ``pgd(..., objective="cospgd")``, which has more options.

    Args:
        model: any callable from images to a belief; it is run in eval mode and left as found.
        images: (B, C, H, W) float32 in [0, 1].
        masks: reference masks (B, 1, H, W), each value 0 or 1.
        eps: budget in pixel units of [0, 1], >= 0, one number or one per image (B,), measured in ``norm``.
        objective: ``"cross_entropy"``, the loss that is weighted; there is no other.
        norm: ``"linf"`` or ``"l2"``.
        steps: steps, >= 1.
        generator: source of the random start; without one, the start is the image itself.
        keep_best: return per image the most harmful of all iterates and the clean image; with ``False`` the last.

    Returns:
        (B, C, H, W) float32, detached, within eps of ``images`` and within [0, 1].

    Raises:
        AttackError: if ``objective`` or ``steps`` does not fit, ``images`` leave [0, 1], ``eps`` is negative, or the
            model gives no finite gradient.
        ShapeError: if shapes or types do not fit, or ``masks`` holds anything but 0 and 1.
        UnknownNameError: if no norm has that name.

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
            f"{name} weighs cross-entropy and follows nothing else, got objective={objective!r}; "
            "leave it out, or use pgd with that objective"
        )
