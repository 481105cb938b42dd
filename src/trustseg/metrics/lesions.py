"""Lesion-wise detection: connected components of the reference against those of the prediction."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from trustseg.errors import ConfigError
from trustseg.metrics.overlap import hard_masks

__all__ = ["LesionCounts", "lesion_counts", "lesion_f1"]

_EIGHT: NDArray[np.bool_] = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True, slots=True)
class LesionCounts:
    """Lesions of each image, all (B,) int64.

    Attributes:
        reference: lesions of the reference mask.
        found: those of them that the prediction covers enough of.
        predicted: connected components of the prediction.
        false: those of them that cover too little of any lesion, measured by their own size.
    """

    reference: Tensor
    found: Tensor
    predicted: Tensor
    false: Tensor

    @property
    def sensitivity(self) -> Tensor:
        """(B,) share of the lesions that are found; NaN without lesions."""
        return self.found / self.reference

    @property
    def precision(self) -> Tensor:
        """(B,) share of the predicted components that lie on a lesion; NaN without a prediction."""
        return (self.predicted - self.false) / self.predicted


def lesion_counts(prediction: Tensor, masks: Tensor, *, overlap: float = 0.1) -> LesionCounts:
    """Return how many lesions of each image are found, and how many predicted ones are false.

    A lesion is a set of foreground pixels that touch by an edge or a corner. A lesion of the reference is found if at
    least the share ``overlap`` of its pixels, in (0, 1], is predicted; a predicted one is false if less than that share
    of its own pixels lies in the reference.

    Example:
        >>> masks = torch.tensor([[[[1, 1, 0, 0, 0, 1]]]])
        >>> counts = lesion_counts(torch.tensor([[[[0, 1, 0, 1, 0, 0]]]]), masks)
        >>> counts.reference, counts.found, counts.predicted, counts.false
        (tensor([2]), tensor([1]), tensor([2]), tensor([1]))
    """
    if not 0 < overlap <= 1:
        raise ConfigError(f"overlap is {overlap}, give a share of a lesion's pixels above 0 and up to 1")
    predictions, references = hard_masks(prediction, masks)
    rows = []
    for pair in zip(predictions[:, 0], references[:, 0], strict=True):
        predicted, reference = (mask.cpu().numpy() for mask in pair)
        lesions, found = _covered(reference, predicted, overlap)
        components, right = _covered(predicted, reference, overlap)
        rows.append((lesions, found, components, components - right))
    columns = torch.tensor(rows, dtype=torch.int64, device=masks.device).reshape(-1, 4)
    return LesionCounts(*columns.unbind(1))


def lesion_f1(prediction: Tensor, masks: Tensor, *, overlap: float = 0.1) -> Tensor:
    """Return the harmonic mean of lesion-wise sensitivity and precision of each image; see ``lesion_counts``.

    It is 0 if only one of the two masks is empty, NaN (undefined) if both are.

    Args:
        overlap: share of a lesion's pixels that makes it found, in (0, 1].

    Example:
        >>> lesion_f1(torch.tensor([[[[0, 1, 0, 1, 0, 0]]]]), torch.tensor([[[[1, 1, 0, 0, 0, 1]]]]))
        tensor([0.5000])
    """
    counts = lesion_counts(prediction, masks, overlap=overlap)
    either = (counts.reference + counts.predicted) > 0
    both = counts.sensitivity.nan_to_num(0.0) + counts.precision.nan_to_num(0.0)
    product = counts.sensitivity.nan_to_num(0.0) * counts.precision.nan_to_num(0.0)
    f1 = torch.where(both > 0, 2 * product / both, torch.zeros_like(both))
    return torch.where(either, f1, torch.full_like(f1, torch.nan))


def _covered(mask: NDArray[np.bool_], other: NDArray[np.bool_], overlap: float) -> tuple[int, int]:
    """Return the number of components of ``mask``, and of those whose share ``overlap`` lies in ``other``."""
    labels, count = ndimage.label(mask, structure=_EIGHT)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    inside = np.bincount(labels[other].ravel(), minlength=count + 1)[1:]
    return int(count), int(np.count_nonzero(inside >= overlap * sizes * (1 - 1e-12)))
