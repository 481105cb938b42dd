"""Detection and calibration, each formula written once: on counts, as NumPy arrays or tensors.

Items come as blocks along the last axis, in rising order of their score: ``counts`` items in a block share one score,
and ``positives`` (or, in ``ranking``, ``errors``) is the sum over them. A block is a distinct score, a bin of a
histogram, or a bootstrap draw of either. Inside a block every order is equally likely, so ties are averaged.

Args:
    counts: items in each block (..., K), >= 0. Leading axes are independent problems, such as the draws of a bootstrap.
        Of calibration errors: pixels, sum of p and sum of y in each bin (..., bins, 3), as ``calibration_counts``.
    positives: how many of the items are positive (..., K).

Returns:
    (...) float64, of the kind that was given, on its device; undefined is NaN.

Raises:
    ShapeError: if arrays do not fit each other.
"""

import sys
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from trustseg.errors import ConfigError, ShapeError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Array",
    "as_float64",
    "auroc_from_counts",
    "average_precision_from_counts",
    "calibration_error_from_counts",
    "dice_from_counts",
    "dice_terms",
    "fpr_at_tpr_from_counts",
    "in_float64",
    "iou_terms",
    "library_of",
    "ratio",
]

Array = TypeVar("Array", "NDArray[Any]", "Tensor")


def auroc_from_counts(counts: Array, positives: Array) -> Array:
    """Return the area under the ROC curve, as ``auroc``, from counts."""
    xp, items, hits = in_float64(counts, positives)
    misses = items - hits
    area: Array = ratio(xp, (hits * (misses.cumsum(-1) - misses / 2)).sum(-1), hits.sum(-1) * misses.sum(-1))
    return area


def average_precision_from_counts(counts: Array, positives: Array) -> Array:
    """Return the area under the precision-recall curve, as ``average_precision``, from counts."""
    xp, items, hits = in_float64(counts, positives)
    precision = ratio(xp, _from_above(hits), _from_above(items), empty=0.0)
    area: Array = ratio(xp, (hits * precision).sum(-1), hits.sum(-1))
    return area


def dice_from_counts(intersection: Array, predicted: Array, reference: Array) -> Array:
    """Return the Dice overlap of masks from their pixel counts (...), 2 |P and M| / (|P| + |M|); NaN for 0 / 0.

    Example:
        >>> dice_from_counts(np.array([1]), np.array([2]), np.array([2])).item()
        0.5
    """
    overlap: Array = ratio(library_of(predicted), *dice_terms(intersection, predicted, reference))
    return overlap


def dice_terms(intersection: Array, predicted: Array, reference: Array) -> tuple[Array, Array]:
    """Return numerator and denominator of Dice from pixel counts (...); their sums over images are those pooled."""
    return 2 * intersection, predicted + reference


def iou_terms(intersection: Array, predicted: Array, reference: Array) -> tuple[Array, Array]:
    """Return numerator and denominator of the intersection over union, as ``dice_terms``."""
    return intersection, predicted + reference - intersection


def fpr_at_tpr_from_counts(counts: Array, positives: Array, *, tpr: float = 0.95) -> Array:
    """Return the share of negatives above a threshold that finds 95 % of the positives, from counts.

    A ``tpr`` outside (0, 1] is a ConfigError.
    """
    if not 0.0 < tpr <= 1.0:
        raise ConfigError(f"tpr is {tpr}, expected a share above 0 and up to 1; pass e.g. 0.95 for 95 %")
    xp, items, hits = in_float64(counts, positives)
    misses = items - hits
    total = hits.sum(-1)[..., None]
    # Reached when the count of positives is at least tpr of them, up to the rounding of this product.
    enough = (_from_above(hits) >= tpr * total * (1 - 1e-12)) & (total > 0)
    wrong = xp.concatenate((xp.where(enough, _from_above(misses), xp.inf), total + xp.inf), -1)
    least = xp.amin(wrong, -1)
    rate: Array = ratio(xp, xp.where(least < xp.inf, least, xp.nan), misses.sum(-1))
    return rate


def calibration_error_from_counts(counts: Array) -> Array:
    """Return the expected calibration error of the foreground probability, from counts (..., bins, 3)."""
    xp, sums = in_float64(counts)
    error: Array = ratio(xp, abs(sums[..., 1] - sums[..., 2]).sum(-1), sums[..., 0].sum(-1))
    return error


def library_of(array: object) -> Any:  # noqa: ANN401 - a module
    """Return torch for a tensor, else NumPy; what this file calls in them has the same name and meaning in both."""
    torch = sys.modules.get("torch")  # a tensor exists only if torch is loaded
    return torch if torch is not None and isinstance(array, torch.Tensor) else np


def in_float64(*arrays: Any) -> tuple[Any, ...]:  # noqa: ANN401 - arrays or tensors
    """Return the library of some arrays of equal shape, and them in float64."""
    shapes = [tuple(array.shape) for array in arrays]
    if len(set(shapes)) > 1 or shapes[0] == ():
        raise ShapeError(f"counts and sums are {' and '.join(map(str, shapes))}, expected the same (..., K)")
    return library_of(arrays[0]), *map(as_float64, arrays)


def as_float64(array: Any) -> Any:  # noqa: ANN401 - array or tensor
    """Return an array, or a tensor without its gradient, in float64."""
    return np.asarray(array, np.float64) if library_of(array) is np else array.detach().double()


def _from_above(values: Any) -> Any:  # noqa: ANN401 - arrays or tensors
    """Return the sums over each block and all above it."""
    return values.sum(-1)[..., None] - values.cumsum(-1) + values


def ratio(xp: Any, above: Any, below: Any, *, empty: float = np.nan) -> Any:  # noqa: ANN401 - arrays or tensors
    """Return the quotient, ``empty`` where the denominator is 0."""
    return xp.where(below != 0, above / xp.where(below != 0, below, 1.0), empty)
