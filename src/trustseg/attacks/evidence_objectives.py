"""Objectives that only evidence has: what an attack on a Beta belief may increase."""

import torch
from torch import Tensor

from trustseg.beliefs import Belief, Beta
from trustseg.errors import BeliefError

__all__ = ["digamma", "evidence_margin", "pixel_mean"]


def pixel_mean(values: Tensor) -> Tensor:
    """Return the mean over the pixels of each image, (B,)."""
    return values.flatten(1).mean(dim=1)


def _evidential(belief: Belief, objective: str) -> Beta:
    """Return ``belief`` if it is a Beta, or say which objectives fit any belief."""
    if isinstance(belief, Beta):
        return belief
    raise BeliefError(
        f"the objective '{objective}' needs a Beta belief, got a {type(belief).__name__}; "
        "choose 'cross_entropy', 'margin' or another that fits every belief"
    )


def digamma(belief: Belief, masks: Tensor, progress: float = 0.0) -> Tensor:
    """Return the mean of psi(S) - psi(alpha_y), the cross-entropy expected under a Beta.

    Args:
        belief: a Beta belief about ``masks``, maps (B, 1, H, W); alpha_y is alpha on foreground, beta on background.
        masks: reference masks (B, 1, H, W), float, each value 0 or 1.
        progress: not used.

    Returns:
        (B,) in nats per pixel, >= 0.

    Raises:
        BeliefError: if ``belief`` is not a Beta.

    Reference:
        Sensoy et al., "Evidential Deep Learning to Quantify Classification Uncertainty", NeurIPS 2018,
        arXiv:1806.01768, equation 4.
    """
    beta = _evidential(belief, "digamma")
    own = torch.where(masks > 0, beta.alpha, beta.beta)
    return pixel_mean(torch.digamma(beta.strength) - torch.digamma(own))


def evidence_margin(belief: Belief, masks: Tensor, progress: float = 0.0) -> Tensor:
    """Return the mean of -(2 y - 1) (alpha - beta), whose gradient does not fade as evidence grows.

    Args:
        belief: a Beta belief about ``masks``, maps (B, 1, H, W).
        masks: reference masks (B, 1, H, W), float, each value 0 or 1.
        progress: not used.

    Returns:
        (B,) in evidence, of any sign; it has the sign of the margin on every pixel.

    Raises:
        BeliefError: if ``belief`` is not a Beta.

    Reference:
        Our own: the margin of Carlini and Wagner, arXiv:1608.04644, on evidence instead of log-odds.
    """
    beta = _evidential(belief, "evidence_margin")
    return pixel_mean((1 - 2 * masks) * (beta.alpha - beta.beta))
