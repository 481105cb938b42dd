"""The correction that lets pixels without evidence learn."""

import torch
from torch import Tensor

from trustseg.beliefs import Belief
from trustseg.losses.balance import Balance, image_mean
from trustseg.losses.evidential import as_beta, right_and_wrong

__all__ = ["vacuity_correction"]


def vacuity_correction(belief: Belief, masks: Tensor, *, balance: Balance = "none") -> Tensor:
    """Return the mean pull of each image towards evidence for the true class, strong where there is none.

    Per pixel: loss = -u ln e, with e the evidence for the true class and u = 2 w / S the vacuity, which is held
    constant. With softplus evidence the gradient with respect to the logit tends to -u where the data terms' dies away
    like exp(logit). To be added to a data term; it is no proper score, may be negative and falls without bound.

    Args:
        belief: Beta belief about ``masks``.
        masks: reference masks (B, 1, H, W), each value 0 or 1.
        balance: ``"none"`` = mean over pixels; ``"image"`` = half foreground, half background.

    Returns:
        (B,) any real number; at most 16 in float32.

    Raises:
        BeliefError: if ``belief`` is not a Beta.
        ShapeError: if ``masks`` and belief differ in shape or are not (B, 1, H, W).
        ConfigError: if ``balance`` is unknown.

    Example:
        >>> from trustseg.beliefs import Beta
        >>> ones = torch.ones(1, 1, 1, 1)
        >>> vacuity_correction(Beta(1.5 * ones, ones), ones)
        tensor([0.5545])

    Reference:
        Pandey and Yu, "Learn to Accumulate Evidence from All Training Samples: Theory and Practice", ICML 2023,
        arXiv:2306.11113, the correct evidence regularisation.
        Deviation: ln(e + 1.2e-7), the resolution of alpha in float32, so that evidence too small to be seen in alpha
        gives a finite gradient; the pull weakens below logit -16. Their code takes the logit for ln e, which is the
        same for exponential evidence only.
    """
    beta = as_beta(belief, "vacuity_correction")
    right, _ = right_and_wrong(beta, masks)
    evidence = (right - beta.prior).clamp_min(0)
    losses = -beta.vacuity().detach() * torch.log(evidence + torch.finfo(evidence.dtype).eps)
    return image_mean(losses, masks, balance=balance)
