"""Checks of a model's forward pass and of its gradient: no attack is run."""

import copy

import torch
from torch import Tensor, nn

from trustseg.attacks import isolated
from trustseg.attacks.objectives import cross_entropy
from trustseg.beliefs import Beta
from trustseg.evaluation.victim import MaskingCheck, Victim, not_run, verdict_on
from trustseg.masks import counted, counted_mean

__all__ = ["attack_forward", "finite_differences", "repeated_forward", "saturation", "zero_gradients"]


def zero_gradients(victim: Victim) -> MaskingCheck:
    """Share of images where more than 1 % of the pixels have a gradient of exactly 0 (S1)."""
    inside = counted(victim.masks)
    with isolated(victim.model):
        images = victim.images.clone().requires_grad_()
        # A sum, or small slopes would round to 0.
        loss = cross_entropy(victim.model(images), victim.masks) * inside[0].numel()
        (gradient,) = torch.autograd.grad(loss.sum(), images)
    share = counted_mean((gradient == 0).double(), inside.expand_as(gradient), empty=0.0)
    meaning = "share of images on which more than 1 % of the pixels have an exactly zero gradient"
    return verdict_on(float((share > 0.01).double().mean()), 0.05, meaning)


def finite_differences(victim: Victim) -> MaskingCheck:
    """Relative error of the directional derivative against a central difference in float64 (S9)."""
    if not isinstance(victim.model, nn.Module):
        return not_run(0.05, "the model is not a module that can be converted to float64")
    model = copy.deepcopy(victim.model).double().eval()
    images, masks = victim.images[:4].double(), victim.masks[:4].double()
    generator = victim.generator("differences")
    direction = torch.randn(images.shape, generator=generator, dtype=torch.float64).to(images.device)

    def loss(points: Tensor) -> Tensor:
        return cross_entropy(model(points), masks).sum()

    with isolated(model):
        images = images.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(images), images)
        slope, step = float((gradient * direction).sum()), 1e-5
        with torch.no_grad():
            measured = float((loss(images + step * direction) - loss(images - step * direction)) / (2 * step))
    error = abs(slope - measured) / max(abs(slope), abs(measured), 1e-12)
    meaning = "relative error of the gradient against finite differences"
    return verdict_on(error, 0.05, meaning)


def repeated_forward(victim: Victim) -> MaskingCheck:
    """Largest difference of p between two forward passes of the same images (S12)."""
    first, second = (victim.belief(victim.images).probability for _ in range(2))
    meaning = "largest difference of p between two passes of one image: randomness in the model"
    return verdict_on(float((first - second).abs().max()), 1e-6, meaning)


def attack_forward(victim: Victim) -> MaskingCheck:
    """Largest difference of p between the pass that an attack makes and the one that predicts (S12).

    In full precision: a GPU's TF32 rounds folded weights and others differently, which moves p by up to 1e-3.
    """
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        with isolated(victim.model):
            attacked = victim.model(victim.images.clone().requires_grad_()).probability.detach()
        predicted = victim.belief(victim.images, victim.deployed).probability
    meaning = "largest difference of p between the forward pass under attack and the one that predicts"
    return verdict_on(float((attacked - predicted).abs().max()), 1e-4, meaning)


def saturation(victim: Victim) -> MaskingCheck:
    """Share of pixels whose belief is so sure that losses have no slope left (S13)."""
    belief = victim.belief(victim.images)
    sure = belief.log_odds.abs() > 16
    if isinstance(belief, Beta):
        sure = sure | (belief.strength > 1e4)
    share = float(sure[counted(victim.masks)].double().mean())
    return verdict_on(share, 0.05, "share of pixels with |log-odds| > 16 or evidence > 1e4")
