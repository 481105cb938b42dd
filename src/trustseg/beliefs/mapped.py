"""Applying a function to every map of a belief."""

from collections.abc import Callable

from torch import Tensor

from trustseg.beliefs.bernoulli import Bernoulli
from trustseg.beliefs.beta import Beta
from trustseg.beliefs.mixture import Mixture
from trustseg.errors import BeliefError

__all__ = ["mapped"]


def mapped(belief: Bernoulli | Beta | Mixture, change: Callable[[Tensor], Tensor]) -> Bernoulli | Beta:
    """Return a Bernoulli or Beta with ``change`` applied to its logits, or to alpha and beta; the prior stays.

    For changes that pick or rearrange pixels.

    Raises:
        BeliefError: if ``belief`` is a mixture.

    Example:
        >>> mapped(Beta(torch.tensor([9.0, 1.0]), torch.tensor([2.0, 1.0])), lambda values: values[:1])
        Beta(alpha=tensor([9.]), beta=tensor([2.]), prior=1.0)
    """
    if isinstance(belief, Bernoulli):
        return Bernoulli(change(belief.logits))
    if isinstance(belief, Beta):
        return Beta(change(belief.alpha), change(belief.beta), belief.prior)
    raise BeliefError(
        f"got a {type(belief).__name__} to change, expected a Bernoulli or a Beta; "
        "of a mixture, change one member at a time, and make a belief of logits with Bernoulli(logits)"
    )
