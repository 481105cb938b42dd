"""Reference masks: 0 is background, 1 is foreground, NaN is ignored, and nothing else is.

A pixel is *ignored* where there is no reference: void labels, padding, images without a mask. It leaves losses, attacks
and metrics, whose values are those of the same image with the pixel cut out. In tensors it is NaN, so that a function
that forgets about it gives NaN and no wrong number.
"""

import torch
from torch import Tensor

from trustseg.errors import ShapeError

__all__ = [
    "compact",
    "counted",
    "counted_mean",
    "filled",
    "ignoring",
    "is_binary",
    "require_binary",
    "require_same_shape",
    "require_tensors",
]


def counted(masks: Tensor) -> Tensor:
    """Return which pixels have a reference, bool of the shape of ``masks``.

    Example:
        >>> counted(torch.tensor([0.0, 1.0, torch.nan]))
        tensor([ True,  True, False])
    """
    return ~masks.isnan()


def filled(masks: Tensor) -> Tensor:
    """Return masks with background in the place of ignored pixels, for arithmetic whose result leaves these out.

    Example:
        >>> filled(torch.tensor([0.0, 1.0, torch.nan]))
        tensor([0., 1., 0.])
    """
    return torch.where(counted(masks), masks, 0) if masks.is_floating_point() else masks


def ignoring(masks: Tensor, value: int) -> Tensor:
    """Return masks, of any shape and type, in float32, the pixels of this value ignored (NaN).

    Example:
        >>> ignoring(torch.tensor([0, 1, 255], dtype=torch.uint8), 255)
        tensor([0., 1., nan])
    """
    return masks.float().masked_fill(masks == value, torch.nan)


def compact(masks: Tensor) -> Tensor:
    """Return masks as bool where no pixel is ignored, else as they are: checked once and for all, and quick to compare.

    A GPU would have to be waited for, so masks on one are returned as they are.

    Example:
        >>> compact(torch.tensor([0.0, 1.0])), compact(torch.tensor([0.0, torch.nan]))
        (tensor([False,  True]), tensor([0., nan]))
    """
    if masks.dtype == torch.bool or masks.device.type != "cpu" or not bool(is_binary(masks)):
        return masks
    return masks > 0.5


def counted_mean(values: Tensor, counts: Tensor, *, empty: float = torch.nan) -> Tensor:
    """Return the mean (B,) of ``values`` (B, ...) over the pixels that count; no gradient reaches the others.

    ``empty`` is what an image without such a pixel gives.

    Example:
        >>> counted_mean(torch.tensor([[1.0, 2.0, 9.0]]), torch.tensor([[True, True, False]]))
        tensor([1.5000])
    """
    total = torch.where(counts, values, 0).flatten(1).sum(dim=1)
    pixels = counts.flatten(1).sum(dim=1)
    return torch.where(pixels > 0, total / pixels.clamp_min(1), empty)


def is_binary(values: Tensor, *, ignored: bool = False) -> Tensor:
    """Return whether every value is 0 or 1 (or NaN, with ``ignored``), a bool scalar on the device of ``values``.

    Example:
        >>> is_binary(torch.tensor([0.0, 1.0, 0.7])).item()
        False
    """
    fits = (values == 0) | (values == 1)
    return (fits | ~counted(values) if ignored else fits).all()


def require_binary(
    values: Tensor, name: str = "masks", *, ignored: bool = True, remedy: str = "(masks > 0.5).float()"
) -> None:
    """Raise unless every value is 0 or 1: a silent threshold would hide a mistake.

    Args:
        values: masks of any shape, bool or numbers.
        name: what they are called in the error.
        ignored: whether NaN is allowed, too, for a pixel without reference.
        remedy: what to pass instead.

    Raises:
        ShapeError: if another value is among them.
    """
    if values.dtype == torch.bool or bool(is_binary(values, ignored=ignored)):
        return
    known = values[counted(values)]
    found = f"values from {known.min():g} to {known.max():g}" if known.numel() else "nothing but NaN"
    allowed = "0, 1 and NaN (ignored)" if ignored else "0 and 1"
    if ignored:
        remedy += f", or trustseg.masks.ignoring({name}, value) if a value marks ignored pixels"
    raise ShapeError(f"{name} hold {found}, expected only {allowed}; pass e.g. {remedy}")


def require_tensors(**given: object) -> None:
    """Raise unless everything is a tensor, naming what is not: metrics take numbers, not beliefs.

    Raises:
        ShapeError: if something is none.
    """
    for name, values in given.items():
        if not isinstance(values, Tensor):
            raise ShapeError(
                f"{name} is a {type(values).__name__}, expected a tensor; of a belief pass belief.probability, "
                "belief.log_odds > 0 or belief.uncertainty('entropy')"
            )


def require_same_shape(least: int = 0, **tensors: Tensor) -> None:
    """Raise unless two tensors, given by their names, have one shape of at ``least`` so many dimensions.

    Raises:
        ShapeError: if they have not, or one is no tensor.
    """
    require_tensors(**tensors)
    (first, one), (second, other) = tensors.items()
    if one.shape != other.shape or one.ndim < least:
        raise ShapeError(
            f"{first} is {tuple(one.shape)} and {second} {tuple(other.shape)}, expected equal shapes (B, ...); resize "
            "one to the other, or add the missing dimension"
        )
