"""A point belief, one probability per pixel; and what all beliefs share, the float type and measures by name."""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn.functional import softplus

from trustseg.errors import BeliefError

__all__ = ["Bernoulli", "bernoulli_entropy", "look_up", "promoted"]


class _Measured(Protocol):
    @property
    def measures(self) -> tuple[str, ...]: ...


def promoted(values: Tensor) -> Tensor:
    """Return ``values`` in float32, or unchanged if float64."""
    return values if values.dtype == torch.float64 else values.float()


def look_up(belief: _Measured, measure: str) -> Tensor:
    """Return the map of ``measure``, or raise an error that lists the measures of this belief."""
    if measure not in belief.measures:
        raise BeliefError(
            f"a {type(belief).__name__} belief has no '{measure}'; it gives {', '.join(belief.measures)}; "
            "choose one of these or a model with another head"
        )
    found: Tensor = getattr(belief, measure)()
    return found


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
