"""What attacks achieve: harm where only uncertain cases are reviewed, and survival under a rising budget."""

import math

from trustseg.errors import ConfigError, ShapeError
from trustseg.metrics.counts import Array, as_float64, library_of

__all__ = ["survivors", "undetected_harm"]


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
        clean_dice: Dice of the clean images (B,) in [0, 1]; not read where ``empty``, nor is the next.
        dice: Dice of the attacked images (B,) in [0, 1].
        scores: uncertainty of the attacked images (B,), higher = less sure.
        empty: (B,) bool, the reference mask has no foreground.
        false_positive_fraction: share of pixels (B,) in [0, 1] wrongly predicted as foreground; read where ``empty``.
        threshold: the largest score that is kept, fixed beforehand on clean images; minus infinity defers all.
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
        raise ShapeError("a score, a Dice or a false-positive fraction is NaN; mark images without foreground as empty")
    harmed = xp.where(empty, false_positive_fraction >= false_alarm, fall >= drop)
    undetected: Array = harmed & (as_float64(scores) <= threshold) & (threshold > -math.inf)
    return undetected


def survivors(eps_holds: Array, eps_breaks: Array, eps: Array) -> tuple[Array, Array]:
    """Return which images are known to hold at each budget, and which are not known to break, both (B, K) bool.

    Their means over the images are the two step curves between which the survival curve lies. Survivors are "not broken
    by this suite", never "robust".

    Args:
        eps_holds: (B,) largest budget at which each image held, finite, >= 0.
        eps_breaks: (B,) smallest budget known to break it, >= ``eps_holds``; infinite if it never broke, 0 if it was
            broken without an attack.
        eps: (K,) budgets >= 0.

    Example:
        >>> import numpy as np
        >>> holds, breaks, eps = np.array([0, 1, 8]), np.array([0, 4, np.inf]), np.array([1, 2, 4])
        >>> [known.mean(axis=0).round(2).tolist() for known in survivors(holds, breaks, eps)]
        [[0.67, 0.33, 0.33], [0.67, 0.67, 0.33]]

    Reference:
        Peto, "Experimental Survival Curves for Interval-censored Data", Applied Statistics 1973. Deviation: the two
        bounds that need no assumption stand for the maximum-likelihood curve between them.
    """
    if eps_holds.shape != eps_breaks.shape or eps_holds.ndim != 1:
        raise ShapeError(f"eps_holds is {tuple(eps_holds.shape)}, eps_breaks {tuple(eps_breaks.shape)}, not both (B,)")
    if not bool(((eps_holds >= 0) & (eps_holds <= eps_breaks) & (eps_holds < float("inf"))).all()):
        raise ShapeError("brackets must be 0 <= eps_holds <= eps_breaks, with a finite eps_holds")
    holds, breaks = eps_holds[:, None], eps_breaks[:, None]
    return (holds >= eps) & (breaks > 0), breaks > eps
