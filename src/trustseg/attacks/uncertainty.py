"""Attacks on a model's uncertainty: lower it, raise it, corrupt its ranking, or be wrong without being deferred.

All are L-infinity, start at the clean images and draw nothing. They keep the best admissible iterate of each image by
an aim of their own, not by harm, so they have neither ``objective`` nor ``keep_best``. Only ``rank_swap`` and
``deferral_aware`` use the masks; the others check them.

Args:
    score: the deployed measure and aggregation, belief to (B,), called exactly as in deployment, for example
        ``lambda belief: AGGREGATIONS["mean"](belief.uncertainty("entropy"), belief.probability)``. It must have a
        finite gradient.
    steps: steps of eps/10, >= 1; each costs a backward pass.
    keep_mask: admit only iterates whose prediction has an IoU of at least 0.98 with the clean one.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Final

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from trustseg.attacks.contract import AttackFacts, Count, stepwise
from trustseg.attacks.guard import isolated
from trustseg.attacks.objectives import soft_dice
from trustseg.attacks.pursuit import Pursuit, Score
from trustseg.attacks.search import Model, harm
from trustseg.beliefs import Belief
from trustseg.entries import CONTRACT, Entry
from trustseg.errors import AttackError

__all__ = ["KEPT_IOU", "UNCERTAINTY_ATTACKS", "deferral_aware", "overconfidence", "rank_swap", "underconfidence"]

KEPT_IOU: Final = 0.98
"""IoU with the clean prediction from which a mask counts as kept."""

_SMALLEST_UNIT: Final = 1e-18  # of a score; by less nothing is divided, or gradients would leave float32


def overconfidence(
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    eps: float | Tensor,
    score: Score,
    steps: Count = 60,
    keep_mask: bool = True,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return images on which the model looks surer than it is, the admissible iterates of lowest score.

    Reference:
        After Ledda et al., "Adversarial Attacks Against Uncertainty Quantification", arXiv:2309.10586. Deviations: the
        score in use is attacked, not a surrogate; the constraint on the mask is ours (see ``rank_swap``); variances too
        maximise -(u - u0) / |u0|, u0 the clean score, and not -ln u, whose gradient has the same signs.
    """
    return _shift(model, images, masks, -1.0, eps=eps, score=score, steps=steps, keep_mask=keep_mask)


