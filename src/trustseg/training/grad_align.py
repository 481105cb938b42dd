"""Gradient alignment: how alike the loss rises at an image and near it, to watch in a training or to train for."""

import torch
from torch import Tensor

from trustseg.attacks import isolated
from trustseg.attacks.objectives import cross_entropy
from trustseg.attacks.projections import LINF
from trustseg.models import Segmenter

__all__ = ["grad_align", "gradient_alignment"]


def gradient_alignment(
    segmenter: Segmenter, images: Tensor, masks: Tensor, *, eps: float | Tensor, generator: torch.Generator
) -> Tensor:
    """Return how alike the loss rises at each image and at a random point of the ball around it, (B,) in [-1, 1].

    cos(g(x), g(x + d)) with d ~ U(-eps, eps) and g the gradient of the cross-entropy; 0 where one vanishes. Near 1, a
    single step finds what many would; below 0.3, our own bound, it does not. Source: see ``grad_align``.
    """
    with isolated(segmenter):
        here, there = _gradients(segmenter, images, masks, eps=eps, generator=generator, differentiable=False)
    return torch.cosine_similarity(here, there, dim=1, eps=1e-300).float()


def grad_align(
    segmenter: Segmenter, images: Tensor, masks: Tensor, *, eps: float | Tensor, generator: torch.Generator
) -> Tensor:
    """Return the loss of GradAlign, 1 - cos(g(x), g(x + d)), (B,) in [0, 2], through which gradients reach the weights.

    It costs two forward and two backward passes, and once more a backward pass through all four when it is minimised.
    It is 0 without a gradient where g(x) or g(x + d) vanishes; eps is that of the training attack.

    Reference:
        Andriushchenko and Flammarion, "Understanding and Improving Fast Adversarial Training", NeurIPS 2020,
        arXiv:2007.02617, equation 5.
        Deviations: g is taken in eval mode, so that running statistics do not see these images; x + d stays in [0, 1].
    """
    with isolated(segmenter):
        here, there = _gradients(segmenter, images, masks, eps=eps, generator=generator, differentiable=True)
        alive = (here != 0).any(dim=1, keepdim=True) & (there != 0).any(dim=1, keepdim=True)
        here, there = (torch.where(alive, gradient, 1.0) for gradient in (here, there))
        return 1 - torch.cosine_similarity(here, there, dim=1, eps=1e-300).float()


def _gradients(
    segmenter: Segmenter,
    images: Tensor,
    masks: Tensor,
    *,
    eps: float | Tensor,
    generator: torch.Generator,
    differentiable: bool,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of each image's cross-entropy at the image and near it, each (B, C H W) float64."""
    radius = eps if isinstance(eps, Tensor) else torch.full_like(images[:, :1, :1, :1], eps)
    nearby = LINF.start(images, radius, generator)
    found = []
    for points in (images, nearby):
        inputs = points.detach().clone().requires_grad_()
        total = cross_entropy(segmenter.belief(inputs), masks).sum()
        (gradient,) = torch.autograd.grad(total, inputs, create_graph=differentiable)
        found.append(gradient.flatten(1).double())
    return found[0], found[1]
