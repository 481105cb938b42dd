"""Selection of the images of a batch to attack, given one score per image.

A rule of ``SELECTIONS`` is called as ``rule(scores, k, generator)``.

Args:
    scores: (B,) uncertainty of each image, higher = less sure; infinities allowed, NaN not. NaN and negative numbers
        are detected on a CPU only: on a GPU the check would make every step wait.
    k: number of images to choose, 0 <= k <= B.
    generator: source of the draw, or of the order among equal scores.

Returns:
    (k,) distinct indices, int64, ascending, on the device of ``scores``.

Raises:
    ShapeError: if ``scores`` is not (B,) or holds NaN, or k is not in [0, B].
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import torch
from torch import Tensor

from trustseg.entries import Entry
from trustseg.errors import ConfigError, ShapeError

__all__ = [
    "SELECTIONS",
    "Selection",
    "SelectionFacts",
    "above",
    "attacked_count",
    "certain",
    "hard",
    "proportional",
    "random",
    "uncertain",
]


class Selection(Protocol):
    """The protocol of a selection rule; the contract is written in the module."""

    def __call__(self, scores: Tensor, k: int, generator: torch.Generator) -> Tensor:
        """Return the indices (k,) of the images to attack, int64, ascending, on the device of ``scores`` (B,)."""


@dataclass(frozen=True, slots=True)
class SelectionFacts:
    """Facts about a rule for training.

    Attributes:
        scores: whether it chooses by the uncertainty, by the loss, or without scores.
        ends: the scores that rank first and last.
        negative: whether it takes negative scores.
    """

    scores: Literal["uncertainty", "loss", "none"] = "uncertainty"
    ends: tuple[float, float] = (math.inf, -math.inf)
    negative: bool = True


def attacked_count(batch_size: int, fraction: float) -> int:
    """Return how many images of a batch are attacked: fraction * batch_size, rounded up; at least 1 if neither is 0.

    A product less than 1e-9 above a whole number is that number: 0.07 of 100 images is 7, though the float exceeds it.

    Raises:
        ConfigError: if ``fraction`` is not in [0, 1] or ``batch_size`` is negative.

    Example:
        >>> attacked_count(10, 0.3), attacked_count(5, 0.5)
        (3, 3)
    """
    if not (0 <= fraction <= 1 and batch_size >= 0):
        raise ConfigError(
            f"the attacked fraction must be in [0, 1] of a batch of at least 0 images, got {fraction} of {batch_size}; "
            "0.5 attacks every second image"
        )
    product = fraction * batch_size
    return max(math.ceil(product - 1e-9), int(product > 0))


def random(scores: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """Return k images drawn without regard to their scores, each set equally likely: the control.

    Reference:
        Kurakin et al., "Adversarial Machine Learning at Scale", ICLR 2017, arXiv:1611.01236: adversarial examples for
        a part of every batch.
    """
    _check(scores, k)
    return _shuffled(scores, generator)[:k].sort().values


def uncertain(scores: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """Return the k images of highest score.

    Example:
        >>> uncertain(torch.tensor([0.1, 0.9, 0.5]), 2, torch.Generator())
        tensor([1, 2])

    Reference:
        Our own, after the entropy-weighted adversarial training of Kim et al., SaTML 2023.
    """
    return _first(scores, k, generator, descending=True)


def certain(scores: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """Return the k images of lowest score, the opposite of ``uncertain``.

    Reference:
        Our own, as a control.
    """
    return _first(scores, k, generator, descending=False)


def hard(scores: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """Return the k images of highest loss: the rule of ``uncertain``, on the clean loss under the current weights.

    Reference:
        Shrivastava et al., "Training Region-based Object Detectors with Online Hard Example Mining", CVPR 2016,
        arXiv:1604.03540, section 4: examples ranked by their current loss.
    """
    return _first(scores, k, generator, descending=True)


def proportional(scores: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """Return k images drawn one after the other, each time in proportion to the scores of those that are left.

    Images of infinite score come first and those of score 0 last, in random order. A negative score is a ShapeError.

    Reference:
        Efraimidis and Spirakis, "Weighted Random Sampling with a Reservoir", Information Processing Letters 97, 2006:
        the k largest of ln(score) - ln(E) with E exponentially distributed.
    """
    _check(scores, k)
    if scores.device.type == "cpu" and bool((scores < 0).any()):
        raise ShapeError(
            f"scores must be at least 0 to draw in proportion to them, got {float(scores.min()):g}; "
            "choose a measure that is not negative, or the rule uncertain"
        )
    shape, device = scores.shape, generator.device
    waiting = torch.empty(shape, dtype=torch.float64, device=device).exponential_(generator=generator)
    waiting = waiting.clamp_min(torch.finfo(torch.float64).tiny).to(scores.device, non_blocking=True)
    return _first(scores.double().log() - waiting.log(), k, generator, descending=True)


def above(scores: Tensor, threshold: float) -> Tensor:
    """Return all images whose score exceeds ``threshold``, (n,); it takes no k, so it is none of ``SELECTIONS``.

    Example:
        >>> above(torch.tensor([0.1, 0.9, 0.5]), 0.4)
        tensor([1, 2])
    """
    _check(scores, 0)
    _check_numbers(scores)
    return (scores > threshold).nonzero().flatten()


SELECTIONS: Final[Mapping[str, Entry[Tensor, SelectionFacts]]] = {
    "random": Entry(random, "random", SelectionFacts(scores="none")),
    "uncertain": Entry(uncertain, "uncertain", SelectionFacts()),
    "certain": Entry(certain, "certain", SelectionFacts(ends=(-math.inf, math.inf))),
    "hard": Entry(hard, "hard", SelectionFacts(scores="loss")),
    "proportional": Entry(proportional, "proportional", SelectionFacts(ends=(math.inf, 0.0), negative=False)),
}


def _check(scores: Tensor, k: int) -> None:
    """Raise unless k of these scores can be chosen."""
    if scores.ndim != 1 or not 0 <= k <= len(scores):
        raise ShapeError(
            f"scores must be (B,) and k in [0, B], got {tuple(scores.shape)} and {k}; "
            "give one score per image and take k from attacked_count"
        )


def _check_numbers(scores: Tensor) -> None:
    """Raise if a score is NaN."""
    if scores.device.type == "cpu" and (unknown := int(scores.isnan().sum())):
        raise ShapeError(
            f"{unknown} of {len(scores)} scores are NaN, expected numbers; "
            "choose a measure and an aggregation that are defined on every image"
        )


def _shuffled(scores: Tensor, generator: torch.Generator) -> Tensor:
    """Return 0..B-1 in random order, drawn where the generator lives, on the device of ``scores``."""
    order = torch.randperm(len(scores), generator=generator, device=generator.device)
    return order.to(scores.device, non_blocking=True)


def _first(scores: Tensor, k: int, generator: torch.Generator, *, descending: bool) -> Tensor:
    """Return the first k indices by score, ascending: shuffle, then sort stably, so that ties stay shuffled."""
    _check(scores, k)
    _check_numbers(scores)
    order = _shuffled(scores, generator)
    ranked = scores[order].argsort(descending=descending, stable=True)
    return order[ranked[:k]].sort().values
