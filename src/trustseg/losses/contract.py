"""The losses by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from torch import Tensor

from trustseg.entries import Entry
from trustseg.losses.bernoulli import binary_cross_entropy, focal_cross_entropy
from trustseg.losses.evidential import (
    bayes_risk_cross_entropy,
    bayes_risk_squared_error,
    fisher_squared_error,
    kl_to_uniform,
    type_ii_likelihood,
)
from trustseg.losses.regions import boundary, focal_tversky, lovasz, soft_dice, tversky

__all__ = ["LOSSES", "LossFacts", "losses_of"]

Role = Literal["data", "region", "penalty"]


@dataclass(frozen=True, slots=True)
class LossFacts:
    """Facts about a loss.

    Attributes:
        role: ``"data"``: scores each pixel, averaged over each image with a ``balance``; ``"region"``: scores the shape
            of the whole prediction; ``"penalty"``: added with a weight of its own.
        needs_beta: whether it needs the evidence of a Beta.
        geometric: whether it depends on where pixels lie, and not only on their values.
    """

    role: Role
    needs_beta: bool = False
    geometric: bool = False


LOSSES: Final[Mapping[str, Entry[Tensor, LossFacts]]] = {
    "binary_cross_entropy": Entry(binary_cross_entropy, "cross-entropy", LossFacts("data")),
    "focal_cross_entropy": Entry(focal_cross_entropy, "focal cross-entropy", LossFacts("data")),
    "soft_dice": Entry(soft_dice, "soft Dice", LossFacts("region")),
    "tversky": Entry(tversky, "Tversky", LossFacts("region")),
    "focal_tversky": Entry(focal_tversky, "focal Tversky", LossFacts("region")),
    "lovasz": Entry(lovasz, "Lovasz", LossFacts("region")),
    "boundary": Entry(boundary, "boundary", LossFacts("region", geometric=True)),
    "type_ii_likelihood": Entry(type_ii_likelihood, "type-II likelihood", LossFacts("data", needs_beta=True)),
    "bayes_risk_cross_entropy": Entry(
        bayes_risk_cross_entropy, "Bayes risk of cross-entropy", LossFacts("data", needs_beta=True)
    ),
    "bayes_risk_squared_error": Entry(
        bayes_risk_squared_error, "Bayes risk of squared error", LossFacts("data", needs_beta=True)
    ),
    "fisher_squared_error": Entry(fisher_squared_error, "Fisher squared error", LossFacts("data", needs_beta=True)),
    "kl_to_uniform": Entry(kl_to_uniform, "KL to uniform", LossFacts("penalty", needs_beta=True)),
}


def losses_of(role: Role) -> Mapping[str, Entry[Tensor, LossFacts]]:
    """Return the losses of a role by name."""
    return {name: loss for name, loss in LOSSES.items() if loss.facts.role == role}
