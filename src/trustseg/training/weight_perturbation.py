"""Adversarial weight perturbation: the gradient of a step is taken at weights that were moved against it."""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from trustseg.attacks import isolated
from trustseg.beliefs import Belief
from trustseg.models import Segmenter

__all__ = ["perturb", "restore"]

SMALLEST: Final = 1e-12  # the length that a shorter gradient counts as, so that one of 0 moves nothing


def perturb(
    segmenter: Segmenter, images: Tensor, masks: Tensor, *, loss: Callable[[Belief, Tensor], Tensor], size: float
) -> dict[str, Tensor]:
    """Move the weights of each layer uphill by a share of their own length, and return them as they were, by name.

    w + size ||w|| g / ||g|| for every weight of more than one dimension, with g the gradient of the ``loss`` of
    adversarial images. It costs one forward and one backward pass. ``restore`` takes it back.

    Reference:
        Wu et al., "Adversarial Weight Perturbation Helps Robust Generalization", NeurIPS 2020, arXiv:2004.05884,
        equations 8 to 10, one step. Deviation: the gradient is taken in eval mode, so that running statistics do not
        see these images twice.
    """
    weights = {
        name: weight for name, weight in segmenter.named_parameters() if weight.requires_grad and weight.ndim > 1
    }
    with isolated(segmenter):
        mean = loss(segmenter.belief(images), masks).mean()
        gradients = torch.autograd.grad(mean, list(weights.values()), allow_unused=True)
    before = {}
    with torch.no_grad():
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
            if gradient is not None:
                before[name] = weight.clone()
                weight.add_(size * weight.norm() / gradient.norm().clamp_min(SMALLEST) * gradient)
    torch.clear_autocast_cache()  # its half-precision copies are of the old weights
    return before


def restore(segmenter: Segmenter, before: dict[str, Tensor]) -> None:
    """Give the weights that ``perturb`` moved their values back, bit for bit; their gradients stay."""
    with torch.no_grad():
        for name, weight in segmenter.named_parameters():
            if name in before:
                weight.copy_(before[name])
