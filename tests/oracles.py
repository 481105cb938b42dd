"""Brute-force references: slow, obvious, and sharing no code with what they check."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise, permutations


def ranking_by_enumeration(uncertainty: Sequence[float], error: Sequence[float]) -> dict[str, float]:
    """Return AURC, AUGRC, AUSE and nAUSE averaged over every order that sorts by uncertainty; up to about 7 items."""
    exact = [Fraction(value) for value in error]
    area, generalised = _areas(uncertainty, exact)
    best, _ = _areas(exact, exact)
    mean = sum(exact) / len(exact)
    undefined = float("nan")
    return {
        "mean_error": float(mean),
        "aurc": float(area),
        "aurc_optimal": float(best),
        "e_aurc": float(area - best),
        "augrc": float(generalised),
        "ause": float((area - best) / mean) if mean else undefined,
        "nause": float((area - best) / (mean - best)) if mean != best else undefined,
    }


def calibration_by_loop(p: Sequence[float], y: Sequence[float], bins: int) -> float:
    """Return the expected calibration gap over bins [i/B, (i+1)/B), the last one closed."""
    gaps, weights = [], []
    for i in range(bins):
        inside = [
            (a, b) for a, b in zip(p, y, strict=True) if i / bins <= a < (i + 1) / bins or (i == bins - 1 and a == 1)
        ]
        if inside:
            gaps.append(abs(sum(a for a, _ in inside) - sum(b for _, b in inside)) / len(inside))
            weights.append(len(inside) / len(p))
    return sum(gap * weight for gap, weight in zip(gaps, weights, strict=True))


def band_by_loop(mask: Sequence[Sequence[int]], width: int) -> list[list[bool]]:
    """Return where both classes lie within Chebyshev distance ``width``."""
    rows, columns = len(mask), len(mask[0])
    return [
        [
            len({
                mask[i][j]
                for i in range(max(0, r - width), min(rows, r + width + 1))
                for j in range(max(0, c - width), min(columns, c + width + 1))
            }) == 2
            for c in range(columns)
        ]
        for r in range(rows)
    ]  # fmt: skip


def _areas(keys: Sequence[float | Fraction], error: Sequence[Fraction]) -> tuple[Fraction, Fraction]:
    count = len(error)
    area, generalised, orders = Fraction(0), Fraction(0), 0
    for order in permutations(range(count)):
        if any(keys[a] > keys[b] for a, b in pairwise(order)):
            continue
        orders += 1
        kept = Fraction(0)
        for k, item in enumerate(order, start=1):
            kept += error[item]
            area += kept / k / count
            generalised += kept / count / count
    return area / orders, generalised / orders
