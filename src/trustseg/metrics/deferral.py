"""Undetected harm: what an attack achieves if only cases with high uncertainty are reviewed."""

import math

from trustseg.errors import ConfigError, ShapeError
from trustseg.metrics.counts import Array, as_float64, library_of

__all__ = ["undetected_harm"]


def undetected_harm(
    clean_dice: Array,
    dice: Array,
    scores: Array,
    empty: Array,
    false_positive_fraction: Array,
    *,
    threshold: float,
    drop: float = 0.1,
    false_alarm: float = 0.01,
) -> Array:
    """Return which attacked images are harmed and not deferred, (B,) bool: Dice falls by ``drop`` while u <= threshold.

    Where the mask is empty, Dice says nothing: harm is a false-positive area of at least ``false_alarm`` of the image.

    Args:
        clean_dice: Dice of the clean images (B,) in [0, 1]; not read where ``empty``.
        dice: Dice of the attacked images (B,) in [0, 1]; not read where ``empty``.
        scores: uncertainty of the attacked images (B,), higher = less sure.
        empty: (B,) bool, the reference mask has no foreground.
        false_positive_fraction: share of pixels (B,) in [0, 1] wrongly predicted as foreground on the attacked images;
            read only where ``empty``.
        threshold: the largest score that is kept, above it a case is deferred to a reader; minus infinity defers all.
            Fixed beforehand on clean images, as that of a ``deferral.Policy``.
        drop: smallest fall of Dice that counts as harm, > 0.
        false_alarm: smallest share of pixels that counts as harm, > 0.

    Example:
        >>> import torch
        >>> clean_dice, dice = torch.tensor([0.9, 0.9, 0.9]), torch.tensor([0.5, 0.5, 0.85])
        >>> scores, none = torch.tensor([0.1, 0.3, 0.1]), torch.zeros(3)
        >>> undetected_harm(clean_dice, dice, scores, none.bool(), none, threshold=0.2)
        tensor([ True, False, False])

    Reference:
        Our own; the counterpart of a silent failure, Jaeger et al., "A Call to Reflect on Evaluation Practices for
        Failure Detection in Image Classification", ICLR 2023, arXiv:2211.15259.
    """
    if math.isnan(threshold):
        raise ConfigError("threshold is nan, expected the largest score that is kept; take that of a fitted policy")
    shapes = [tuple(values.shape) for values in (clean_dice, dice, scores, empty, false_positive_fraction)]
    if len(set(shapes)) > 1 or scores.ndim != 1:
        raise ShapeError(f"all values must be (B,), one per image, got shapes {shapes}; take them from the same images")
    xp, fall = library_of(scores), clean_dice - dice
    if bool(xp.isnan(scores).any()) or bool(xp.isnan(xp.where(empty, false_positive_fraction, fall)).any()):
        raise ShapeError(
            "a score, a Dice or a false-positive fraction is NaN, expected numbers; "
            "mark images without foreground as empty, for their Dice is undefined"
        )
    harmed = xp.where(empty, false_positive_fraction >= false_alarm, fall >= drop)
    unnoticed: Array = harmed & (as_float64(scores) <= threshold) & (threshold > -math.inf)
    return unnoticed
