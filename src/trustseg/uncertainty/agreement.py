"""Image scores that predict the Dice of a segmentation: from its own probability, or from the members of a mixture."""

import torch
from torch import Tensor

from trustseg.beliefs import Belief, Mixture
from trustseg.errors import BeliefError
from trustseg.uncertainty.maps import check_maps

__all__ = ["pairwise_disagreement", "soft_dice_confidence"]


def soft_dice_confidence(uncertainty: Tensor, probability: Tensor) -> Tensor:
    """Return one minus the soft Dice confidence, in [0, 1]: the Dice to expect if the probability is calibrated.

    With F the predicted pixels: score = 1 - 2 sum over F of p / (sum(p) + |F|), one minus the soft Dice of p with its
    own prediction; 1, the largest, where nothing is predicted. It does not read the map, so it is the same for every
    measure.

    Reference:
        Borges et al., "Soft Dice Confidence: A Near-Optimal Confidence Estimator for Selective Prediction in Semantic
        Segmentation", arXiv:2402.10665. Deviation: one minus it, as all scores here are higher where a model is less
        sure; where nothing is predicted it is 1.
    """
    check_maps(uncertainty, probability)
    p = probability.flatten(1)
    predicted = p > 0.5
    inside = torch.where(predicted, p, 0).sum(dim=1)
    union = p.sum(dim=1) + predicted.sum(dim=1)
    return 1 - 2 * inside / union.clamp_min(torch.finfo(p.dtype).tiny)


def pairwise_disagreement(belief: Belief) -> Tensor:
    """Return one minus the mean Dice between the predictions of every two members of a mixture, (B,) in [0, 1].

    Every member predicts p > 1/2. Of two empty predictions the Dice is 1, of an empty and another one 0; so the score
    is 0 where all members predict the same, also where all predict nothing. It needs the members, so it is no
    aggregation of a map.

    Raises:
        BeliefError: if ``belief`` is no mixture or has one member.

    Reference:
        QuickNAT, Dice agreement of Monte-Carlo samples; Zenk, for ensembles.
    """
    if not isinstance(belief, Mixture) or len(belief.members) < 2:
        got = f"{len(belief.members)} member" if isinstance(belief, Mixture) else f"a {type(belief).__name__}"
        raise BeliefError(
            f"pairwise_disagreement needs a mixture of at least 2 members, got {got}; use MCDropout or a DeepEnsemble"
        )
    predicted = torch.stack([(member.log_odds > 0).flatten(1) for member in belief.members], dim=1).float()
    overlap = predicted @ predicted.transpose(1, 2)  # (B, M, M), whole numbers, exact in float32 up to 16.7 million
    area = predicted.sum(dim=2)
    sizes = area.unsqueeze(1) + area.unsqueeze(2)
    agreement = torch.where(sizes > 0, 2 * overlap / sizes.clamp_min(1), 1.0)
    members = len(belief.members)
    first, second = torch.triu_indices(members, members, offset=1, device=agreement.device)
    return 1 - agreement[:, first, second].mean(dim=1)
