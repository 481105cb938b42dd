"""An evidential belief: a Beta distribution over the foreground probability of each pixel."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from trustseg.beliefs.bernoulli import look_up, promoted
from trustseg.errors import ShapeError

__all__ = ["Beta"]


def _entropy_excess(x: Tensor) -> Tensor:
    """Return h(x) = x (psi(x + 1) - ln x), by its series for large x where the difference cancels.

    mutual_information = (h(alpha) + h(beta) - h(S)) / S keeps seven digits in float32 up to evidence 1e6, where the
    plain difference of entropies keeps none.
    """
    switch = 30.0 if x.dtype == torch.float64 else 8.0
    small = x.clamp(max=switch)  # each branch gets values that are safe for it, so that gradients stay finite
    exact = small * (torch.digamma(small + 1) - small.log())
    inverse = 1 / x.clamp(min=switch)
    square = inverse * inverse
    series = 0.5 - inverse * (1 / 12 - square * (1 / 120 - square * (1 / 252 - square / 240)))
    return torch.where(x <= switch, exact, series)


def _differential_excess(x: Tensor) -> Tensor:
    """Return g(x) = x + lnGamma(x) + (1 - x) psi(x), by its series for large x.

    differential_entropy = g(alpha) + g(beta) - g(S) - psi(S).
    """
    switch = 30.0 if x.dtype == torch.float64 else 8.0
    small = x.clamp(max=switch)
    exact = small + torch.lgamma(small) + (1 - small) * torch.digamma(small)
    large = x.clamp(min=switch)
    i = 1 / large
    tail = i * (1 / 3 + i * (1 / 12 + i * (1 / 90 - i * (1 / 120 + i * (1 / 210 - i / 252)))))
    series = 0.5 * (math.log(2 * math.pi * math.e) + large.log()) - tail
    return torch.where(x <= switch, exact, series)


@dataclass(frozen=True, slots=True, eq=False)
class Beta:
    """An evidential belief: the foreground probability theta is distributed as Beta(alpha, beta).

    Attributes:
        alpha: (B, 1, H, W) > 0, prior weight + evidence for foreground.
        beta: (B, 1, H, W) > 0, prior weight + evidence for background.
        prior: prior weight w > 0 of each class; evidence = alpha + beta - 2 w.

    Raises:
        ShapeError: if alpha and beta differ in shape, or prior is not positive.

    Reference:
        Sensoy et al., "Evidential Deep Learning to Quantify Classification Uncertainty", NeurIPS 2018,
        arXiv:1806.01768, section 3; two classes written as a Beta. Sources of the measures: ``trustseg.uncertainty``.
    """

    alpha: Tensor
    beta: Tensor
    prior: float = 1.0
    measures: ClassVar[tuple[str, ...]] = (
        "entropy",
        "variance",
        "epistemic_variance",
        "aleatoric_variance",
        "expected_entropy",
        "mutual_information",
        "differential_entropy",
        "vacuity",
        "dissonance",
    )

    def __post_init__(self) -> None:
        if self.alpha.shape != self.beta.shape:
            raise ShapeError(
                f"alpha and beta must have one shape, got {tuple(self.alpha.shape)} and {tuple(self.beta.shape)}; "
                "take both from the same head"
            )
        if not self.prior > 0:
            raise ShapeError(f"the prior weight must be above 0, got {self.prior}; the usual value is 1")
        object.__setattr__(self, "alpha", promoted(self.alpha))
        object.__setattr__(self, "beta", promoted(self.beta))

    @property
    def strength(self) -> Tensor:
        """Return S = alpha + beta > 0."""
        return self.alpha + self.beta

    @property
    def log_odds(self) -> Tensor:
        """Return ln(p / q) = ln(alpha / beta)."""
        return self.alpha.log() - self.beta.log()

    @property
    def probability(self) -> Tensor:
        """Return p = alpha / S in (0, 1), the mean of theta."""
        return self.alpha / self.strength

    def variance(self) -> Tensor:
        """Return p q in [0, 1/4], the variance of the label: epistemic + aleatoric."""
        strength = self.strength
        return (self.alpha / strength) * (self.beta / strength)

    def epistemic_variance(self) -> Tensor:
        """Return Var[theta] = p q / (S + 1), in (0, 1/12] for prior >= 1."""
        return self.variance() / (self.strength + 1)

    def aleatoric_variance(self) -> Tensor:
        """Return E[theta (1 - theta)] = p q S / (S + 1), in [0, 1/4)."""
        strength = self.strength
        return self.variance() * (strength / (strength + 1))

    def entropy(self) -> Tensor:
        """Return the entropy of the mean, p ln(1/p) + q ln(1/q), in nats, in [0, ln 2]."""
        strength = self.strength
        surprise_one = torch.log1p(self.beta / self.alpha)
        surprise_zero = torch.log1p(self.alpha / self.beta)
        return (self.alpha / strength) * surprise_one + (self.beta / strength) * surprise_zero

    def expected_entropy(self) -> Tensor:
        """Return E[H(theta)] in nats, in [0, ln 2): the aleatoric part of the entropy."""
        return (self.entropy() - self.mutual_information()).clamp_min(0)

    def mutual_information(self) -> Tensor:
        """Return entropy - expected entropy in nats, in [0, ln 2 - 1/2] for prior >= 1."""
        parts = _entropy_excess(self.alpha) + _entropy_excess(self.beta) - _entropy_excess(self.strength)
        return (parts / self.strength).clamp_min(0)

    def differential_entropy(self) -> Tensor:
        """Return the differential entropy of Beta(alpha, beta) in nats, at most 0."""
        parts = _differential_excess(self.alpha) + _differential_excess(self.beta)
        return parts - _differential_excess(self.strength) - torch.digamma(self.strength)

    def vacuity(self) -> Tensor:
        """Return 2 w / S in (0, 1], the lack of evidence."""
        return 2 * self.prior / self.strength

    def dissonance(self) -> Tensor:
        """Return 2 min(alpha - w, beta - w) / S in [0, 1), evidence on both sides at once."""
        weaker = torch.minimum(self.alpha, self.beta) - self.prior
        return 2 * weaker.clamp_min(0) / self.strength

    uncertainty = look_up
