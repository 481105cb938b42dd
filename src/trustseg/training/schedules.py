"""Schedules over epochs: learning rate, strength and number of attacks."""

import math

__all__ = ["fraction_at", "learning_rate_factor", "ramp_at"]


def learning_rate_factor(epoch: int, *, epochs: int, warmup: int = 2) -> float:
    """Return the share of the peak learning rate in an epoch: a short linear rise, then half a cosine down to 1 %.

    Args:
        epoch: counted from 0.
        epochs: epochs in all.
        warmup: epochs of the rise.
    """
    if epoch < warmup:
        return (epoch + 1) / (warmup + 1)
    progress = (epoch - warmup) / max(1, epochs - warmup)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def ramp_at(epoch: int, *, warmup_epochs: int, ramp_epochs: int) -> float:
    """Return how far attacks have grown in an epoch, in [0, 1]: 0 during the warm-up, then a linear ramp, then 1.

    Args:
        epoch: counted from 0.
        warmup_epochs: epochs without attacks.
        ramp_epochs: epochs of the ramp; its first one has 1 / (ramp_epochs + 1).

    Example:
        >>> [ramp_at(epoch, warmup_epochs=1, ramp_epochs=3) for epoch in range(6)]
        [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """
    if epoch < warmup_epochs:
        return 0.0
    return min(1.0, (epoch - warmup_epochs + 1) / (ramp_epochs + 1))


def fraction_at(
    epoch: int, *, fraction: float, start: float | None = None, warmup_epochs: int, ramp_epochs: int
) -> float:
    """Return the share of a batch that is attacked in an epoch: 0 during the warm-up, then from ``start`` to the full.

    Args:
        epoch: counted from 0.
        fraction: share after the ramp, in (0, 1].
        start: share in the first epoch with attacks, in (0, 1]; ``None``: the full one at once.
        warmup_epochs: epochs without attacks.
        ramp_epochs: epochs between the first share and the full one.

    Example:
        >>> [fraction_at(e, fraction=0.5, start=0.25, warmup_epochs=1, ramp_epochs=2) for e in range(5)]
        [0.0, 0.25, 0.375, 0.5, 0.5]
    """
    if epoch < warmup_epochs:
        return 0.0
    if start is None or epoch - warmup_epochs >= ramp_epochs:
        return fraction
    return start + (fraction - start) * (epoch - warmup_epochs) / ramp_epochs
