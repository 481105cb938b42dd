"""Ratios measured in one run: two ways of doing a work take turns, and the shortest time of each counts."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure.

    Attributes:
        name: what was measured.
        value: the figure.
        unit: "x" for a ratio, else the unit.
        target: what it should be at most, or at least; None where there is no target.
        better: whether less or more is better.
        details: the numbers that it was computed from.
    """

    name: str
    value: float
    unit: str = "x"
    target: float | None = None
    better: Literal["less", "more"] = "less"
    details: Mapping[str, float | str] = field(default_factory=dict)

    @property
    def holds(self) -> bool | None:
        """Return whether the target is met, None without one."""
        if self.target is None:
            return None
        return self.value <= self.target if self.better == "less" else self.value >= self.target


def seconds_of(works: Mapping[str, Callable[[], object]], *, repeats: int = 3) -> dict[str, float]:
    """Return the shortest time of each work in seconds; they take turns, so that a busy machine hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            since = time.perf_counter()
            work()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times[name].append(time.perf_counter() - since)
    return {name: min(found) for name, found in times.items()}
