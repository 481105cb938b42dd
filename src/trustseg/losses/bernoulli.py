"""Losses of the foreground probability alone, which every belief has."""

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn.functional import softplus

from trustseg.beliefs import Belief, reference_of
from trustseg.errors import ConfigError
from trustseg.losses.balance import Balance, image_mean

__all__ = ["binary_cross_entropy", "focal_cross_entropy"]

_SURE = 1e4  # log-odds beyond which an error is 0 in every float type


def binary_cross_entropy(belief: Belief, masks: Tensor, *, balance: Balance = "none") -> Tensor:
    """Return the mean negative log probability of the true class of each image, in nats, >= 0.

    With s = 2 y - 1, per pixel: loss = -ln p_y = softplus(-s z), infinite only where an infinite log-odds is wrong. In
    this form the gradient does not vanish where torch's cross-entropy of logits is exactly 0. Of a Beta it is
    ``type_ii_likelihood``.

    Example:
        >>> from trustseg.beliefs import Bernoulli
        >>> binary_cross_entropy(Bernoulli(torch.zeros(1, 1, 2, 2)), torch.ones(1, 1, 2, 2))
        tensor([0.6931])

    Reference:
        Good, "Rational Decisions", Journal of the Royal Statistical Society B, 1952 (the logarithmic score).
    """
    reference = reference_of(belief, masks, "binary_cross_entropy")
    log_odds = belief.log_odds
    losses = softplus(log_odds.where(reference.masks <= 0.5, -log_odds))
    return image_mean(losses, masks, balance=balance)


def focal_cross_entropy(
    belief: Belief, masks: Tensor, *, gamma: Annotated[float, Ge(0)] = 2.0, balance: Balance = "none"
) -> Tensor:
    """Return the cross-entropy of each image with its easy pixels weighted down, in nats, >= 0.

    Per pixel: loss = -(1 - p_y)^gamma ln p_y. It is not a proper score: calibrate a model trained with it.

    Args:
        gamma: how fast the weight of a pixel falls as it becomes right, >= 0; 0 is ``binary_cross_entropy``.

    Reference:
        Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, arXiv:1708.02002, equation 4.
        Deviation: ``balance`` in place of the paper's alpha.
    """
    if not gamma >= 0:
        raise ConfigError(f"gamma must be at least 0, got {gamma}; the usual value is 2")
    reference = reference_of(belief, masks, "focal_cross_entropy")
    margin = belief.log_odds.where(reference.masks > 0.5, -belief.log_odds)
    wrong = torch.exp(-gamma * softplus(margin.clamp(max=_SURE)))  # (1 - p_y)^gamma
    return image_mean(wrong * softplus(-margin), masks, balance=balance)
