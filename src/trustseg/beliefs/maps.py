"""The maps of a belief: checked, compared with masks, and changed."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from trustseg.beliefs.bernoulli import Bernoulli
from trustseg.beliefs.beta import Beta
from trustseg.beliefs.mixture import Mixture, map_of
from trustseg.errors import BeliefError, ShapeError
from trustseg.masks import counted, require_binary

__all__ = ["Reference", "check_belief", "mapped", "reference_of", "require_belief"]


class Reference(NamedTuple):
    """Masks as arithmetic needs them.

    Attributes:
        masks: (B, 1, H, W) in the type of the belief, 0 or 1; 0 where a pixel is ignored.
        counted: (B, 1, H, W) bool, which pixels are not ignored.
    """

    masks: Tensor
    counted: Tensor


def require_belief(belief: object, function: str) -> None:
    """Raise a BeliefError that names the calling ``function`` unless ``belief`` is one."""
    if not isinstance(belief, Bernoulli | Beta | Mixture):
        raise BeliefError(
            f"{function} got a {type(belief).__name__}, expected a belief; make one of the logits of a network "
            "with trustseg.beliefs.Bernoulli(logits)"
        )


def reference_of(belief: Bernoulli | Beta | Mixture, masks: Tensor, function: str) -> Reference:
    """Return masks that were checked against the belief about them.

    Values are checked on the CPU, and elsewhere only where masks are whole numbers: on a GPU the check would make every
    step wait.

    Args:
        belief: a belief of any kind, maps (B, 1, H, W).
        masks: reference masks of that shape, bool or in {0, 1}, NaN where a pixel is ignored.
        function: name of the caller, for the errors.

    Raises:
        BeliefError: if ``belief`` is none.
        ShapeError: if ``masks`` is no tensor of the shape of the belief, or holds other values.
    """
    require_belief(belief, function)
    maps = map_of(belief)
    if not isinstance(masks, Tensor):
        raise ShapeError(f"{function} got masks of type {type(masks).__name__}, expected a tensor (B, 1, H, W)")
    if masks.shape != maps.shape or masks.ndim != 4:
        raise ShapeError(
            f"masks and belief must have one shape (B, 1, H, W), got {tuple(masks.shape)} and {tuple(maps.shape)}; "
            "add the missing axes or resize one of them"
        )
    if masks.device.type == "cpu" or not (masks.is_floating_point() or masks.dtype == torch.bool):
        require_binary(masks)
    masks = masks.to(maps.dtype)
    counts = counted(masks)
    return Reference(torch.where(counts, masks, 0), counts)


def check_belief(belief: Bernoulli | Beta | Mixture) -> None:
    """Raise a BeliefError if a logit is NaN, or alpha or beta is NaN, infinite or not above 0.

    A belief is not checked when it is made, since on a GPU every check of its values waits for them. Evaluation,
    prediction and calibration check each batch.
    """
    require_belief(belief, "check_belief")
    if isinstance(belief, Mixture):
        for member in belief.members:
            check_belief(member)
        return
    maps = {"logits": belief.logits} if isinstance(belief, Bernoulli) else {"alpha": belief.alpha, "beta": belief.beta}
    for name, values in maps.items():
        fits = ~values.isnan() if name == "logits" else (values > 0) & values.isfinite()
        if not bool(fits.all()):
            wrong, expected = values[~fits], "numbers" if name == "logits" else "finite numbers above 0"
            raise BeliefError(
                f"{name} of a belief holds {float(wrong[0]):g} (and {len(wrong) - 1} more like it), expected "
                f"{expected}; find where the model breaks down, for example weights or images with NaN"
            )


def mapped(belief: Bernoulli | Beta | Mixture, change: Callable[[Tensor], Tensor]) -> Bernoulli | Beta:
    """Return a Bernoulli or Beta with ``change`` applied to its logits, or to alpha and beta; the prior stays.

    For changes that pick or rearrange pixels. A mixture raises a BeliefError.

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
