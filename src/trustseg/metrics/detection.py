"""Detection: how well a score tells positives from negatives (other populations, failed segmentations, wrong pixels).

A threshold cannot separate items with equal scores, so these form one block. ``positive`` are the items for which the
score should be high. The formulas are in ``counts``.
"""

import torch
from torch import Tensor

from trustseg.errors import ShapeError
from trustseg.masks import counted, is_binary, require_same_shape
from trustseg.metrics.counts import auroc_from_counts, average_precision_from_counts, fpr_at_tpr_from_counts
from trustseg.metrics.tie_blocks import Blocks, checked_ranking, tie_blocks

__all__ = [
    "auroc",
    "average_precision",
    "fpr_at_tpr",
    "labelled",
]


def auroc(scores: Tensor, positive: Tensor) -> Tensor:
    """Return the area under the ROC curve: the chance that a positive scores above a negative, ties counting half.

    It is NaN unless there is a positive and a negative.

    Example:
        >>> auroc(torch.tensor([0.1, 0.2, 0.2, 0.3]), torch.tensor([False, False, True, True]))
        tensor(0.8750, dtype=torch.float64)

    Reference:
        Hanley and McNeil, "The Meaning and Use of the Area under a ROC Curve", Radiology 1982, section II.
    """
    return auroc_from_counts(*_counts(scores, positive))


def average_precision(scores: Tensor, positive: Tensor) -> Tensor:
    """Return the area under the precision-recall curve (AUPR), in (0, 1]; NaN without a positive.

    AP = sum over thresholds t, falling, of (recall(t) - recall(before)) precision(t). A useless score gives the share
    of positives, so report that share too.

    Example:
        >>> average_precision(torch.tensor([0.1, 0.2, 0.3]), torch.tensor([True, False, True]))
        tensor(0.8333, dtype=torch.float64)

    Reference:
        Davis and Goadrich, "The Relationship Between Precision-Recall and ROC Curves", ICML 2006, section 4: the curve
        must not be interpolated linearly.
    """
    return average_precision_from_counts(*_counts(scores, positive))


def fpr_at_tpr(scores: Tensor, positive: Tensor, *, tpr: float = 0.95) -> Tensor:
    """Return the share of negatives above the highest threshold that finds at least the share ``tpr`` of the positives.

    ``tpr`` is in (0, 1]; NaN unless there is a positive and a negative.

    Reference:
        Hendrycks and Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples", ICLR 2017,
        arXiv:1610.02136; the rate at 95 % as in Liang et al., ICLR 2018, arXiv:1706.02690, section 4.3.
    """
    return fpr_at_tpr_from_counts(*_counts(scores, positive), tpr=tpr)


def _counts(scores: Tensor, positive: Tensor) -> Blocks:
    """Return items and positives of each distinct score, rising."""
    return tie_blocks(*checked_ranking(*labelled(scores, positive)))


def labelled(scores: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scores that have a label, and these labels as bool; raise if one is neither 0 nor 1."""
    require_same_shape(scores=scores, positive=positive)
    if positive.dtype == torch.bool:
        return scores, positive
    if not bool(is_binary(positive, ignored=True)):
        raise ShapeError("labels hold other values than 0 and 1, expected 1 for a positive; compare them first")
    known = counted(positive)
    return scores[known], positive[known] == 1
