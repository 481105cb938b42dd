"""The mixed batch of adversarial training: score images, choose some, put clean and attacked ones into one batch."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from trustseg.beliefs import Belief
from trustseg.entries import call
from trustseg.errors import ConfigError
from trustseg.losses import LOSSES
from trustseg.models import Segmenter
from trustseg.selection import SELECTIONS, SelectionFacts, above, attacked_count
from trustseg.uncertainty import AGGREGATIONS, MEASURES

__all__ = ["MixedBatch", "choose", "image_scores", "mixed_batch", "scores_of", "selection_facts"]


def selection_facts(selection: str) -> SelectionFacts:
    """Return the facts about a selection; a ``threshold`` is one of the uncertainty."""
    return SelectionFacts() if selection == "threshold" else SELECTIONS[selection].facts


@dataclass(frozen=True, slots=True)
class MixedBatch:
    """Clean and adversarial images that go through the network together.

    Batch normalisation thus sees both kinds at once (Kurakin et al., "Adversarial Machine Learning at Scale", ICLR
    2017, arXiv:1611.01236, section 3).

    Attributes:
        images: (N, C, H, W), the clean images first, then the adversarial ones.
        masks: (N, 1, H, W).
        weights: (N,), 1 for clean images and the adversarial weight for the others.
        clean: (N - k,) indices into the original batch of the images that stay clean.
        attacked: (k,) indices of the attacked images.
    """

    images: Tensor
    masks: Tensor
    weights: Tensor
    clean: Tensor
    attacked: Tensor

    def mean(self, losses: Tensor) -> Tensor:
        """Return the weighted mean of the losses (N,): (sum clean + w sum adversarial) / (clean + w adversarial)."""
        return (self.weights * losses).sum() / self.weights.sum()


def scores_of(belief: Belief, masks: Tensor, *, selection: str, measure: str, aggregation: str) -> Tensor:
    """Return the score (B,) by which ``selection`` chooses, detached: cross-entropy for ``hard``, else uncertainty."""
    with torch.no_grad():
        if selection_facts(selection).scores == "loss":
            return LOSSES["binary_cross_entropy"](belief, masks)
        return call(AGGREGATIONS, aggregation, kind="aggregation")(MEASURES[measure](belief), belief.probability)


def image_scores(
    segmenter: Segmenter, images: Tensor, masks: Tensor, *, selection: str, measure: str, aggregation: str
) -> Tensor:
    """Return the score of each clean image by which ``selection`` chooses, from one forward pass.

    Returns:
        (B,): the cross-entropy for ``hard``, zeros for ``random`` (no pass needed), else the uncertainty.
    """
    if selection_facts(selection).scores == "none":
        return torch.zeros(len(images), device=images.device)
    modes = [(module, module.training) for module in segmenter.modules()]
    segmenter.eval()
    try:
        with torch.no_grad():
            belief = segmenter.belief(images)
    finally:
        for module, mode in modes:
            module.training = mode
    return scores_of(belief, masks, selection=selection, measure=measure, aggregation=aggregation)


def choose(
    scores: Tensor, *, selection: str, fraction: float, threshold: float | None, generator: torch.Generator
) -> Tensor:
    """Return which images of a batch are attacked, (k,) indices, int64, ascending.

    Args:
        scores: (B,), from ``image_scores`` or a ``ScoreMemory``.
        fraction: share of the batch, in [0, 1]; ceil(fraction B) images; not used by ``threshold``.
        threshold: score above which ``threshold`` attacks; not used by the others.

    Raises:
        ConfigError: if ``threshold`` is to choose and there is none.
    """
    if selection != "threshold":
        return SELECTIONS[selection](scores, attacked_count(len(scores), fraction), generator)
    if threshold is None:
        raise ConfigError("selection 'threshold' needs a threshold; give for example threshold=0.05")
    return above(scores, threshold)


def mixed_batch(
    images: Tensor,
    masks: Tensor,
    adversarial: Tensor,
    *,
    attacked: Tensor,
    mode: Literal["replace", "append"] = "replace",
    weight: float = 1.0,
) -> MixedBatch:
    """Return the batch with the adversarial versions of some of its images.

    Args:
        adversarial: (k, C, H, W) in [0, 1], the attacked versions of ``images[attacked]``.
        attacked: (k,) indices into the batch.
        mode: ``"replace"``: the clean originals leave the batch; ``"append"``: they stay, and the step costs more.
        weight: weight of an adversarial image's loss.
    """
    clean = torch.arange(len(images), device=images.device)
    if mode == "replace":
        last = torch.zeros_like(clean)
        last[attacked] = 1
        # Sorted, not looked for: a GPU would have to be waited for to tell how many there are.
        clean = last.argsort(stable=True)[: len(images) - len(attacked)]
    weights = torch.ones(len(clean) + len(attacked), device=images.device)
    weights[len(clean) :] = weight
    return MixedBatch(
        images=torch.cat([images[clean], adversarial]),
        masks=torch.cat([masks[clean], masks[attacked]]),
        weights=weights,
        clean=clean,
        attacked=attacked,
    )
