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
    constant. With softplus evidence the gradient with respect to the logit tends to -u where that of the data terms
    decays like exp(logit). It needs a Beta and is added to a data term: it is not a proper score, may be negative,
    falls without bound, and is at most 16 in float32.

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
