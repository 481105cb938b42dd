"""Beliefs: a distribution over the foreground probability of each pixel, as a model gives it.

A classical model believes a Bernoulli, an evidential one a Beta, an ensemble or MC dropout a mixture. Losses, attacks,
uncertainty measures and metrics take beliefs and never raw network outputs, so that they work for every kind of model.

Throughout, p is the foreground probability and q = 1 - p is computed as its own number, never by subtraction. Maps have
the shape of masks, (B, 1, H, W). Half precision is promoted to float32; float64 is left alone. Every belief has the
properties ``log_odds`` = ln(p / q) and ``probability`` = p, ``measures``, the names of the uncertainty measures that it
can give, each a method, and ``uncertainty(measure)``, its map by name, higher = less sure.

Raises:
    BeliefError: from ``uncertainty`` if ``measure`` is not in ``measures``.
"""

from trustseg.beliefs.bernoulli import Bernoulli
from trustseg.beliefs.beta import Beta
from trustseg.beliefs.maps import Reference, check_belief, mapped, reference_of, require_belief
from trustseg.beliefs.mixture import Mixture

__all__ = [
    "Belief",
    "Bernoulli",
    "Beta",
    "Mixture",
    "Reference",
    "check_belief",
    "mapped",
    "reference_of",
    "require_belief",
]

Belief = Bernoulli | Beta | Mixture
