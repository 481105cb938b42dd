"""Sensitivity, precision and the error of the predicted area."""

import torch
from torch import Tensor

from trustseg.metrics.overlap import overlap_counts

__all__ = ["area_error", "precision", "sensitivity"]


def sensitivity(prediction: Tensor, masks: Tensor) -> Tensor:
    """Return the share of the reference's foreground that is predicted (recall), of each image; NaN where it is empty.

    Example:
        >>> sensitivity(torch.tensor([[[[1, 1, 0, 0]]]]), torch.tensor([[[[0, 1, 1, 1]]]]))
        tensor([0.3333])
    """
    counts = overlap_counts(prediction, masks)
    return counts.intersection / counts.reference


def precision(prediction: Tensor, masks: Tensor) -> Tensor:
    """Return the share of the predicted foreground that is right, of each image; NaN where nothing is predicted.

    Example:
        >>> precision(torch.tensor([[[[1, 1, 0, 0]]]]), torch.tensor([[[[0, 1, 1, 1]]]]))
        tensor([0.5000])
    """
    counts = overlap_counts(prediction, masks)
    return counts.intersection / counts.predicted


def area_error(prediction: Tensor, masks: Tensor) -> Tensor:
    """Return the relative error of the predicted area, (predicted - reference) / reference, of each image, >= -1.

    It is negative where too little is predicted, NaN (undefined) where the reference is empty.

    Example:
        >>> area_error(torch.tensor([[[[1, 1, 0, 0]]]]), torch.tensor([[[[0, 1, 1, 1]]]]))
        tensor([-0.3333])
    """
    counts = overlap_counts(prediction, masks)
    error = (counts.predicted - counts.reference) / counts.reference
    return error.masked_fill(counts.reference == 0, torch.nan)
