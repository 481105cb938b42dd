"""Schedules over epochs: learning rate, strength and number of attacks."""

import math

from trustseg.config.adversarial import AdversarialConfig

__all__ = ["fraction_at", "learning_rate_factor", "ramp_at"]


def learning_rate_factor(epoch: int, *, epochs: int, warmup: int = 2) -> float:
    """Return the share of the peak learning rate in an epoch: a short linear rise, then half a cosine down to 1 %."""
    if epoch < warmup:
        return (epoch + 1) / (warmup + 1)
    progress = (epoch - warmup) / max(1, epochs - warmup)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def ramp_at(epoch: int, options: AdversarialConfig) -> float:
    """Return how far attacks have grown in an epoch, in [0, 1]: 0 during the warm-up, then a linear ramp, then 1.

    Example:
        >>> [ramp_at(epoch, AdversarialConfig(warmup_epochs=1, ramp_epochs=3)) for epoch in range(6)]
        [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """
    if epoch < options.warmup_epochs:
        return 0.0
    return min(1.0, (epoch - options.warmup_epochs + 1) / (options.ramp_epochs + 1))


def fraction_at(epoch: int, options: AdversarialConfig) -> float:
    """Return the share of a batch that is attacked in an epoch: 0 during the warm-up, then up to ``fraction``.

    It begins at ``fraction_start``, or without one at the full share at once.

    Example:
        >>> options = AdversarialConfig(fraction=0.5, fraction_start=0.25, warmup_epochs=1, ramp_epochs=2)
        >>> [fraction_at(epoch, options) for epoch in range(5)]
        [0.0, 0.25, 0.375, 0.5, 0.5]
    """
    grown = epoch - options.warmup_epochs
    if grown < 0:
        return 0.0
    if options.fraction_start is None or grown >= options.ramp_epochs:
        return options.fraction
    return options.fraction_start + (options.fraction - options.fraction_start) * grown / options.ramp_epochs
