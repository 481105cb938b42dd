"""Losses: (belief, masks) to one value per image.

The following holds for every entry of ``LOSSES``; the docstring of a loss adds its formula, range and options.
In formulas y is the mask, p the foreground probability, z the log-odds and p_y the probability of the true class; of
a Beta, S = alpha + beta, a is the parameter of the true class ("right": alpha where the mask is 1, beta where it is 0)
and m the other one ("wrong").

Args:
    belief: belief about ``masks``, maps (B, 1, H, W), of any kind unless the docstring says Beta.
    masks: reference masks (B, 1, H, W), each value 0 or 1, NaN where ignored. Ignored pixels do not count; an image
        of ignored pixels alone gives 0.
    balance: of losses that average pixels: ``"none"`` weighs every pixel alike; ``"image"`` is half the mean over the
        foreground plus half the mean over the background, or the mean over the one that is there.

Returns:
    (B,), differentiable.

Raises:
    ShapeError: if ``masks`` and belief differ in shape or are not (B, 1, H, W), or a mask holds other values.
    BeliefError: if the loss needs a Beta and ``belief`` is none.
    ConfigError: if an option is out of range or ``balance`` unknown.

Reference:
    *Sensoy* is Sensoy et al., "Evidential Deep Learning to Quantify Classification Uncertainty", NeurIPS 2018,
    arXiv:1806.01768, here for two classes.
"""

from trustseg.losses.alignment import ALIGNMENTS, AlignmentFacts, Divergence, evidence_alignment, kl_divergence
from trustseg.losses.balance import Balance
from trustseg.losses.bernoulli import binary_cross_entropy, focal_cross_entropy
from trustseg.losses.contract import LOSSES, LossFacts, losses_of
from trustseg.losses.evidential import (
    bayes_risk_cross_entropy,
    bayes_risk_squared_error,
    fisher_squared_error,
    kl_to_uniform,
    type_ii_likelihood,
    vacuity_correction,
)
from trustseg.losses.regions import boundary, focal_tversky, lovasz, soft_dice, tversky
from trustseg.losses.training import SCHEDULES, Schedule, annealed, segmentation_loss

__all__ = [
    "ALIGNMENTS",
    "LOSSES",
    "SCHEDULES",
    "AlignmentFacts",
    "Balance",
    "Divergence",
    "LossFacts",
    "Schedule",
    "annealed",
    "bayes_risk_cross_entropy",
    "bayes_risk_squared_error",
    "binary_cross_entropy",
    "boundary",
    "evidence_alignment",
    "fisher_squared_error",
    "focal_cross_entropy",
    "focal_tversky",
    "kl_divergence",
    "kl_to_uniform",
    "losses_of",
    "lovasz",
    "segmentation_loss",
    "soft_dice",
    "tversky",
    "type_ii_likelihood",
    "vacuity_correction",
]
