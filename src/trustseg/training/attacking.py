"""The attack inside a training step."""

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Final, Literal

import torch
from torch import Tensor

from trustseg.attacks import ATTACKS, Objective, isolated, n_fgsm
from trustseg.beliefs import Belief
from trustseg.losses import evidence_alignment, kl_divergence
from trustseg.models import Segmenter

__all__ = ["SINGLE_STEP", "TRAINING_ATTACKS", "attacked_images", "divergence_from"]

TRAINING_ATTACKS: Final[Mapping[str, Callable[..., Tensor]]] = {**ATTACKS, "n_fgsm": n_fgsm}
SINGLE_STEP: Final = frozenset({"fgsm", "r_fgsm", "rs_fgsm", "n_fgsm"})


def attacked_images(
    segmenter: Segmenter,
    images: Tensor,
    masks: Tensor,
    *,
    attack: str,
    eps: float,
    steps: int,
    objective: str | Objective,
    generator: torch.Generator,
) -> Tensor:
    """Return the images to train on in place of clean ones: the last iterate of the attack, harmful or not.

    Args:
        segmenter: the raw model, never a wrapper of it; its mode and gradients are left as found.
        images: (k, C, H, W) in [0, 1]; may be empty.
        masks: (k, 1, H, W) in {0, 1}.
        attack: a name in ``TRAINING_ATTACKS``.
        eps: L-inf budget in pixel units of [0, 1].
        steps: steps of an attack that takes more than one; not used by the others.
        objective: what the attack maximises.
        generator: source of random starts.

    Returns:
        (k, C, H, W) in [0, 1], detached, within eps of ``images`` (``n_fgsm``: within 3 eps).
    """
    if not len(images):
        return images
    run = TRAINING_ATTACKS[attack]
    taken = signature(run).parameters
    options = {name: value for name, value in (("steps", steps), ("keep_best", False)) if name in taken}
    return run(segmenter, images, masks, eps=eps, objective=objective, generator=generator, **options)


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
