"""Watching a single-step training for catastrophic overfitting: robust to its own attack and to nothing else."""

from typing import Final

import torch
from torch import Tensor

from trustseg.attacks import fgsm, pgd
from trustseg.metrics import dice
from trustseg.models import Segmenter
from trustseg.training.grad_align import gradient_alignment

__all__ = ["OVERFITTING_GAP", "WATCHED_IMAGES", "overfitted", "watch"]

WATCHED_IMAGES: Final = 64
OVERFITTING_GAP: Final = 0.15


def watch(
    segmenter: Segmenter, images: Tensor, masks: Tensor, *, eps: float | Tensor, generator: torch.Generator
) -> dict[str, Tensor]:
    """Return how some images fare under one step of an attack and under two.

    Args:
        segmenter: it is left as found.
        images: (B, C, H, W) in [0, 1].
        masks: reference masks (B, 1, H, W), each value 0 or 1.
        eps: L-inf budget in pixel units of [0, 1], the full one of the training, as in ``validated``.
        generator: source of random starts.

    Returns:
        ``fgsm_dice`` and ``pgd2_dice``, the Dice under FGSM and under PGD of two steps, NaN where it is undefined, and
        ``gradient_alignment``; each (B,).
    """
    single = fgsm(segmenter, images, masks, eps=eps)
    double = pgd(segmenter, images, masks, eps=eps, steps=2, generator=generator)
    with torch.no_grad():
        found = {
            "fgsm_dice": dice(segmenter.belief(single).log_odds > 0, masks),
            "pgd2_dice": dice(segmenter.belief(double).log_odds > 0, masks),
        }
    found["gradient_alignment"] = gradient_alignment(segmenter, images, masks, eps=eps, generator=generator)
    return found


def overfitted(single: float, double: float) -> bool:
    """Return whether mean Dice falls by more than 0.15 from one step of the attack to two; NaN is no sign of it.

    Reference:
        Wong et al., "Fast is better than free: Revisiting adversarial training", ICLR 2020, arXiv:2001.03994,
        on catastrophic overfitting; the bound is our own.
    """
    return single - double > OVERFITTING_GAP
