"""The end of an audit: verdicts and other findings from what was measured, audit.json, the page, tables and figures."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl

from trustseg import __version__
from trustseg.audit.breaking import Break, first_breaks, ways_to_break, worst_cases
from trustseg.audit.contents import contents_of
from trustseg.audit.document import (
    DataEntry,
    Document,
    ModelEntry,
    PlanEntry,
    break_entry,
    estimate,
    point_entry,
    verdict_entry,
)
from trustseg.audit.evidence import SCORE, Evidence
from trustseg.audit.measuring import Rows
from trustseg.audit.page import Picture, write_page
from trustseg.audit.pictures import picture_of_break, picture_of_case
from trustseg.audit.plan import AUDIT_ATTACKS, Plan
from trustseg.audit.quantities import QUANTITIES, Selected
from trustseg.audit.requirements import Requirement
from trustseg.audit.subject import Subject
from trustseg.audit.trust import OperatingPoint, operating_points, policy_point
from trustseg.audit.verdicts import Verdict, judge
from trustseg.evaluation.conditions import Deployed
from trustseg.files import write_json
from trustseg.reporting.labels import CLEAN
from trustseg.statistics import Interval

__all__ = ["Findings", "document_of", "findings_of", "write_audit"]


@dataclass(frozen=True, slots=True)
class Findings:
    """What an audit says of a model.

    Attributes:
        verdicts: on the requirements, in their order.
        metrics: quantity of unchanged images -> its label and value.
        breaks: the mildest level of each change, and whether it breaks the model.
        point: what the deferral policy achieves; None without one.
        points: what other thresholds achieve.
    """

    verdicts: tuple[Verdict, ...]
    metrics: Mapping[str, tuple[str, Interval]]
    breaks: Sequence[Break]
    point: OperatingPoint | None
    points: Sequence[OperatingPoint]

    @property
    def all_points(self) -> list[OperatingPoint]:
        """Return the point of the policy, if there is one, and the others."""
        return [*([] if self.point is None else [self.point]), *self.points]


def findings_of(
    evidence: Evidence, requirements: Sequence[Requirement], *, given: frozenset[str], draws: int
) -> Findings:
    """Return what follows from what was measured; ``given`` is what the audit has, in the keys of ``NEEDS``."""
    return Findings(
        verdicts=tuple(judge(each, evidence, attacks=tuple(AUDIT_ATTACKS), draws=draws) for each in requirements),
        metrics=_metrics(evidence, given, draws),
        breaks=[] if evidence.own_reference else first_breaks(evidence, draws=draws),
        point=policy_point(evidence, draws=draws),
        points=operating_points(evidence, draws=draws),
    )


def document_of(
    subject: Subject,
    rows: Rows,
    plan: Plan,
    evidence: Evidence,
    findings: Findings,
    *,
    untested: Mapping[str, str],
    split: str,
    budget: float | None,
) -> Document:
    """Return the content of ``audit.json``; ``untested`` are requirements that were not tested, and why."""
    data = _data_entry(subject, rows, split)
    return Document(
        trustseg=__version__,
        passed=all(each.outcome == "met" for each in findings.verdicts),
        model=ModelEntry(name=subject.name, digest=subject.digest, tier=subject.tier, facts=list(subject.facts)),
        data=data,
        plan=_plan_entry(plan, budget),
        verdicts=[verdict_entry(each) for each in findings.verdicts],
        remarks=_remarks(data, evidence),
        not_tested=dict(untested),
        metrics={name: estimate(value) for name, (_, value) in findings.metrics.items()},
        breaks=[break_entry(each) for each in findings.breaks],
        repeats={way: max(shares.values()) for way, shares in (evidence.repeats or {}).items()},
        policy=None if evidence.policy is None else evidence.policy.statement,
        trust=[point_entry(each) for each in findings.all_points],
    )


def write_audit(
    folder: Path,
    subject: Subject,
    plan: Plan,
    evidence: Evidence,
    findings: Findings,
    document: Document,
    *,
    pictures: bool,
    draws: int,
) -> None:
    """Write ``audit.json``, ``audit.html``, tables and figures into a folder; without ``pictures``, no cases."""
    contents = contents_of(
        evidence,
        metrics=findings.metrics,
        verdicts=findings.verdicts,
        breaks=findings.breaks,
        points=findings.all_points,
        has_probability=subject.has_probability,
        draws=draws,
    )
    shown = _pictures(subject, evidence, findings.breaks, plan) if pictures else []
    write_json(folder / "audit.json", document.model_dump(mode="json"))
    write_page(folder, document, findings.verdicts, contents, shown, point=findings.point, score=SCORE)


def _metrics(evidence: Evidence, given: frozenset[str], draws: int) -> dict[str, tuple[str, Interval]]:
    """Return every quantity of unchanged images that can be given, with its label."""
    found = {}
    for name, quantity in QUANTITIES.items():
        if quantity.facts.conditions != "changed" and set(quantity.facts.needs) <= given:
            interval = quantity(Selected(evidence, draws=draws))
            if not math.isnan(interval.value):
                found[name] = (quantity.label, interval)
    return found


def _data_entry(subject: Subject, rows: Rows, split: str) -> DataEntry:
    index = subject.pack.index[rows.tolist()]
    control, mask, area = index["split"] == "control", index["has_mask"], index["foreground"].fill_null(0)
    return DataEntry(
        digest=subject.pack.digest,
        split=split,
        size=subject.pack.size,
        images=len(index),
        patients=index["patient"].n_unique(),
        with_foreground=int((mask & (area > 0)).sum()),
        without_foreground=int((control | (mask & (area == 0))).sum()),
        without_reference=int((~mask & ~control).sum()),
        notes=list(subject.pack.notes),
    )


def _remarks(data: DataEntry, evidence: Evidence) -> list[str]:
    """Return what a reader of any verdict has to know first: that there is no foreground, or no reference at all."""
    found = []
    if data.without_reference == data.images:
        found.append(
            "There are no reference masks. Tested is only whether predictions stay the same: under shifts, against the "
            "model's own prediction of the unchanged image, and when it is run in another way. Nothing is said of "
            "whether they are right."
        )
    elif not data.with_foreground:
        found.append(
            f"None of the {data.without_foreground:,} reference masks has any foreground: overlap, distances, failures "
            "and deferral are undefined, and only what is predicted where nothing is can be judged."
        )
    if not (evidence.rows(CLEAN)["predicted_px"] > 0).any():
        found.append(f"The model predicts no foreground in any of the {data.images:,} images.")
    return found


def _plan_entry(plan: Plan, budget: float | None) -> PlanEntry:
    content = asdict(plan)
    content.pop("seconds")
    return PlanEntry.model_validate({**content, "attacks": dict(plan.attacks), "budget_seconds": budget})


def _pictures(subject: Subject, evidence: Evidence, breaks: Sequence[Break], plan: Plan) -> list[Picture]:
    """Return pictures of three ways to break the model, or of its worst cases where nothing was changed."""
    if breaks:
        deployed = _deployed(evidence)
        return [
            Picture(
                each.words,
                f"Dice falls by {each.drop.text(2)} on average, to {each.dice:.2f}. Shown is the image it harms most.",
                picture_of_break(subject, each, plan, deployed),
                breaks=each.breaks,
            )
            for each in ways_to_break(list(breaks))
        ]
    worst = worst_cases(evidence)
    return [
        Picture(
            name,
            f"Dice {dice:.2f} with {100 * share:.1f} % of the image marked in the reference.",
            picture_of_case(subject, name),
        )
        for name, dice, share in worst.select("image", "dice", pl.col("mask_px") / pl.col("pixels")).iter_rows()
    ]


def _deployed(evidence: Evidence) -> Deployed | None:
    policy = evidence.policy
    if policy is None:
        return None
    harms = evidence.rows(CLEAN)["harm"].drop_nulls().to_numpy()
    return Deployed(policy.measure, policy.aggregation, policy.threshold, float(np.median(1 - harms)))
