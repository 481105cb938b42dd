"""What an audit finds: verdicts, metrics, what breaks the model, and when to trust it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl

from trustseg.audit.breaking import Break, first_breaks
from trustseg.audit.evidence import Evidence
from trustseg.audit.quantities import QUANTITIES, MeasuredImages
from trustseg.audit.requirements import Requirement
from trustseg.audit.verdicts import Verdict, judge
from trustseg.deferral import apply_policy
from trustseg.reporting.labels import CLEAN
from trustseg.statistics import Interval
from trustseg.study.deferral import intervals_of
from trustseg.tables import floats_of

__all__ = ["Findings", "OperatingPoint", "findings_of"]

_SHARES: Final = (0.05, 0.1, 0.2, 0.3, 0.5)  # of the images of the fitting half that go to a human


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What a threshold achieves on the patients that it was not chosen on."""

    aimed: float  # share of the images of the fitting half above the threshold; NaN for that of the policy
    threshold: float  # images with a larger score go to a human
    scores: Mapping[str, Interval]  # name in `SCORES` -> interval


@dataclass(frozen=True, slots=True)
class Findings:
    """What an audit says of a model."""

    verdicts: tuple[Verdict, ...]  # on the requirements, in their order
    metrics: Mapping[str, tuple[str, Interval]]  # quantity of unchanged images -> its label and value
    breaks: Sequence[Break]  # the mildest level of each change, and whether it breaks the model
    # what the deferral policy achieves, then what other thresholds do, each once; empty without a policy
    points: Sequence[OperatingPoint]

    @property
    def useful(self) -> OperatingPoint | None:
        """Return the point that sends the fewest images to a human, but some."""
        useful = [point for point in self.points if point.scores["review_rate"].value > 0]
        return min(useful, key=lambda point: point.scores["review_rate"].value, default=None)


def findings_of(
    evidence: Evidence, requirements: Sequence[Requirement], *, available: frozenset[str], draws: int
) -> Findings:
    """Return what follows from what was measured; ``available`` is what the audit has, in the keys of ``NEEDS``."""
    return Findings(
        verdicts=tuple(judge(each, evidence, draws=draws) for each in requirements),
        metrics=_metrics(evidence, available, draws),
        breaks=[] if evidence.own_reference else first_breaks(evidence, draws=draws),
        points=_points(evidence, draws),
    )


def _metrics(evidence: Evidence, available: frozenset[str], draws: int) -> dict[str, tuple[str, Interval]]:
    found = {}
    for name, quantity in QUANTITIES.items():
        if quantity.facts.conditions != "changed" and set(quantity.facts.needs) <= available:
            interval = quantity(MeasuredImages(evidence, draws=draws))
            if not math.isnan(interval.value):
                found[name] = (quantity.label, interval)
    return found


def _points(evidence: Evidence, draws: int) -> list[OperatingPoint]:
    policy, clean = evidence.policy, evidence.rows(CLEAN)
    in_fitting_half = pl.col("patient").is_in(list(evidence.fitted_on))
    rows = clean.filter(~in_fitting_half, pl.col("mask_px").is_not_null())
    if policy is None or not len(rows):
        return []
    fitted = floats_of(clean.filter(in_fitting_half), policy.column)
    thresholds = {math.nan: policy.threshold, 0.0: math.inf}
    for share in _SHARES:
        threshold = float(np.quantile(fitted, 1 - share, method="higher"))
        if threshold not in thresholds.values():  # scores may be tied
            thresholds[share] = threshold
    points = []
    for aimed, threshold in thresholds.items():
        decided = apply_policy(replace(policy, threshold=threshold), rows)
        points.append(OperatingPoint(aimed, threshold, intervals_of(decided, tau=policy.tau, draws=draws)))
    return points
