"""Rates of a deferral policy under each condition, with patient-bootstrap intervals."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trustseg.deferral import HOLDS, Policy
from trustseg.progress import ProgressCallback
from trustseg.statistics import Interval, bootstrap_ratio

__all__ = ["SCORES", "decided_images", "intervals_of", "score_decisions"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Decided:
    """What the scores read of each image under one condition: Dice, and zeros and ones, all (N,) float64."""

    dice: Floats
    kept: Floats
    failed: Floats
    positive: Floats


def score_decisions(
    decided: pl.DataFrame, policy: Policy, *, draws: int = 2000, seed: int = 0, report: ProgressCallback | None = None
) -> pl.DataFrame:
    """Return what decisions achieve under each condition.

    Args:
        decided: what ``apply_policy`` returned.
        policy: by which it was decided.
        draws: bootstrap draws over patients, >= 1; all conditions with the same patients share them.
        report: called with the conditions that are done and those in all after each.

    Returns:
        A row per condition, budget and score, with ``value``, the 95 % interval ``low`` and ``high`` (NaN where
        undefined), ``images``, ``patients``, ``undefined`` (images left out), ``operating_points`` (distinct scores:
        a saturated one leaves few thresholds to choose from) and ``guarantee``, void if it is for any of the images.
        The scores:

        ``coverage``: share of images kept. ``review_rate``: share reviewed. ``residual_risk``: mean 1 - Dice of the
        kept, NaN if none is; images with an undefined Dice are left out. ``undetected_failures``: share of images
        that are kept with a Dice below tau. ``missed_lesions``: share of the images with foreground that are kept with
        a Dice below tau or nothing predicted. ``false_alarms``: share of images that are reviewed without failing.

    Raises:
        ShapeError: if ``draws`` is below 1.

    Reference:
        Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks", NeurIPS 2017, arXiv:1705.08500,
        section 2: coverage and selective risk.
    """
    rows = []
    groups = list(decided.group_by("condition", "eps", maintain_order=True))
    for done, ((condition, eps), group) in enumerate(groups, start=1):
        place = {"condition": condition, "eps": eps}
        size = {"images": len(group), "patients": group["patient"].n_unique()}
        facts = {
            "operating_points": group[policy.column].n_unique(),
            "guarantee": next((each for each in group["guarantee"] if each != HOLDS), HOLDS),
        }
        for name, interval in intervals_of(group, tau=policy.tau, draws=draws, seed=seed).items():
            ends = {"value": interval.value, "low": interval.low, "high": interval.high}
            rows.append({**place, "score": name, **ends, **size, "undefined": interval.undefined, **facts})
        if report is not None:
            report(done, len(groups))
    return pl.DataFrame(rows)


def intervals_of(decided: pl.DataFrame, *, tau: float, draws: int = 2000, seed: int = 0) -> dict[str, Interval]:
    """Return every score of the decisions on one condition, see ``score_decisions``; with a Dice below tau, one failed.

    Rows of several models count as one set of decisions.
    """
    images, patients = decided_images(decided, tau=tau), decided["patient"].to_numpy()
    return {name: bootstrap_ratio(*parts(images), patients, draws=draws, seed=seed) for name, parts in SCORES.items()}


def decided_images(group: pl.DataFrame, *, tau: float) -> _Decided:
    """Return what ``SCORES`` read of the records of one condition that ``apply_policy`` returned."""
    dice = group["dice"].cast(pl.Float64).to_numpy()
    positive = group["mask_px"].to_numpy() > 0
    kept = ~group["review"].to_numpy()
    parts = (kept, dice < tau, positive)
    return _Decided(dice, *(part.astype(np.float64) for part in parts))


SCORES: Final[Mapping[str, Callable[[_Decided], tuple[Floats, Floats]]]] = {
    "coverage": lambda images: (images.kept, np.ones_like(images.kept)),
    "review_rate": lambda images: (1 - images.kept, np.ones_like(images.kept)),
    # A reviewed image needs no Dice.
    "residual_risk": lambda images: (np.where(images.kept > 0, 1 - images.dice, 0.0), images.kept),
    "undetected_failures": lambda images: (images.kept * images.failed, np.ones_like(images.kept)),
    "missed_lesions": lambda images: (images.kept * images.failed * images.positive, images.positive),
    "false_alarms": lambda images: ((1 - images.kept) * (1 - images.failed), np.ones_like(images.kept)),
}
"""What is summed over images, and by what it is divided."""
