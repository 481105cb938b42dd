"""The end of an audit: verdicts and other findings from what was measured, audit.json, the page, tables and figures."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from trustseg import __version__
from trustseg.audit.breaking import Break, ways_to_break, worst_cases
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
from trustseg.audit.findings import Findings
from trustseg.audit.measuring import Rows
from trustseg.audit.pictures import picture_of_break, picture_of_case
from trustseg.audit.plan import Plan
from trustseg.audit.subject import Subject
from trustseg.errors import RunError
from trustseg.evaluation.conditions import Deployed
from trustseg.files import replacing, write_json, write_text
from trustseg.reporting.drawing import write_figure
from trustseg.reporting.labels import CLEAN, words
from trustseg.reporting.page import shrink_png, template_environment
from trustseg.reporting.series import Chart
from trustseg.reporting.tables import Table

__all__ = ["document_of", "write_audit"]


_TIERS: Final = ("predictions alone", "a model without gradients", "a model with gradients")


@dataclass(frozen=True, slots=True)
class _Picture:
    """A picture on the page: what it shows, a sentence on it, the PNG, and whether the model is broken there."""

    title: str
    text: str
    png: bytes
    breaks: bool = True


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
        remarks=_remarks(data, evidence, plan),
        not_tested=dict(untested),
        metrics={name: estimate(value) for name, (_, value) in findings.metrics.items()},
        breaks=[break_entry(each) for each in findings.breaks],
        repeats={way: max(shares.values()) for way, shares in (evidence.repeats or {}).items()},
        policy=None if evidence.policy is None else evidence.policy.statement,
        trust=[point_entry(each) for each in findings.points],
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
    tables, charts = contents_of(evidence, findings, has_probability=subject.has_probability, draws=draws)
    shown = _pictures(subject, evidence, findings.breaks, plan) if pictures else []
    write_json(folder / "audit.json", document.model_dump(mode="json"))
    _write_page(folder, document, findings, shown, idle_reason=evidence.idle_reason, tables=tables, charts=charts)


def _write_page(
    folder: Path,
    document: Document,
    findings: Findings,
    pictures: Sequence[_Picture],
    *,
    idle_reason: str,
    tables: Mapping[str, Table],
    charts: Mapping[str, Chart],
) -> None:
    """Write ``audit.html``, ``tables/`` and ``figures/`` into a folder; a RunError if something cannot be written."""
    verdicts = findings.verdicts
    environment = template_environment("trustseg.audit", "trustseg.reporting")
    environment.globals |= {"tables": tables}
    try:
        figures = {key: (chart, shrink_png(write_figure(chart, folder / "figures"))) for key, chart in charts.items()}
        for table in tables.values():
            write_text(folder / "tables" / f"{table.key}.csv", table.csv())
        for number, picture in enumerate(pictures, start=1):
            with replacing(folder / "figures" / f"case_{number}.png") as temporary:
                temporary.write_bytes(picture.png)
        page = environment.get_template("audit.html.jinja").render(
            document=document,
            verdicts=verdicts,
            counts={name: sum(each.outcome == name for each in verdicts) for name in ("met", "not met", "not shown")},
            figures=figures,
            pictures=pictures,
            point=findings.useful if idle_reason else findings.points[0] if findings.points else None,
            idle=idle_reason,
            score=f"one minus the {words(SCORE[1])}",
            tier=_TIERS[document.model.tier],
            written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        )
        write_text(folder / "audit.html", page)
    except OSError as error:
        raise RunError(f"cannot write the audit to '{folder}': {error.strerror or error}; choose another -o") from error


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


def _remarks(data: DataEntry, evidence: Evidence, plan: Plan) -> list[str]:
    """Return what a reader has to know first: that there is no foreground, no reference, or too small a budget."""
    remarks = []
    if data.without_reference == data.images:
        remarks.append(
            "There are no reference masks. Tested is only whether predictions stay the same: under shifts, against the "
            "model's own prediction of the unchanged image, and when it is run in another way. Nothing is said of "
            "whether they are right."
        )
    elif not data.with_foreground:
        remarks.append(
            f"None of the {data.without_foreground:,} reference masks has any foreground: overlap, distances, failures "
            "and deferral are undefined, and only what is predicted where nothing is can be judged."
        )
    if not (evidence.rows(CLEAN)["predicted_px"] > 0).any():
        remarks.append(f"The model predicts no foreground in any of the {data.images:,} images.")
    if plan.exceeds:
        remarks.append(f"Changed images: {plan.warning}; they were measured on {plan.images} images.")
    return remarks


def _plan_entry(plan: Plan, budget: float | None) -> PlanEntry:
    content = asdict(plan)
    del content["seconds"], content["exceeds"]
    return PlanEntry.model_validate({**content, "attacks": dict(plan.attacks), "budget_seconds": budget})


def _pictures(subject: Subject, evidence: Evidence, breaks: Sequence[Break], plan: Plan) -> list[_Picture]:
    """Return pictures of three ways to break the model, or of its worst cases where nothing was changed."""
    if breaks:
        deployed = _deployed(evidence)
        return [
            _Picture(
                each.words,
                f"Dice falls by {each.drop.text(2)} on average, to {each.dice:.2f}. Shown is the image it harms most.",
                picture_of_break(subject, each, plan, deployed),
                breaks=each.breaks,
            )
            for each in ways_to_break(list(breaks))
        ]
    worst = worst_cases(evidence)
    return [
        _Picture(
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
