"""The attack inside a training step, and free adversarial training, where the step attacks by itself."""

from typing import Literal

import torch
from torch import Tensor

from trustseg.attacks import Objective, isolated, training_attacks
from trustseg.beliefs import Belief
from trustseg.entries import read
from trustseg.losses import evidence_alignment, kl_divergence
from trustseg.models import Segmenter

__all__ = ["FreePerturbation", "attacked_images", "budget_of", "budget_within", "divergence_from"]


def budget_within(eps: float, padding: Tensor | None) -> float | Tensor:
    """Return a budget that is 0 in the padding (B, 1, H, W), bool or 0 and 1: no attack may gain by changing it."""
    return eps if padding is None else eps * (1 - padding.float())


def budget_of(eps: float | Tensor, rows: Tensor | slice) -> float | Tensor:
    """Return the budget of some of the images."""
    return eps if isinstance(eps, float) else eps[rows]


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
        images: clean ones; there may be none.
        attack: a name in ``training_attacks()``, with options if need be: ``pgd(step_size=2/255)``.
        steps: steps of an attack that takes more than one, unless its options say otherwise.
        objective: what the attack maximises.

    Returns:
        Detached, in [0, 1], within eps of ``images`` (``n_fgsm``: within 3 eps).
    """
    if not len(images):
        return images
    run, options = read(training_attacks(), attack, kind="training attack")
    usual = {name: value for name, value in (("steps", steps), ("keep_best", False)) if run.takes(name)}
    return run(segmenter, images, masks, eps=eps, objective=objective, generator=generator, **(usual | options))


def divergence_from(segmenter: Segmenter, images: Tensor, *, kind: Literal["belief", "mean"]) -> Objective:
    """Return the objective that needs no labels: how far the belief has moved from that about the clean ``images``.

    Its gradient is 0 at the clean images, so an attack has to start elsewhere. It costs one forward pass, once.

    Args:
        kind: ``"belief"``: KL divergence of the beliefs, as in TRADES; ``"mean"``: cross-entropy of the mean
            probabilities of two Betas, as in EV-AT.

    Reference:
        Zhang et al. (TRADES), arXiv:1901.08573, algorithm 1; EV-AT, arXiv:2607.03075. Both start at the image plus
        Gaussian noise of 0.001; here the start is that of the attack.
    """
    with isolated(segmenter), torch.no_grad():
        clean = segmenter.belief(images)

    def divergence(belief: Belief, masks: Tensor, progress: float) -> Tensor:
        if kind == "belief":
            return kl_divergence(clean, belief, masks)
        return evidence_alignment(clean, belief, masks, squared_weight=0, cross_entropy_weight=1, strength_weight=0)

    return divergence


class FreePerturbation:
    """The perturbation that is carried from step to step and from batch to batch of an epoch.

    Each batch is trained on several times. ``applied`` gives the images to train on; once the loss has gone backwards,
    ``advance`` moves d to clip(d + eps sign g, -eps, eps), with g its gradient in that very pass.

    Reference:
        Shafahi et al., "Adversarial Training for Free!", NeurIPS 2019, arXiv:1904.12843, algorithm 1.
        Deviation: it starts at 0 in every epoch instead of once, so that a resumed training needs no memory of it.
    """

    def __init__(self) -> None:
        self._carried: Tensor | None = None
        self._applied: Tensor | None = None
        self._eps = torch.zeros(())

    def reset(self) -> None:
        """Start again from no perturbation."""
        self._carried = self._applied = None

    def applied(self, images: Tensor, *, eps: float | Tensor) -> Tensor:
        """Return the perturbed images in [0, 1], through which a gradient reaches the perturbation."""
        if self._carried is None or len(self._carried) < len(images):
            self._carried = torch.zeros_like(images)
        self._eps = torch.as_tensor(eps, dtype=images.dtype, device=images.device)
        carried = self._carried[: len(images)].clamp(-self._eps, self._eps)
        self._applied = carried.detach().requires_grad_()
        return (images + self._applied).clamp(0, 1)

    def advance(self) -> None:
        """Move the perturbation along the sign of its gradient; without one since the last call, leave it."""
        if self._applied is None or self._applied.grad is None or self._carried is None:
            return
        moved = self._applied.detach() + self._eps * self._applied.grad.sign()
        self._carried[: len(moved)] = moved.clamp(-self._eps, self._eps)
        self._applied = None
