"""How long work reports its progress to whoever started it."""

from collections.abc import Callable

__all__ = ["ProgressCallback"]

ProgressCallback = Callable[[int, int], None]
"""Called with the steps done and those in all: images, epochs, members of an attack suite ..."""
