"""The maps: a belief and a few parameters to a calibrated belief of the same kind."""

import inspect
from collections.abc import Mapping
from typing import Final, ParamSpec, Protocol

from torch import Tensor
from torch.nn.functional import softplus

from trustseg.beliefs import Belief, Bernoulli, Beta
from trustseg.errors import BeliefError

__all__ = ["MAPS", "CalibrationMap", "beta_calibration", "evidence_scaling", "parameters_of", "temperature_scaling"]


Parameters = ParamSpec("Parameters")


class CalibrationMap(Protocol[Parameters]):
    """A map; see ``trustseg.calibration``."""

    def __call__(self, belief: Belief, /, *values: Parameters.args, **named: Parameters.kwargs) -> Bernoulli | Beta:
        """Return the calibrated belief, of the same kind and shape."""


def _refusal(belief: Belief, name: str, kind: str) -> BeliefError:
    return BeliefError(
        f"{name} takes a {kind} belief, got a {type(belief).__name__}; use temperature_scaling or beta_calibration for "
        "a Bernoulli, evidence_scaling for a Beta, and calibrate the members of a mixture one by one"
    )


def temperature_scaling(belief: Belief, temperature: float | Tensor) -> Bernoulli:
    """Return a Bernoulli belief with its log-odds divided by a temperature T > 0: z' = z / T.

    It keeps every decision p > 1/2 and the order of all pixels; T above 1 makes the belief less sure.

    Example:
        >>> import torch
        >>> temperature_scaling(Bernoulli(torch.tensor([3.0])), 2.0).logits
        tensor([1.5000])

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, arXiv:1706.04599, section 4.2.
    """
    if not isinstance(belief, Bernoulli):
        raise _refusal(belief, "temperature_scaling", "Bernoulli")
    return Bernoulli(belief.logits / temperature)


def beta_calibration(
    belief: Belief, slope_low: float | Tensor, slope_high: float | Tensor, offset: float | Tensor
) -> Bernoulli:
    """Return a Bernoulli belief with log-odds z' = a ln p - b ln(1 - p) + c.

    It keeps the order of all pixels, but the decision p > 1/2 **may change** unless a = b and c = 0. With a = b = 1/T
    and c = 0 it is ``temperature_scaling``.

    Args:
        slope_low: a > 0, the slope of z' where p is near 0.
        slope_high: b > 0, the slope of z' where p is near 1.
        offset: c, in nats.

    Example:
        >>> import torch
        >>> beta_calibration(Bernoulli(torch.zeros(1)), 1.0, 1.0, 0.5).logits
        tensor([0.5000])

    Reference:
        Kull et al., "Beta calibration: a well-founded and easily implemented improvement on logistic calibration for
        binary classifiers", AISTATS 2017, section 4, the family of three parameters.
        Deviation: a and b are kept above 0 by a bound, where the paper refits with a negative one set to 0.
    """
    if not isinstance(belief, Bernoulli):
        raise _refusal(belief, "beta_calibration", "Bernoulli")
    z = belief.logits
    return Bernoulli(slope_high * softplus(z) - slope_low * softplus(-z) + offset)


def evidence_scaling(belief: Belief, scale: float | Tensor) -> Beta:
    """Return a Beta belief with the evidence for both classes multiplied by c > 0: alpha' = w + c (alpha - w).

    c below 1 makes the belief less sure. It keeps every decision p > 1/2 and the prior weight w, and with it the
    meaning of vacuity and dissonance; the order of pixels may change. One parameter, on purpose: a temperature on the
    log-odds at fixed S could ask for negative evidence, alpha < w. As c grows p tends to the share of the evidence, so
    that it sharpens only as far as the evidence agrees.

    Example:
        >>> import torch
        >>> evidence_scaling(Beta(torch.tensor([9.0]), torch.tensor([1.0])), 0.5).alpha
        tensor([5.])

    Reference:
        None of its own: ``temperature_scaling`` carried over to evidence.
    """
    if not isinstance(belief, Beta):
        raise _refusal(belief, "evidence_scaling", "Beta")
    w = belief.prior
    return Beta(w + scale * (belief.alpha - w), w + scale * (belief.beta - w), w)


MAPS: Final[Mapping[str, CalibrationMap[...]]] = {
    "temperature_scaling": temperature_scaling,
    "beta_calibration": beta_calibration,
    "evidence_scaling": evidence_scaling,
}


def parameters_of(name: str) -> tuple[str, ...]:
    """Return the names of the parameters of a map, in order: those named ``offset`` are real, all others above 0."""
    return tuple(inspect.signature(MAPS[name]).parameters)[1:]
