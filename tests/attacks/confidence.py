"""Attacks on confidence by name, the scores they move and a model whose every pixel stands alone."""

from collections.abc import Callable

from torch import Tensor

from trustseg.attacks.uncertainty import UNCERTAINTY_ATTACKS
from trustseg.beliefs import Belief, Bernoulli
from trustseg.uncertainty import AGGREGATIONS

EPS = 8 / 255


def mean_entropy(belief: Belief) -> Tensor:
    return AGGREGATIONS["mean"](belief.uncertainty("entropy"), belief.probability)


def mean_vacuity(belief: Belief) -> Tensor:
    return AGGREGATIONS["mean"](belief.uncertainty("vacuity"), belief.probability)


def threshold_at_half(images: Tensor) -> Belief:
    """Foreground where brighter than 0.5, surer the farther from it."""
    return Bernoulli(8 * (images - 0.5))


def attacked(name: str, model: Callable[[Tensor], Belief], images: Tensor, masks: Tensor, **options: object) -> Tensor:
    """Run an attack by name, with everything it needs."""
    needed: dict[str, object] = {"eps": EPS, "score": mean_entropy}
    if name == "deferral_aware":
        needed["threshold"] = 0.1
    return UNCERTAINTY_ATTACKS[name](model, images, masks, **(needed | options))
