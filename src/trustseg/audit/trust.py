"""When to trust a model: how many cases go to a human, for which residual risk."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl

from trustseg.audit.evidence import Evidence
from trustseg.deferral import Policy, apply_policy
from trustseg.reporting.image_scores import numbers
from trustseg.reporting.labels import CLEAN
from trustseg.statistics import Interval
from trustseg.study.deferral import intervals_of

__all__ = ["SHARES", "OperatingPoint", "operating_points", "policy_point"]

SHARES: Final = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
"""Of the images of the fitting half that go to a human."""


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What a threshold achieves on the patients that it was not chosen on.

    Attributes:
        aimed: share of the images of the fitting half above the threshold; NaN for that of the policy.
        threshold: images with a larger score go to a human.
        scores: name in ``SCORES`` -> interval.
    """

    aimed: float
    threshold: float
    scores: Mapping[str, Interval]


def policy_point(evidence: Evidence, *, draws: int = 2000) -> OperatingPoint | None:
    """Return what the deferral policy achieves on the other half of the patients; None without a policy."""
    if evidence.policy is None:
        return None
    return _point(evidence, evidence.policy, math.nan, draws)


def operating_points(evidence: Evidence, *, draws: int = 2000) -> list[OperatingPoint]:
    """Return what thresholds that send a share of the fitting half to a human achieve on the other half."""
    policy = evidence.policy
    if policy is None:
        return []
    clean = evidence.rows(CLEAN)
    fitted = numbers(clean.filter(pl.col("patient").is_in(list(evidence.fitted_on))), policy.column)
    found = []
    for share in SHARES:
        threshold = math.inf if share == 0 else float(np.quantile(fitted, 1 - share, method="higher"))
        if (point := _point(evidence, replace(policy, threshold=threshold), share, draws)) is not None:
            found.append(point)
    return found


def _point(evidence: Evidence, policy: Policy, aimed: float, draws: int) -> OperatingPoint | None:
    rows = evidence.rows(CLEAN).filter(
        ~pl.col("patient").is_in(list(evidence.fitted_on)), pl.col("mask_px").is_not_null()
    )
    if not len(rows):
        return None
    decided = apply_policy(policy, rows)
    return OperatingPoint(aimed, policy.threshold, intervals_of(decided, tau=policy.tau, draws=draws))
