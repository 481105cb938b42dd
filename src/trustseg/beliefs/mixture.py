"""A mixture of beliefs: that of an ensemble or of MC dropout."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from trustseg.beliefs.bernoulli import Bernoulli, bernoulli_entropy, look_up
from trustseg.beliefs.beta import Beta
from trustseg.errors import BeliefError, ShapeError

__all__ = ["Mixture", "map_of"]


def _mean(maps: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(maps)).mean(dim=0)


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """An equal mixture of beliefs, from an ensemble or from MC dropout.

    Probabilities are averaged, never logits or alphas. Variances use 1/M, not 1/(M - 1).

    Attributes:
        members: M >= 1 Bernoulli or Beta beliefs about the same pixels.

    Raises:
        BeliefError: if there is no member.
        ShapeError: if the members' maps differ in shape.

    Reference:
        Depeweg et al., "Decomposition of Uncertainty in Bayesian Deep Learning", ICML 2018, arXiv:1710.07283.
    """

    members: Sequence[Bernoulli | Beta]
    measures: ClassVar[tuple[str, ...]] = (
        "entropy",
        "variance",
        "epistemic_variance",
        "aleatoric_variance",
        "expected_entropy",
        "mutual_information",
    )

    def __post_init__(self) -> None:
        if not self.members:
            raise BeliefError("a mixture needs at least one member, got none; pass the beliefs of the ensemble")
        shapes = {tuple(map_of(member).shape): None for member in self.members}
        if len(shapes) > 1:
            raise ShapeError(
                f"members of a mixture must have maps of one shape, got {' and '.join(map(str, shapes))}; pass beliefs "
                "about the same pixels"
            )

    @property
    def log_odds(self) -> Tensor:
        """Return ln(p / q) of the mean, through log-sum-exp."""
        odds = torch.stack([member.log_odds for member in self.members])
        return torch.logsumexp(-softplus(-odds), dim=0) - torch.logsumexp(-softplus(odds), dim=0)

    @property
    def probability(self) -> Tensor:
        """Return the mean foreground probability, in [0, 1]."""
        return _mean([member.probability for member in self.members])

    def variance(self) -> Tensor:
        """Return p q of the mean, in [0, 1/4]."""
        return self.probability * _mean([torch.sigmoid(-member.log_odds) for member in self.members])

    def epistemic_variance(self) -> Tensor:
        """Return the variance of theta between members plus the mean variance within them, in [0, 1/4]."""
        mean = self.probability
        nothing = torch.zeros_like(mean)
        within = [each.epistemic_variance() if isinstance(each, Beta) else nothing for each in self.members]
        return _mean([(member.probability - mean) ** 2 for member in self.members]) + _mean(within)

    def aleatoric_variance(self) -> Tensor:
        """Return variance - epistemic variance, in [0, 1/4]."""
        return (self.variance() - self.epistemic_variance()).clamp_min(0)

    def entropy(self) -> Tensor:
        """Return the entropy of the mean in nats, in [0, ln 2]."""
        return bernoulli_entropy(self.log_odds)

    def expected_entropy(self) -> Tensor:
        """Return the mean expected entropy of the members in nats, in [0, ln 2]."""
        return _mean([each.expected_entropy() if isinstance(each, Beta) else each.entropy() for each in self.members])

    def mutual_information(self) -> Tensor:
        """Return entropy - expected entropy in nats, in [0, ln 2]; clamped at 0 against rounding."""
        return (self.entropy() - self.expected_entropy()).clamp_min(0)

    uncertainty = look_up


def map_of(belief: Bernoulli | Beta | Mixture) -> Tensor:
    """Return one of the maps of a belief, for its shape and type."""
    if isinstance(belief, Mixture):
        return map_of(belief.members[0])
    return belief.logits if isinstance(belief, Bernoulli) else belief.alpha
