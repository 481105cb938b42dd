"""Losses: (belief, masks) to one value an image."""

from collections.abc import Mapping
from typing import Final, Protocol

from torch import Tensor

from trustseg.beliefs import Belief
from trustseg.losses.alignment import Divergence, evidence_alignment, kl_divergence, symmetric_kl_divergence
from trustseg.losses.balance import Balance
from trustseg.losses.bernoulli import binary_cross_entropy
from trustseg.losses.evidential import (
    bayes_risk_cross_entropy,
    bayes_risk_squared_error,
    kl_to_uniform,
    type_ii_likelihood,
)
from trustseg.losses.fisher import fisher_squared_error
from trustseg.losses.overlap import soft_dice
from trustseg.losses.training import DATA_TERMS, SCHEDULES, DataTerm, Schedule, annealed, segmentation_loss
from trustseg.losses.vacuity import vacuity_correction

__all__ = [
    "DATA_TERMS",
    "LOSSES",
    "SCHEDULES",
    "Balance",
    "DataTerm",
    "Divergence",
    "Loss",
    "Schedule",
    "annealed",
    "bayes_risk_cross_entropy",
    "bayes_risk_squared_error",
    "binary_cross_entropy",
    "evidence_alignment",
    "fisher_squared_error",
    "kl_divergence",
    "kl_to_uniform",
    "segmentation_loss",
    "soft_dice",
    "symmetric_kl_divergence",
    "type_ii_likelihood",
    "vacuity_correction",
]


class Loss(Protocol):
    """What training and attacks call: a belief and its masks to one value an image."""

    def __call__(self, belief: Belief, masks: Tensor, /) -> Tensor:
        """Return the loss (B,) of belief and masks (B, 1, H, W)."""


LOSSES: Final[Mapping[str, Loss]] = {
    "binary_cross_entropy": binary_cross_entropy,
    "soft_dice": soft_dice,
    "type_ii_likelihood": type_ii_likelihood,
    "bayes_risk_cross_entropy": bayes_risk_cross_entropy,
    "bayes_risk_squared_error": bayes_risk_squared_error,
    "fisher_squared_error": fisher_squared_error,
    "kl_to_uniform": kl_to_uniform,
}
