"""The mixed batch of adversarial training: choose some images, attack them, train on both kinds in one step."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from trustseg.attacks import ATTACKS, Attack, pgd
from trustseg.losses import LOSSES
from trustseg.models import Segmenter
from trustseg.selection import SELECTIONS, attacked_count
from trustseg.uncertainty import AGGREGATIONS

__all__ = ["MixedBatch", "eps_at", "image_scores", "mixed_batch"]


@dataclass(frozen=True, slots=True)
class MixedBatch:
    """Clean and adversarial images that go through the network together.

    Batch normalisation thus sees both kinds at once (Kurakin et al., "Adversarial Machine Learning at Scale",
    ICLR 2017, arXiv:1611.01236, section 3).

    Attributes:
        images: (N, C, H, W), the clean images first, then the adversarial ones.
        masks: (N, 1, H, W).
        weights: (N,), 1 for clean images and the adversarial weight for the others.
        attacked: (k,) indices into the original batch.
    """

    images: Tensor
    masks: Tensor
    weights: Tensor
    attacked: Tensor

    def mean(self, losses: Tensor) -> Tensor:
        """Return the weighted mean of the losses (N,): (sum clean + w sum adversarial) / (clean + w adversarial)."""
        return (self.weights * losses).sum() / self.weights.sum()


def eps_at(epoch: int, *, eps: float, warmup_epochs: int, ramp_epochs: int) -> float:
    """Return the budget of an epoch: 0 during the warm-up, then a linear ramp, then ``eps``.

    Args:
        epoch: counted from 0.
        eps: full budget in pixel units of [0, 1].
        warmup_epochs: epochs without attacks.
        ramp_epochs: epochs of the ramp; its first one has eps / (ramp_epochs + 1).

    Example:
        >>> [round(eps_at(epoch, eps=0.4, warmup_epochs=1, ramp_epochs=3), 2) for epoch in range(6)]
        [0.0, 0.1, 0.2, 0.3, 0.4, 0.4]
    """
    if epoch < warmup_epochs:
        return 0.0
    return eps * min(1.0, (epoch - warmup_epochs + 1) / (ramp_epochs + 1))


def image_scores(
    segmenter: Segmenter, images: Tensor, masks: Tensor, *, selection: str, measure: str, aggregation: str
) -> Tensor:
    """Return the score of each clean image by which ``selection`` chooses, from one forward pass in eval mode.

    Args:
        segmenter: its mode, and that of each part of it, is left as found.
        images: (B, C, H, W) in [0, 1].
        masks: (B, 1, H, W) in {0, 1}; only ``hard`` looks at them.
        selection: a name in ``SELECTIONS``.
        measure: pixel measure of the image's uncertainty.
        aggregation: map to image score.

    Returns:
        (B,): the clean cross-entropy for ``hard``, zeros for ``random`` (no pass needed), else the uncertainty.
    """
    if selection == "random":
        return torch.zeros(len(images), device=images.device)
    modes = [(module, module.training) for module in segmenter.modules()]
    segmenter.eval()
    try:
        with torch.no_grad():
            belief = segmenter.belief(images)
    finally:
        for module, mode in modes:
            module.training = mode
    if selection == "hard":
        return LOSSES["binary_cross_entropy"](belief, masks)
    return AGGREGATIONS[aggregation](belief.uncertainty(measure), belief.probability)


def mixed_batch(
    segmenter: Segmenter,
    images: Tensor,
    masks: Tensor,
    *,
    selection: str,
    fraction: float,
    mode: Literal["replace", "append"],
    weight: float,
    attack: str,
    eps: float,
    steps: int,
    objective: str,
    measure: str,
    aggregation: str,
    generator: torch.Generator,
) -> MixedBatch:
    """Return the batch with its chosen images attacked.

    Args:
        segmenter: the raw model, never a wrapper of it; its mode and gradients are left as found.
        images: (B, C, H, W) in [0, 1].
        masks: (B, 1, H, W) in {0, 1}.
        selection: a name in ``SELECTIONS``: who gets attacked.
        fraction: share of the batch that is attacked, in (0, 1]; ceil(fraction B) images.
        mode: ``"replace"``: the clean originals leave the batch; ``"append"``: they stay, and the step costs more.
        weight: weight of an adversarial image's loss.
        attack: a name in ``ATTACKS``.
        eps: L-inf budget in pixel units of [0, 1].
        steps: gradient steps of ``pgd``.
        objective: what the attack maximises.
        measure: pixel measure that scores images.
        aggregation: map to image score.
        generator: source of random choices and starts.

    Returns:
        The batch to train on.
    """
    scores = image_scores(segmenter, images, masks, selection=selection, measure=measure, aggregation=aggregation)
    chosen = SELECTIONS[selection](scores, attacked_count(len(images), fraction), generator).to(images.device)
    run_attack: Attack = partial(pgd, steps=steps) if attack == "pgd" else ATTACKS[attack]
    adversarial = run_attack(
        segmenter,
        images[chosen],
        masks[chosen],
        eps=eps,
        objective=objective,
        generator=generator,
        keep_best=False,
    )
    kept = torch.ones(len(images), dtype=torch.bool, device=images.device)
    if mode == "replace":
        kept[chosen] = False
    clean_count = int(kept.sum())
    weights = torch.ones(clean_count + len(chosen), device=images.device)
    weights[clean_count:] = weight
    return MixedBatch(
        images=torch.cat([images[kept], adversarial]),
        masks=torch.cat([masks[kept], masks[chosen]]),
        weights=weights,
        attacked=chosen,
    )
