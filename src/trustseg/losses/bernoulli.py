"""Losses that read nothing but the foreground probability, so that every belief has them."""

from torch import Tensor
from torch.nn.functional import softplus

from trustseg.beliefs import Belief, reference_of
from trustseg.losses.balance import Balance, image_mean

__all__ = ["binary_cross_entropy"]


def binary_cross_entropy(belief: Belief, masks: Tensor, *, balance: Balance = "none") -> Tensor:
    """Return the mean negative log probability of the true class of each image.

    With z the log-odds and s = 2 y - 1, per pixel: loss = -ln p_y = softplus(-s z). In this form the gradient lives on
    where the library's cross-entropy of logits is exactly 0. Of a Beta it is ``type_ii_likelihood``.

    Args:
        belief: belief of any kind about ``masks``.
        masks: reference masks (B, 1, H, W), each value 0 or 1.
        balance: ``"none"`` = mean over pixels; ``"image"`` = half foreground, half background.

    Returns:
        (B,) in nats, >= 0; infinite only where an infinite log-odds is wrong.

    Raises:
        ShapeError: if ``masks`` and belief differ in shape or are not (B, 1, H, W).
        ConfigError: if ``balance`` is unknown.

    Example:
        >>> from trustseg.beliefs import Bernoulli
        >>> import torch
        >>> binary_cross_entropy(Bernoulli(torch.zeros(1, 1, 2, 2)), torch.ones(1, 1, 2, 2))
        tensor([0.6931])

    Reference:
        Good, "Rational Decisions", Journal of the Royal Statistical Society B, 1952 (the logarithmic score).
    """
    reference = reference_of(belief, masks, "binary_cross_entropy")
    log_odds = belief.log_odds
    losses = softplus(log_odds.where(reference.masks <= 0.5, -log_odds))
    return image_mean(losses, masks, balance=balance)
