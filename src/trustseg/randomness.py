"""Generators are derived, not carried: a seed is a function of the run's seed and the name of what it is for.

There is thus nothing to save, and a resumed run draws the same numbers as an uninterrupted one.
"""

import hashlib
import operator

import torch

__all__ = ["derive_seed", "derived_generator"]


def derive_seed(seed: int, *stream: str | int) -> int:
    """Return a seed in [0, 2^63) for one named stream of random numbers.

    Args:
        seed: seed of the run.
        stream: what the numbers are for, e.g. ``"attack", epoch, step``.

    Example:
        >>> derive_seed(0, "attack", 1) == derive_seed(0, "attack", 1) != derive_seed(0, "attack", 2)
        True
    """
    # An integer of numpy is written like one of Python.
    parts = [part if isinstance(part, str) else operator.index(part) for part in (seed, *stream)]
    digest = hashlib.sha256(repr(tuple(parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def derived_generator(seed: int, *stream: str | int) -> torch.Generator:
    """Return a CPU generator for one named stream of random numbers; see ``derive_seed``."""
    return torch.Generator().manual_seed(derive_seed(seed, *stream))
