"""Objectives on the evidence of a Beta; any other belief raises a BeliefError. See ``trustseg.attacks.objectives``."""

import torch
from torch import Tensor

from trustseg.beliefs import Belief, Beta, reference_of, require_belief
from trustseg.errors import BeliefError
from trustseg.masks import counted_mean

__all__ = ["digamma", "evidence_margin", "pixel_mean"]


def pixel_mean(values: Tensor, counted: Tensor) -> Tensor:
    """Return the mean over the counted pixels of each image, (B,); 0 without a gradient where there is none."""
    return counted_mean(values, counted, empty=0.0)


def _evidential(belief: Belief, objective: str) -> Beta:
    """Return ``belief`` if it is a Beta, or say which objectives fit any belief."""
    require_belief(belief, objective)
    if isinstance(belief, Beta):
        return belief
    raise BeliefError(
        f"the objective '{objective}' needs a Beta belief, got a {type(belief).__name__}; "
        "choose 'cross_entropy', 'margin' or another that fits every belief"
    )


def digamma(belief: Belief, masks: Tensor, progress: float = 0.0) -> Tensor:
    """Return the mean of psi(S) - psi(alpha_y), in nats per pixel, >= 0: the cross-entropy expected under a Beta.

    alpha_y is alpha on foreground, beta on background.

    Reference:
        Sensoy et al., "Evidential Deep Learning to Quantify Classification Uncertainty", NeurIPS 2018,
        arXiv:1806.01768, equation 4.
    """
    beta = _evidential(belief, "digamma")
    y, counted = reference_of(belief, masks, "digamma")
    own = torch.where(y > 0, beta.alpha, beta.beta)
    return pixel_mean(torch.digamma(beta.strength) - torch.digamma(own), counted)


def evidence_margin(belief: Belief, masks: Tensor, progress: float = 0.0) -> Tensor:
    """Return the mean of -(2 y - 1) (alpha - beta), in evidence, whose gradient does not fade as evidence grows.

    It has the sign of the margin on every pixel, and any sign in the mean.

    Reference:
        Our own: the margin of Carlini and Wagner, arXiv:1608.04644, on evidence instead of log-odds.
    """
    beta = _evidential(belief, "evidence_margin")
    y, counted = reference_of(belief, masks, "evidence_margin")
    return pixel_mean((1 - 2 * y) * (beta.alpha - beta.beta), counted)
