"""Losses: (belief, masks) to one value an image."""

from trustseg.losses.alignment import Divergence, evidence_alignment, kl_divergence, symmetric_kl_divergence
from trustseg.losses.balance import Balance
from trustseg.losses.bernoulli import binary_cross_entropy, focal_cross_entropy
from trustseg.losses.contract import LOSSES, Loss, LossFacts, losses_of
from trustseg.losses.evidential import (
    bayes_risk_cross_entropy,
    bayes_risk_squared_error,
    kl_to_uniform,
    type_ii_likelihood,
)
from trustseg.losses.fisher import fisher_squared_error
from trustseg.losses.overlap import focal_tversky, soft_dice, tversky
from trustseg.losses.regions import boundary, lovasz
from trustseg.losses.training import SCHEDULES, Schedule, annealed, segmentation_loss
from trustseg.losses.vacuity import vacuity_correction

__all__ = [
    "LOSSES",
    "SCHEDULES",
    "Balance",
    "Divergence",
    "Loss",
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
    "symmetric_kl_divergence",
    "tversky",
    "type_ii_likelihood",
    "vacuity_correction",
]
