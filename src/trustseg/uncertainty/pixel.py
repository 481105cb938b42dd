"""Pixel measures of uncertainty: belief to map, higher = less sure.

The closed forms are methods of the beliefs; here each has its name, meaning and source.

In the binary case entropy and variance rank pixels alike, and vacuity + dissonance = 2 min(p, q). Vacuity and mutual
information of a trained Beta restate how ambiguous a pixel is; they do not measure what the model has not seen.

Reference:
    *Prior Networks* is Malinin and Gales, "Predictive Uncertainty Estimation via Prior Networks", NeurIPS 2018,
    arXiv:1802.10501, for two classes. *Depeweg* is Depeweg et al., "Decomposition of Uncertainty in Bayesian Deep
    Learning", ICML 2018, arXiv:1710.07283.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from trustseg.beliefs import Belief, Bernoulli, Beta, Mixture, require_belief
from trustseg.entries import Entry
from trustseg.errors import BeliefError

__all__ = ["MEASURES", "MeasureFacts", "require_given"]


@dataclass(frozen=True, slots=True)
class MeasureFacts:
    """Facts about a measure.

    Attributes:
        upper_bound: its largest value for a Beta with prior weight 1, to scale displays with; of a mixture, or of a
            Beta with a smaller prior weight, mutual information and epistemic variance may reach ln 2 and 1/4.
        given_by: the kinds of beliefs that have it.
        negative: whether it can be below 0.
    """

    upper_bound: float
    given_by: tuple[type, ...]
    negative: bool = False


def _map(belief: Belief, measure: str) -> Tensor:
    """Return the map of a measure; raise if ``belief`` is not a belief."""
    require_belief(belief, measure)
    return belief.uncertainty(measure)


def entropy(belief: Belief) -> Tensor:
    """Return the entropy of the mean, H(p) = -p ln p - q ln q, in [0, ln 2]: total uncertainty. For every belief.

    Reference:
        Shannon, "A Mathematical Theory of Communication", Bell System Technical Journal, 1948, section 6.
    """
    return _map(belief, "entropy")


def variance(belief: Belief) -> Tensor:
    """Return the variance of the label, p q, in [0, 1/4]: epistemic plus aleatoric variance. For every belief.

    Reference:
        Kendall and Gal, "What Uncertainties Do We Need in Bayesian Deep Learning for Computer Vision?", NeurIPS 2017,
        arXiv:1703.04977, section 2; law of total variance of a Bernoulli label.
    """
    return _map(belief, "variance")


def epistemic_variance(belief: Belief) -> Tensor:
    """Return the variance of the foreground probability theta, in [0, 1/4]. For a Beta or a Mixture.

    For a Beta it is p q / (S + 1), at most 1/12 with prior weight 1.

    Reference:
        Depeweg, section 3.
    """
    return _map(belief, "epistemic_variance")


def aleatoric_variance(belief: Belief) -> Tensor:
    """Return the mean variance of the label given theta, E[theta (1 - theta)], in [0, 1/4]. For a Beta or a Mixture.

    For a Beta it is p q S / (S + 1).

    Reference:
        Depeweg, section 3.
    """
    return _map(belief, "aleatoric_variance")


def expected_entropy(belief: Belief) -> Tensor:
    """Return the mean entropy of the label given theta, E[H(theta)], in [0, ln 2]. For a Beta or a Mixture.

    The aleatoric part of the entropy; 1/2 at Beta(1, 1).

    Reference:
        Prior Networks, section 4.
    """
    return _map(belief, "expected_entropy")


def mutual_information(belief: Belief) -> Tensor:
    """Return entropy - expected entropy, in [0, ln 2]: what the label tells about theta. For a Beta or a Mixture.

    For a Beta with prior weight 1 it is at most ln 2 - 1/2.

    Reference:
        Prior Networks, section 4.
    """
    return _map(belief, "mutual_information")


def differential_entropy(belief: Belief) -> Tensor:
    """Return the differential entropy of Beta(alpha, beta), at most 0, unbounded below. For a Beta.

    It has no meaning where alpha or beta is below 1.

    Reference:
        Prior Networks, section 4.
    """
    return _map(belief, "differential_entropy")


def vacuity(belief: Belief) -> Tensor:
    """Return the lack of evidence, 2 w / S with prior weight w, in (0, 1]; 1 without evidence. For a Beta.

    Reference:
        Josang, "Subjective Logic", Springer 2016; uncertainty mass of a binomial opinion.
    """
    return _map(belief, "vacuity")


def dissonance(belief: Belief) -> Tensor:
    """Return the conflict of evidence, 2 min(alpha - w, beta - w) / S with prior weight w, in [0, 1). For a Beta.

    It is 0 where all evidence is on one side.

    Reference:
        Shi et al., "Multifaceted Uncertainty Estimation for Label-Efficient Deep Learning", NeurIPS 2020; two classes.
    """
    return _map(belief, "dissonance")


def _entry(
    measure: Callable[[Belief], Tensor], upper_bound: float, *, negative: bool = False
) -> Entry[Tensor, MeasureFacts]:
    name = measure.__name__
    given_by = tuple(kind for kind in (Bernoulli, Beta, Mixture) if name in kind.measures)
    return Entry(measure, name.replace("_", " "), MeasureFacts(upper_bound, given_by, negative))


MEASURES: Final[Mapping[str, Entry[Tensor, MeasureFacts]]] = {
    "entropy": _entry(entropy, math.log(2)),
    "variance": _entry(variance, 1 / 4),
    "epistemic_variance": _entry(epistemic_variance, 1 / 12),
    "aleatoric_variance": _entry(aleatoric_variance, 1 / 4),
    "expected_entropy": _entry(expected_entropy, math.log(2)),
    "mutual_information": _entry(mutual_information, math.log(2) - 1 / 2),
    "differential_entropy": _entry(differential_entropy, 0.0, negative=True),
    "vacuity": _entry(vacuity, 1.0),
    "dissonance": _entry(dissonance, 1.0),
}


def require_given(measure: str, kind: type[Belief], *, head: str) -> None:
    """Raise a BeliefError unless the beliefs of a model with this head, which are of that kind, have the measure."""
    if not issubclass(kind, MEASURES[measure].facts.given_by):
        raise BeliefError(
            f"the model's {head} head has no measure '{measure}'; it has {', '.join(kind.measures)}; set --measure"
        )
