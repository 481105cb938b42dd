"""Overlap of hard masks: Dice and IoU per image and pooled, shares found and right, the error of the area, harm."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trustseg.errors import ShapeError
from trustseg.masks import counted, require_binary, require_same_shape
from trustseg.metrics.counts import dice_from_counts, iou_terms

__all__ = [
    "OverlapCounts",
    "area_error",
    "dice",
    "hard_masks",
    "harm",
    "iou",
    "overlap_counts",
    "planes",
    "pooled_dice",
    "pooled_iou",
    "precision",
    "sensitivity",
]


@dataclass(frozen=True, slots=True)
class OverlapCounts:
    """Pixels of each image that are not ignored, all (B,) int64.

    Attributes:
        intersection: pixels in the prediction and in the reference mask.
        predicted: pixels in the prediction.
        reference: pixels in the reference mask.
        pixels: all of them.
    """

    intersection: Tensor
    predicted: Tensor
    reference: Tensor
    pixels: Tensor


def overlap_counts(prediction: Tensor, masks: Tensor) -> OverlapCounts:
    """Return the pixel counts from which Dice and IoU follow."""
    predicted, reference = hard_masks(prediction, masks)
    found = (predicted & reference, predicted, reference, counted(masks))
    return OverlapCounts(*(torch.count_nonzero(pixels.flatten(1), dim=1) for pixels in found))


def planes(prediction: Tensor, masks: Tensor) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return both as (B, H, W), for metrics of shapes; raise unless they are ``hard_masks`` (B, 1, H, W)."""
    predicted, reference = hard_masks(prediction, masks)
    if masks.ndim != 4 or masks.shape[1] != 1:
        raise ShapeError(f"masks are {tuple(masks.shape)}, expected (B, 1, H, W); add the missing dimension")
    return predicted[:, 0].cpu().numpy(), reference[:, 0].cpu().numpy()


def hard_masks(prediction: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Return both as bool, False where pixels are ignored; raise unless they fit each other and are hard masks."""
    require_same_shape(2, prediction=prediction, masks=masks)
    require_binary(prediction, "predictions", ignored=False, remedy="belief.probability > 0.5")
    require_binary(masks)
    predicted = prediction if prediction.dtype == torch.bool else prediction > 0.5
    return (predicted, masks) if masks.dtype == torch.bool else (predicted & counted(masks), masks > 0.5)


def dice(prediction: Tensor, masks: Tensor) -> Tensor:
    """Return the Dice overlap of each image, 2 |P and M| / (|P| + |M|), in [0, 1].

    It is 0 if only one of the two masks is empty, NaN (undefined) if both are.

    Example:
        >>> dice(torch.tensor([[[[1, 1, 0]]]]), torch.tensor([[[[0, 1, 1]]]]))
        tensor([0.5000])
    """
    return _dice(overlap_counts(prediction, masks))


def iou(prediction: Tensor, masks: Tensor) -> Tensor:
    """Return the intersection over union of each image, |P and M| / |P or M|; edge cases as ``dice``."""
    return _iou(overlap_counts(prediction, masks))


def pooled_dice(prediction: Tensor, masks: Tensor) -> Tensor:
    """Return the Dice overlap of all images taken as one (scalar), so that large targets weigh more.

    Example:
        >>> pooled_dice(torch.tensor([[[[1, 1, 1]]], [[[0, 0, 0]]]]), torch.tensor([[[[1, 1, 1]]], [[[0, 0, 1]]]]))
        tensor(0.8571)
    """
    return _dice(_pooled(overlap_counts(prediction, masks)))


def pooled_iou(prediction: Tensor, masks: Tensor) -> Tensor:
    """Return the intersection over union of all images taken as one (scalar)."""
    return _iou(_pooled(overlap_counts(prediction, masks)))


def sensitivity(prediction: Tensor, masks: Tensor) -> Tensor:
    """Return the share of the reference's foreground that is predicted (recall), of each image; NaN where it is empty.

    Example:
        >>> sensitivity(torch.tensor([[[[1, 1, 0, 0]]]]), torch.tensor([[[[0, 1, 1, 1]]]]))
        tensor([0.3333])
    """
    counts = overlap_counts(prediction, masks)
    return counts.intersection / counts.reference


def precision(prediction: Tensor, masks: Tensor) -> Tensor:
    """Return the share of the predicted foreground that is right, of each image; NaN where nothing is predicted."""
    counts = overlap_counts(prediction, masks)
    return counts.intersection / counts.predicted


def area_error(prediction: Tensor, masks: Tensor) -> Tensor:
    """Return the relative error of the predicted area, (predicted - reference) / reference, of each image, >= -1.

    It is negative where too little is predicted, NaN (undefined) where the reference is empty.
    """
    counts = overlap_counts(prediction, masks)
    return torch.where(counts.reference > 0, (counts.predicted - counts.reference) / counts.reference, torch.nan)


def harm(prediction: Tensor, masks: Tensor) -> Tensor:
    """Return how bad each prediction is, in [0, 1]: an ordering device, not a metric to report.

    1 - Dice, or the share of pixels predicted as foreground if the mask is empty; 0 where every pixel is ignored.

    Example:
        >>> harm(torch.tensor([[[[1, 1, 0, 0]]]]), torch.zeros(1, 1, 1, 4))
        tensor([0.5000])
    """
    counts = overlap_counts(prediction, masks)
    return torch.where(counts.reference > 0, 1 - _dice(counts), counts.predicted / counts.pixels.clamp_min(1))


def _pooled(counts: OverlapCounts) -> OverlapCounts:
    return OverlapCounts(
        *(values.sum() for values in (counts.intersection, counts.predicted, counts.reference, counts.pixels))
    )


def _dice(counts: OverlapCounts) -> Tensor:
    return dice_from_counts(counts.intersection, counts.predicted, counts.reference)


def _iou(counts: OverlapCounts) -> Tensor:
    above, below = iou_terms(counts.intersection, counts.predicted, counts.reference)
    return above / below
