"""Lesion-wise detection: connected components of the reference against those of the prediction."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from trustseg.errors import ConfigError
from trustseg.metrics.overlap import planes

__all__ = ["lesion_f1"]

_EIGHT: NDArray[np.bool_] = np.ones((3, 3), dtype=bool)


def lesion_f1(prediction: Tensor, masks: Tensor, *, overlap: float = 0.1) -> Tensor:
    """Return the harmonic mean of lesion-wise sensitivity and precision of each image.

    A lesion is a set of foreground pixels that touch by an edge or a corner. A lesion of the reference is found if at
    least the share ``overlap`` of its pixels is predicted; a predicted one is right if at least that share of its own
    pixels lies in the reference. It is 0 if only one of the two masks is empty, NaN (undefined) if both are.

    Args:
        overlap: share of a lesion's pixels that makes it found, in (0, 1].

    Example:
        >>> lesion_f1(torch.tensor([[[[0, 1, 0, 1, 0, 0]]]]), torch.tensor([[[[1, 1, 0, 0, 0, 1]]]]))
        tensor([0.5000])
    """
    if not 0 < overlap <= 1:
        raise ConfigError(f"overlap is {overlap}, give a share of a lesion's pixels above 0 and up to 1")
    values = []
    for predicted, reference in zip(*planes(prediction, masks), strict=True):
        sensitivity, precision = _covered(reference, predicted, overlap), _covered(predicted, reference, overlap)
        total = sensitivity + precision
        f1 = 2 * sensitivity * precision / total if total else 0.0
        values.append(f1 if predicted.any() or reference.any() else math.nan)
    return torch.tensor(values, dtype=torch.float32, device=masks.device)


def _covered(mask: NDArray[np.bool_], other: NDArray[np.bool_], overlap: float) -> float:
    """Return the share of the components of a mask whose share ``overlap`` lies in the other; 0 without components."""
    labels, count = ndimage.label(mask, structure=_EIGHT)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    inside = np.bincount(labels[other].ravel(), minlength=count + 1)[1:]
    return float(np.count_nonzero(inside >= overlap * sizes * (1 - 1e-12)) / max(count, 1))
