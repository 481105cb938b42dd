"""A point belief: one probability per pixel."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from trustseg.beliefs.look_up import look_up, promoted

__all__ = ["Bernoulli", "bernoulli_entropy"]


def bernoulli_entropy(log_odds: Tensor) -> Tensor:
    """Return the entropy softplus(-|z|) + |z| sigmoid(-|z|) of Bernoulli(sigmoid(z)) in nats; 0 at z = +-inf."""
    distance = log_odds.abs()
    finite = distance.clamp(max=1e4)  # inf * 0 is NaN; beyond 1e4 both terms are 0 in every float type
    return softplus(-finite) + finite * torch.sigmoid(-finite)


@dataclass(frozen=True, slots=True, eq=False)
class Bernoulli:
    """A point belief: the pixel is foreground with probability sigmoid(logits).

    Attributes:
        logits: (B, 1, H, W) log-odds of foreground, any float, infinities allowed.

    Example:
        >>> Bernoulli(torch.zeros(1)).entropy()
        tensor([0.6931])
    """

    logits: Tensor
    measures: ClassVar[tuple[str, ...]] = ("entropy", "variance")

    def __post_init__(self) -> None:
        object.__setattr__(self, "logits", promoted(self.logits))

    @property
    def log_odds(self) -> Tensor:
        """Return ln(p / q)."""
        return self.logits

    @property
    def probability(self) -> Tensor:
        """Return p in [0, 1]."""
        return torch.sigmoid(self.logits)

    def variance(self) -> Tensor:
        """Return p q in [0, 1/4], the variance of the label."""
        return torch.sigmoid(self.logits) * torch.sigmoid(-self.logits)

    def entropy(self) -> Tensor:
        """Return the entropy of the label in nats, in [0, ln 2]."""
        return bernoulli_entropy(self.logits)

    uncertainty = look_up
