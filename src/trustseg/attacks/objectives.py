"""Objectives, what an attack increases: (belief, masks, progress) -> (B,), one value per image, larger = more harm.

With z the log-odds and y the mask, m = (2 y - 1) z is the margin of a pixel, positive if and only if it is right, and
-ln p_y = softplus(-m) for every belief. Its gradient reaches 0 in float32 at m = 104, that of
``binary_cross_entropy_with_logits`` already at 17: a confident model would look robust without being so.

Args:
    belief: belief about ``masks``, maps (B, 1, H, W).
    masks: reference masks (B, 1, H, W), each value 0 or 1, NaN where ignored. Ignored pixels leave every objective; an
        attack may still change the image there. An image of ignored pixels alone gives 0.
    progress: share of steps done, in [0, 1); read by ``segpgd`` alone.

Raises:
    BeliefError: if ``digamma`` or ``evidence_margin``, which are of the evidence, get no Beta.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import torch
from torch import Tensor
from torch.nn.functional import softplus

from trustseg.beliefs import Belief, reference_of
from trustseg.entries import Entry
from trustseg.errors import unknown_name
from trustseg.losses import bayes_risk_cross_entropy, binary_cross_entropy
from trustseg.losses.balance import image_mean
from trustseg.losses.evidential import as_beta, right_and_wrong
from trustseg.masks import counted_mean

__all__ = ["OBJECTIVES", "Objective", "cross_entropy", "find_objective", "soft_dice"]


class Objective(Protocol):
    """The protocol of an objective, called after every forward pass."""

    def __call__(self, belief: Belief, masks: Tensor, progress: float, /) -> Tensor:
        """Return (B,), larger = better for the attacker; progress in [0, 1) is the share of steps done."""


def _margin(belief: Belief, masks: Tensor, objective: str) -> tuple[Tensor, Tensor]:
    """Return m = s z and which pixels count, both in the shape of masks."""
    y, counted = reference_of(belief, masks, objective)
    return (2 * y - 1) * belief.log_odds, counted


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """Return the mean over the counted pixels of each image, (B,); 0 without a gradient where there is none."""
    return counted_mean(values, counted, empty=0.0)


def cross_entropy(belief: Belief, masks: Tensor, progress: float = 0.0) -> Tensor:
    """Return the mean of softplus(-m) = -ln p_y, in nats per pixel, >= 0; of a Beta, the type-II likelihood loss.

    It is unbounded on pixels already lost, where it wastes budget.

    Reference:
        Goodfellow et al., "Explaining and Harnessing Adversarial Examples", ICLR 2015, arXiv:1412.6572, section 4.
    """
    return binary_cross_entropy(belief, masks)


def masked_cross_entropy(belief: Belief, masks: Tensor, progress: float = 0.0) -> Tensor:
    """Return the mean of 1[m > 0] softplus(-m), in [0, ln 2]: only pixels still right count.

    It falls when a pixel flips, so judge progress by another objective.

    Reference:
        Croce et al., "Towards Reliable Evaluation and Fast Training of Robust Semantic Segmentation Models",
        ECCV 2024, arXiv:2306.12941, the loss L_MCE.
    """
    margin, counted = _margin(belief, masks, "masked_cross_entropy")
    return _mean(torch.where(margin > 0, softplus(-margin), 0.0), counted)


def balanced_masked_cross_entropy(belief: Belief, masks: Tensor, progress: float = 0.0) -> Tensor:
    """Return masked cross-entropy per foreground pixel plus the same per background pixel, halved, in [0, ln 2].

    A class without pixels contributes 0.

    Reference:
        Croce et al., arXiv:2306.12941, the loss L_MCE-Bal, with the pixel counts of each image.
    """
    margin, counted = _margin(belief, masks, "balanced_masked_cross_entropy")
    values = torch.where(margin > 0, softplus(-margin), 0.0)
    foreground, background = (_mean(values, own) for own in (masks > 0, counted & ~(masks > 0)))
    return (foreground + background) / 2


def segpgd(belief: Belief, masks: Tensor, progress: float = 0.0) -> Tensor:
    """Return the mean of w softplus(-m), in nats per pixel, w = 1 - lam on right pixels and lam on lost ones.

    lam = progress / 2, with progress = (t - 1) / T in step t = 1..T.

    Reference:
        Gu et al., "SegPGD: An Effective and Efficient Adversarial Attack for Evaluating and Boosting Segmentation
        Robustness", ECCV 2022, arXiv:2207.12391, algorithm 1.
    """
    margin, counted = _margin(belief, masks, "segpgd")
    lost = progress / 2
    return _mean(torch.where(margin > 0, 1 - lost, lost) * softplus(-margin), counted)


def cospgd(belief: Belief, masks: Tensor, progress: float = 0.0) -> Tensor:
    """Return the mean of w softplus(-m), in nats per pixel, w = p_y / sqrt(p_y^2 + (1 - p_y)^2), held constant.

    w is the cosine between (1 - p, p) and the one-hot mask, written for a model with one logit.

    Reference:
        Agnihotri et al., "CosPGD: an efficient white-box adversarial attack for pixel-wise prediction tasks",
        ICML 2024, arXiv:2302.02213, section 3.
    """
    margin, counted = _margin(belief, masks, "cospgd")
    right, wrong = torch.sigmoid(margin.detach()), torch.sigmoid(-margin.detach())
    return _mean(right / torch.hypot(right, wrong) * softplus(-margin), counted)


def jensen_shannon(belief: Belief, masks: Tensor, progress: float = 0.0) -> Tensor:
    """Return the mean Jensen-Shannon divergence between (1 - p, p) and the one-hot mask, in [0, ln 2].

    JS = (p_y (ln p_y - ln(1 + p_y)) + 2 ln 2 - ln(1 + p_y)) / 2. Its slope is largest at p_y = 0.317 and fades on lost
    and on saturated pixels.

    Reference:
        Croce et al., arXiv:2306.12941, the loss L_JS, for one logit.
    """
    margin, counted = _margin(belief, masks, "jensen_shannon")
    log_right = -softplus(-margin)
    right = log_right.exp()
    shared = torch.log1p(right)
    return _mean((right * (log_right - shared) + 2 * math.log(2) - shared) / 2, counted)


def margin(belief: Belief, masks: Tensor, progress: float = 0.0) -> Tensor:
    """Return the mean of -m, in log-odds, of any sign, whose gradient does not vanish when logits are rescaled.

    Reference:
        Carlini and Wagner, "Towards Evaluating the Robustness of Neural Networks", S&P 2017, arXiv:1608.04644,
        section V-A, for one logit; stands in for the DLR loss of arXiv:2003.01690, which needs three classes.
    """
    values, counted = _margin(belief, masks, "margin")
    return _mean(-values, counted)


def masked_margin(belief: Belief, masks: Tensor, progress: float = 0.0) -> Tensor:
    """Return the mean of -m 1[m > -1], in log-odds, at most 1: the margin of pixels that are right or only just lost.

    It falls when a pixel is lost for good.

    Reference:
        Carlini and Wagner, arXiv:1608.04644, section V-A, with confidence kappa = 1.
        Deviation: cut off instead of clamped, and averaged over pixels.
    """
    margin, counted = _margin(belief, masks, "masked_margin")
    return _mean(torch.where(margin > -1, -margin, 0.0), counted)


def soft_dice(belief: Belief, masks: Tensor, progress: float = 0.0) -> Tensor:
    """Return one minus the soft Dice overlap of each image, in [0, 1]; cross-entropy where the mask is empty.

    With w = sigmoid(-m) the probability given to the wrong class, M its sum over the Y foreground pixels and F its sum
    over the background: 1 - (2 sum(p y) + 1) / (sum(p) + sum(y) + 1) = (M + F) / (2 Y - M + F + 1). Written so, the
    gradient of a confident foreground pixel is not rounded away in 1 - p. Of an empty mask the overlap has hardly a
    gradient; cross-entropy is in nats per pixel.

    Reference:
        Milletari et al., "V-Net", 3DV 2016, arXiv:1606.04797, section 3.
        Deviation: plain sums in the denominator, smoothing by one pixel, and the case of an empty mask.
    """
    margin, counted = _margin(belief, masks, "soft_dice")
    wrong, positive = torch.sigmoid(-margin), masks > 0
    pixels = positive.flatten(1).sum(dim=1)
    missed, false = (torch.where(own, wrong, 0).flatten(1).sum(dim=1) for own in (positive, counted & ~positive))
    overlap = (missed + false) / (2 * pixels - missed + false + 1)
    return torch.where(pixels > 0, overlap, cross_entropy(belief, masks))


def digamma(belief: Belief, masks: Tensor, progress: float = 0.0) -> Tensor:
    """Return the mean of psi(S) - psi(alpha_y), in nats per pixel, >= 0: the cross-entropy expected under a Beta.

    alpha_y is alpha on foreground, beta on background.

    Reference:
        Sensoy et al., "Evidential Deep Learning to Quantify Classification Uncertainty", NeurIPS 2018,
        arXiv:1806.01768, equation 4.
    """
    return bayes_risk_cross_entropy(as_beta(belief, "digamma"), masks)


def evidence_margin(belief: Belief, masks: Tensor, progress: float = 0.0) -> Tensor:
    """Return the mean of -(2 y - 1) (alpha - beta), in evidence, whose gradient does not fade as evidence grows.

    It has the sign of the margin on every pixel, and any sign in the mean.

    Reference:
        Our own: the margin of Carlini and Wagner, arXiv:1608.04644, on evidence instead of log-odds.
    """
    right, wrong = right_and_wrong(as_beta(belief, "evidence_margin"), masks)
    return image_mean(wrong - right, masks)


@dataclass(frozen=True, slots=True)
class ObjectiveFacts:
    """Facts about an objective.

    Attributes:
        needs_beta: it needs the evidence of a Beta.
        falls: it falls when a pixel is lost, so that a rise is no sign of progress.
    """

    needs_beta: bool = False
    falls: bool = False


OBJECTIVES: Final[Mapping[str, Entry[Tensor, ObjectiveFacts]]] = {
    "cross_entropy": Entry(cross_entropy, "cross-entropy", ObjectiveFacts()),
    "masked_cross_entropy": Entry(masked_cross_entropy, "masked cross-entropy", ObjectiveFacts(falls=True)),
    "balanced_masked_cross_entropy": Entry(
        balanced_masked_cross_entropy, "balanced masked cross-entropy", ObjectiveFacts(falls=True)
    ),
    "segpgd": Entry(segpgd, "SegPGD", ObjectiveFacts(falls=True)),
    "cospgd": Entry(cospgd, "CosPGD", ObjectiveFacts(falls=True)),
    "jensen_shannon": Entry(jensen_shannon, "Jensen-Shannon", ObjectiveFacts()),
    "margin": Entry(margin, "margin", ObjectiveFacts()),
    "masked_margin": Entry(masked_margin, "masked margin", ObjectiveFacts(falls=True)),
    "soft_dice": Entry(soft_dice, "soft Dice", ObjectiveFacts()),
    "digamma": Entry(digamma, "digamma", ObjectiveFacts(needs_beta=True)),
    "evidence_margin": Entry(evidence_margin, "evidence margin", ObjectiveFacts(needs_beta=True)),
}


def find_objective(objective: str | Objective) -> Objective:
    """Return the objective of that name, or raise an UnknownNameError; a function is returned as it is."""
    if not isinstance(objective, str):
        return objective
    if objective not in OBJECTIVES:
        raise unknown_name("objective", objective, OBJECTIVES)
    return OBJECTIVES[objective]
