"""Watching a single-step training for catastrophic overfitting: robust to its own attack and to nothing else."""

from typing import Final

import torch
from torch import Tensor

from trustseg.attacks import fgsm, isolated, pgd
from trustseg.attacks.objectives import cross_entropy
from trustseg.attacks.projections import LINF
from trustseg.metrics import dice
from trustseg.models import Segmenter

__all__ = ["OVERFITTING_GAP", "WATCHED_IMAGES", "gradient_alignment", "overfitted", "watch"]

WATCHED_IMAGES: Final = 64
OVERFITTING_GAP: Final = 0.15


def gradient_alignment(
    segmenter: Segmenter, images: Tensor, masks: Tensor, *, eps: float, generator: torch.Generator
) -> Tensor:
    """Return how alike the loss rises at each image and at a random point of the ball around it.

    cos(g(x), g(x + d)) with d ~ U(-eps, eps) and g the gradient of the cross-entropy. Near 1, a single step finds what
    many would; below 0.3 it does not.

    Args:
        segmenter: it is run in eval mode and left as found.
        images: (B, C, H, W) in [0, 1].
        masks: reference masks (B, 1, H, W), each value 0 or 1.
        eps: L-inf radius in pixel units of [0, 1].
        generator: source of the random points.

    Returns:
        (B,) in [-1, 1]; 0 where a gradient vanishes.

    Reference:
        Andriushchenko and Flammarion, "Understanding and Improving Fast Adversarial Training", NeurIPS 2020,
        arXiv:2007.02617, equation 5; the bound of 0.3 is our own.
    """
    nearby = LINF.start(images, torch.full_like(images[:, :1, :1, :1], eps), generator)
    with isolated(segmenter):
        here, there = (_gradient(segmenter, points, masks).flatten(1).double() for points in (images, nearby))
    return torch.cosine_similarity(here, there, dim=1, eps=1e-300).float()


def _gradient(segmenter: Segmenter, images: Tensor, masks: Tensor) -> Tensor:
    """Return the gradient (B, C, H, W) of each image's cross-entropy."""
    images = images.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(segmenter.belief(images), masks).sum(), images)
    return gradient


def watch(
    segmenter: Segmenter, images: Tensor, masks: Tensor, *, eps: float, generator: torch.Generator
) -> dict[str, Tensor]:
    """Return how some images fare under one step of an attack and under two.

    Args:
        segmenter: it is left as found.
        images: (B, C, H, W) in [0, 1].
        masks: reference masks (B, 1, H, W), each value 0 or 1.
        eps: L-inf budget in pixel units of [0, 1], the full one of the training.
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
