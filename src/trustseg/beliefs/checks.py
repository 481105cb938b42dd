"""Checks of beliefs: type, shape and range."""

from typing import NamedTuple

import torch
from torch import Tensor

from trustseg.beliefs.bernoulli import Bernoulli
from trustseg.beliefs.beta import Beta
from trustseg.beliefs.mixture import Mixture
from trustseg.errors import BeliefError, ShapeError
from trustseg.masks import counted, require_binary

__all__ = ["Reference", "check_belief", "reference_of", "require_belief"]


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
        ShapeError: if ``masks`` is no tensor (B, 1, H, W) of the shape of the belief, or holds other values.
    """
    require_belief(belief, function)
    maps = _map_of(belief)
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


def _map_of(belief: Bernoulli | Beta | Mixture) -> Tensor:
    """Return one of the maps of a belief, for its shape and type."""
    if isinstance(belief, Mixture):
        return _map_of(belief.members[0])
    return belief.logits if isinstance(belief, Bernoulli) else belief.alpha


def check_belief(belief: Bernoulli | Beta | Mixture) -> None:
    """Raise a BeliefError if a logit is NaN, or alpha or beta is NaN, infinite or not above 0.

    A belief is not checked when it is made, since on a GPU every check of its values waits for them. Evaluation,
    prediction and calibration check each batch.

    Example:
        >>> check_belief(Beta(torch.tensor([2.0]), torch.tensor([1.0])))
    """
    require_belief(belief, "check_belief")
    if isinstance(belief, Mixture):
        for member in belief.members:
            check_belief(member)
    elif isinstance(belief, Bernoulli):
        _require("logits", belief.logits, ~belief.logits.isnan(), "numbers")
    else:
        for name in ("alpha", "beta"):
            values: Tensor = getattr(belief, name)
            _require(name, values, (values > 0) & values.isfinite(), "finite numbers above 0")


def _require(name: str, values: Tensor, fits: Tensor, expected: str) -> None:
    if bool(fits.all()):
        return
    wrong = values[~fits]
    raise BeliefError(
        f"{name} of a belief holds {float(wrong[0]):g} (and {len(wrong) - 1} more like it), expected {expected}; "
        "find where the model breaks down, for example weights or images with NaN"
    )