def underconfidence(
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    eps: float | Tensor,
    score: Score,
    steps: Count = 60,
    keep_mask: bool = True,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return images on which the model looks less sure than it is, so that good cases flood the reviewers.

    Reference:
        As ``overconfidence``, the other way.
    """
    return _shift(model, images, masks, 1.0, eps=eps, score=score, steps=steps, keep_mask=keep_mask)


def rank_swap(
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    eps: float | Tensor,
    score: Score,
    median_dice: float | None = None,
    steps: Count = 60,
    keep_mask: bool = True,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return images on which good predictions look unsure and bad ones sure, while the masks stay as they are.

    Accuracy and mean uncertainty hardly move, but uncertainty no longer finds the errors. Per image, the admissible
    iterate that moves the score furthest in its direction is kept.

    Args:
        median_dice: clean Dice from which a prediction is a good one; the median of these images if left out, so give
            that of the whole set when attacking batch by batch. For an empty mask, one minus the share of pixels
            predicted as foreground stands for the Dice.

    Reference:
        Galil and El-Yaniv, "Disrupting Deep Uncertainty Estimation Without Harming Accuracy", NeurIPS 2021,
        arXiv:2110.13741, algorithm 1. Deviations: "correct" becomes a Dice of at least the median, and the mask is kept
        by a penalty, since halving eps until nothing flips leaves nothing to move.
    """

    def side(clean: Belief, masks: Tensor) -> Tensor:
        quality = 1 - harm(clean, masks)
        middle = quality.median() if median_dice is None else median_dice
        return torch.where(quality >= middle, 1.0, -1.0)

    return _shift(model, images, masks, side, eps=eps, score=score, steps=steps, keep_mask=keep_mask)


def deferral_aware(
    model: Model,
    images: Tensor,
    masks: Tensor,
    *,
    eps: float | Tensor,
    score: Score,
    threshold: float,
    weights: Sequence[Annotated[float, Gt(0)]] = (0.03, 0.1, 0.3, 1.0),
    slack: Annotated[float, Ge(0)] = 0.02,
    steps: Count = 20,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return images on which the prediction is as bad as possible while the case is not deferred: wrong and sure.

    It maximises soft Dice loss - w relu((u - threshold) / |threshold| + slack) for each weight w in turn, with
    cross-entropy for an empty mask, and keeps the most harmful iterate with u < threshold: the clean image may be one,
    and stays where all are deferred or no other is wrong at all. A clean image that is deferred gives way to iterates
    that do less harm.

    Args:
        threshold: a case with a score above this is deferred; fixed beforehand on clean images.
        weights: cost of an excess of uncertainty, in threshold units, > 0, at least one.
        slack: how far below the threshold the search aims, >= 0, as a share of it.
        steps: steps of 2.5 eps / steps per weight, >= 1; each costs a backward pass.

    Reference:
        Our own; an adaptive attack in the sense of Tramer et al., "On Adaptive Attacks to Adversarial Example
        Defenses", NeurIPS 2020, arXiv:2002.08347.
    """
    if not weights or not all(0 < weight < math.inf for weight in weights):
        raise AttackError(f"weights must be finite and above 0, at least one, got {tuple(weights)}; use (0.1, 1)")
    if not math.isfinite(threshold) or not 0 <= slack < math.inf:
        raise AttackError(
            f"threshold must be finite and slack finite and at least 0, got {threshold} and {slack}; "
            "take the threshold from a deferral policy fitted on clean images"
        )
    unit = abs(threshold) if abs(threshold) >= _SMALLEST_UNIT else 1.0  # so that the weights fit any measure

    def aim(belief: Belief, masks: Tensor, scores: Tensor, *, weight: float) -> Tensor:
        return soft_dice(belief, masks) - weight * torch.relu((scores - threshold) / unit + slack)

    def preference(belief: Belief, masks: Tensor, scores: Tensor) -> Tensor:
        return torch.where(scores < threshold, harm(belief, masks), 0.0)

    with isolated(model):
        pursuit = Pursuit(model, images, masks, eps=eps, score=score, steps=steps)
        for weight in weights:
            pursuit.run(partial(aim, weight=weight), preference, stride=2.5 / steps)
        return pursuit.result()


def _searches(*, steps: int, weights: Sequence[float], **_: object) -> tuple[float, float]:
    return stepwise(steps=steps, restarts=len(weights))


# Evaluation fills these in from the deployed policy.
_OF_THE_POLICY: Final = CONTRACT | {"score", "median_dice", "threshold"}
_AT_THE_IMAGE: Final = AttackFacts(stepwise, starts_at_image=True)

UNCERTAINTY_ATTACKS: Final[Mapping[str, Entry[Tensor, AttackFacts]]] = {
    "overconfidence": Entry(overconfidence, "over-confidence", _AT_THE_IMAGE, _OF_THE_POLICY),
    "underconfidence": Entry(underconfidence, "under-confidence", _AT_THE_IMAGE, _OF_THE_POLICY),
    "rank_swap": Entry(rank_swap, "rank swap", _AT_THE_IMAGE, _OF_THE_POLICY),
    "deferral_aware": Entry(
        deferral_aware, "deferral-aware", AttackFacts(_searches, starts_at_image=True), _OF_THE_POLICY
    ),
}
"""Attacks (model, images, masks, *, eps, score) -> images; ``deferral_aware`` asks for a ``threshold`` besides."""


def _shift(
    model: Model,
    images: Tensor,
    masks: Tensor,
    side: float | Callable[[Belief, Tensor], Tensor],
    *,
    eps: float | Tensor,
    score: Score,
    steps: int,
    keep_mask: bool,
) -> Tensor:
    """Move each score to its ``side``, +1 or -1 (B,), relative to a clean score that is not 0, whatever its unit."""
    with isolated(model):
        pursuit = Pursuit(model, images, masks, eps=eps, score=score, steps=steps)
        clean, start = pursuit.belief.log_odds.detach(), pursuit.scores.detach()
        size = torch.where(start.abs() >= _SMALLEST_UNIT, start.abs(), 1.0)
        unit = (side(pursuit.belief, pursuit.masks) if callable(side) else side) / size
        price, decided = torch.ones_like(start), clean > 0

        def aim(belief: Belief, masks: Tensor, scores: Tensor) -> Tensor:
            nonlocal price
            gain = unit * (scores - start)
            if not keep_mask:
                return gain
            # How far decisions are from safely those of the clean image, per clean foreground pixel.
            short = torch.relu(0.2 - torch.where(decided, belief.log_odds, -belief.log_odds))
            penalty = price * (short.flatten(1).sum(dim=1) / decided.flatten(1).sum(dim=1).clamp_min(1))
            kept = _iou(belief.log_odds, clean) >= KEPT_IOU
            price = torch.where(kept, price / 1.2, price * 1.5).clamp(0.01, 1e4)
            return gain - penalty

        def preference(belief: Belief, masks: Tensor, scores: Tensor) -> Tensor:
            gain = unit * (scores - start)
            return torch.where(_iou(belief.log_odds, clean) >= KEPT_IOU, gain, -torch.inf) if keep_mask else gain

        pursuit.run(aim, preference, stride=0.1)
        return pursuit.result()


def _iou(log_odds: Tensor, clean: Tensor) -> Tensor:
    """Return the IoU (B,) of two predictions; 1 where both are empty."""
    first, second = (log_odds > 0).flatten(1), (clean > 0).flatten(1)
    union = (first | second).sum(dim=1)
    return torch.where(union > 0, (first & second).sum(dim=1) / union.clamp_min(1), 1.0)
