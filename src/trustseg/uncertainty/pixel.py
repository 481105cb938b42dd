"""Pixel measures of uncertainty: belief to map, higher = less sure.

The closed forms are methods of the beliefs; here each has its name, meaning and source. A measure that a kind of belief
cannot give raises an error that lists those it can, and so does what is no belief: a BeliefError says how to make one.

In the binary case entropy and variance rank pixels alike, and vacuity + dissonance = 2 min(p, q). Vacuity and mutual
information of a trained Beta restate how ambiguous a pixel is; they are no measure of what the model has not seen.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from torch import Tensor

from trustseg.beliefs import Belief, Bernoulli, Beta, Mixture, require_belief
from trustseg.entries import Entry

__all__ = ["MEASURES", "Measure", "MeasureFacts"]


class Measure(Protocol):
    """What selection, evaluation and attacks call: a belief to its map of uncertainty."""

    def __call__(self, belief: Belief, /) -> Tensor:
        """Return the map (B, 1, H, W), higher = less sure."""


@dataclass(frozen=True, slots=True)
class MeasureFacts:
    """What configurations, displays and evaluation need to know of a measure.

    Attributes:
        upper_bound: its largest value for a Beta with prior weight 1, to scale displays with; of a mixture, or of a
            Beta with a smaller prior weight, mutual information and epistemic variance may reach ln 2 and 1/4.
        given_by: the kinds of beliefs that have it.
    """

    upper_bound: float
    given_by: tuple[type, ...]


def _map(belief: Belief, measure: str) -> Tensor:
    """Return the map of a measure, of what is a belief."""
    require_belief(belief, measure)
    return belief.uncertainty(measure)


def entropy(belief: Belief) -> Tensor:
    """Return the entropy of the mean, H(p) = -p ln p - q ln q: total uncertainty.

    Args:
        belief: belief of any kind.

    Returns:
        (B, 1, H, W) in nats, in [0, ln 2].

    Reference:
        Shannon, "A Mathematical Theory of Communication", Bell System Technical Journal, 1948, section 6.
    """
    return _map(belief, "entropy")


def variance(belief: Belief) -> Tensor:
    """Return the variance of the label, p q: total uncertainty, the sum of its epistemic and aleatoric parts.

    Args:
        belief: belief of any kind.

    Returns:
        (B, 1, H, W) in [0, 1/4].

    Reference:
        Kendall and Gal, "What Uncertainties Do We Need in Bayesian Deep Learning for Computer Vision?", NeurIPS 2017,
        arXiv:1703.04977, section 2; law of total variance of a Bernoulli label.
    """
    return _map(belief, "variance")


def epistemic_variance(belief: Belief) -> Tensor:
    """Return the variance of the foreground probability theta; p q / (S + 1) for a Beta.

    Args:
        belief: Beta or Mixture.

    Returns:
        (B, 1, H, W) in [0, 1/4]; at most 1/12 for a Beta with prior weight 1.

    Raises:
        BeliefError: for a Bernoulli.

    Reference:
        Depeweg et al., "Decomposition of Uncertainty in Bayesian Deep Learning", ICML 2018, arXiv:1710.07283,
        section 3, variance decomposition.
    """
    return _map(belief, "epistemic_variance")


def aleatoric_variance(belief: Belief) -> Tensor:
    """Return the mean variance of the label given theta, E[theta (1 - theta)]; p q S / (S + 1) for a Beta.

    Args:
        belief: Beta or Mixture.

    Returns:
        (B, 1, H, W) in [0, 1/4].

    Raises:
        BeliefError: for a Bernoulli.

    Reference:
        Depeweg et al., "Decomposition of Uncertainty in Bayesian Deep Learning", ICML 2018, arXiv:1710.07283,
        section 3, variance decomposition.
    """
    return _map(belief, "aleatoric_variance")


def expected_entropy(belief: Belief) -> Tensor:
    """Return the mean entropy of the label given theta, E[H(theta)]: the aleatoric part of the entropy.

    Args:
        belief: Beta or Mixture.

    Returns:
        (B, 1, H, W) in nats, in [0, ln 2]; 1/2 at Beta(1, 1).

    Raises:
        BeliefError: for a Bernoulli.

    Reference:
        Malinin and Gales, "Predictive Uncertainty Estimation via Prior Networks", NeurIPS 2018, arXiv:1802.10501,
        section 4; two classes.
    """
    return _map(belief, "expected_entropy")


def mutual_information(belief: Belief) -> Tensor:
    """Return entropy - expected entropy, what the label would tell about theta.

    Args:
        belief: Beta or Mixture.

    Returns:
        (B, 1, H, W) in nats, in [0, ln 2]; at most ln 2 - 1/2 for a Beta with prior weight 1.

    Raises:
        BeliefError: for a Bernoulli.

    Reference:
        Malinin and Gales, "Predictive Uncertainty Estimation via Prior Networks", NeurIPS 2018, arXiv:1802.10501,
        section 4; two classes.
    """
    return _map(belief, "mutual_information")


def differential_entropy(belief: Belief) -> Tensor:
    """Return the differential entropy of Beta(alpha, beta); without meaning where alpha or beta is below 1.

    Args:
        belief: Beta.

    Returns:
        (B, 1, H, W) in nats, at most 0, unbounded below.

    Raises:
        BeliefError: for a Bernoulli or a Mixture.

    Reference:
        Malinin and Gales, "Predictive Uncertainty Estimation via Prior Networks", NeurIPS 2018, arXiv:1802.10501,
        section 4; two classes.
    """
    return _map(belief, "differential_entropy")


def vacuity(belief: Belief) -> Tensor:
    """Return the lack of evidence, 2 w / S with prior weight w.

    Args:
        belief: Beta.

    Returns:
        (B, 1, H, W) in (0, 1]; 1 without evidence.

    Raises:
        BeliefError: for a Bernoulli or a Mixture.

    Reference:
        Josang, "Subjective Logic", Springer 2016; uncertainty mass of a binomial opinion.
    """
    return _map(belief, "vacuity")


def dissonance(belief: Belief) -> Tensor:
    """Return the conflict of evidence, 2 min(alpha - w, beta - w) / S with prior weight w.

    Args:
        belief: Beta.

    Returns:
        (B, 1, H, W) in [0, 1); 0 where all evidence is on one side.

    Raises:
        BeliefError: for a Bernoulli or a Mixture.

    Reference:
        Shi et al., "Multifaceted Uncertainty Estimation for Label-Efficient Deep Learning", NeurIPS 2020; two classes.
    """
    return _map(belief, "dissonance")


_OF_ALL: Final = (Bernoulli, Beta, Mixture)
_OF_SPREAD: Final = (Beta, Mixture)
_LN2: Final = math.log(2)

MEASURES: Final[Mapping[str, Entry[Tensor, MeasureFacts]]] = {
    "entropy": Entry(entropy, "entropy", MeasureFacts(_LN2, _OF_ALL)),
    "variance": Entry(variance, "variance", MeasureFacts(1 / 4, _OF_ALL)),
    "epistemic_variance": Entry(epistemic_variance, "epistemic variance", MeasureFacts(1 / 12, _OF_SPREAD)),
    "aleatoric_variance": Entry(aleatoric_variance, "aleatoric variance", MeasureFacts(1 / 4, _OF_SPREAD)),
    "expected_entropy": Entry(expected_entropy, "expected entropy", MeasureFacts(_LN2, _OF_SPREAD)),
    "mutual_information": Entry(mutual_information, "mutual information", MeasureFacts(_LN2 - 1 / 2, _OF_SPREAD)),
    "differential_entropy": Entry(differential_entropy, "differential entropy", MeasureFacts(0.0, (Beta,))),
    "vacuity": Entry(vacuity, "vacuity", MeasureFacts(1.0, (Beta,))),
    "dissonance": Entry(dissonance, "dissonance", MeasureFacts(1.0, (Beta,))),
}
