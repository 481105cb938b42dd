"""The attack inside a training step."""

from inspect import signature
from typing import Literal

import torch
from torch import Tensor

from trustseg.attacks import Objective, isolated, training_attacks
from trustseg.beliefs import Belief
from trustseg.entries import read
from trustseg.losses import evidence_alignment, kl_divergence
from trustseg.models import Segmenter

__all__ = ["attacked_images", "budget_within", "divergence_from"]


def budget_within(eps: float, padding: Tensor | None) -> float | Tensor:
    """Return a budget that is 0 in the padding (B, 1, H, W), bool or 0 and 1: no attack may gain by changing it."""
    return eps if padding is None else eps * (1 - padding.float())


def attacked_images(
    segmenter: Segmenter,
    images: Tensor,
    masks: Tensor,
    *,
    attack: str,
    eps: float | Tensor,
    steps: int,
    objective: str | Objective,
    generator: torch.Generator,
) -> Tensor:
    """Return the images to train on in place of clean ones: the last iterate of the attack, harmful or not.

    Args:
        segmenter: the raw model, never a wrapper of it; its mode and gradients are left as found.
        images: (k, C, H, W) in [0, 1]; may be empty.
        masks: (k, 1, H, W) in {0, 1}.
        attack: a name in ``training_attacks()``, with options if need be: ``pgd(step_size=2/255)``.
        eps: L-inf budget in pixel units of [0, 1], one number or one per pixel (k, 1, H, W).
        steps: steps of an attack that takes more than one, unless its options say otherwise.
        objective: what the attack maximises.
        generator: source of random starts.

    Returns:
        (k, C, H, W) in [0, 1], detached, within eps of ``images`` (``n_fgsm``: within 3 eps).
    """
    if not len(images):
        return images
    run, options = read(training_attacks(), attack, kind="training attack")
    taken = signature(run).parameters
    usual = {name: value for name, value in (("steps", steps), ("keep_best", False)) if name in taken}
    return run(segmenter, images, masks, eps=eps, objective=objective, generator=generator, **(usual | options))


def divergence_from(segmenter: Segmenter, images: Tensor, *, kind: Literal["belief", "mean"]) -> Objective:
    """Return the objective that needs no labels: how far the belief has moved from that about the clean images.

    Its gradient is 0 at the clean images, so an attack has to start elsewhere. It costs one forward pass, once.

    Args:
        segmenter: its mode is left as found.
        images: (k, C, H, W) in [0, 1], the clean images.
        kind: ``"belief"``: KL divergence of the beliefs, as in TRADES; ``"mean"``: cross-entropy of the mean
            probabilities of two Betas, as in EV-AT.

    Returns:
        A function (belief, masks, progress) -> (k,); of the masks it only reads which pixels are ignored.

    Reference:
        Zhang et al., "Theoretically Principled Trade-off between Robustness and Accuracy" (TRADES), ICML 2019,
        arXiv:1901.08573, algorithm 1; EV-AT, arXiv:2607.03075. Both start at the image plus Gaussian noise of 0.001;
        here the start is that of the attack.
    """
    with isolated(segmenter), torch.no_grad():
        clean = segmenter.belief(images)

    def divergence(belief: Belief, masks: Tensor, progress: float) -> Tensor:
        if kind == "belief":
            return kl_divergence(clean, belief, masks)
        return evidence_alignment(clean, belief, masks, squared_weight=0, cross_entropy_weight=1, strength_weight=0)

    return divergence
