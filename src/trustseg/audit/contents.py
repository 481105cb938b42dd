"""The tables and figures of an audit: those of a report on a study, for one model."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from trustseg.audit.breaking import Break
from trustseg.audit.evidence import Evidence
from trustseg.audit.trust import OperatingPoint
from trustseg.audit.verdicts import Verdict, describe
from trustseg.deferral import Policy
from trustseg.reporting.contents import build_contents
from trustseg.reporting.labels import words
from trustseg.reporting.report_data import collect
from trustseg.reporting.results import Results
from trustseg.reporting.series import Chart
from trustseg.reporting.tables import Column, Row, Table
from trustseg.statistics import Interval

__all__ = ["AuditContents", "contents_of"]

_CLEAN_TABLES = ("calibration_regions", "aggregations", "subgroups")
_CLEAN_CHARTS = ("reliability", "risk_coverage")
_CHANGED_TABLES = ("shifts", "robustness", "survival", "checks", "deferral_all")
_CHANGED_CHARTS = ("shifts", "robustness_dice", "worst_case", "survival")
_ENDS = ("all go", "none goes")  # to a human, at a threshold of minus infinity or infinity


@dataclass(frozen=True, slots=True)
class AuditContents:
    """What an audit shows beside its verdicts: tables and figures that have something to show, by key."""

    tables: Mapping[str, Table]
    charts: Mapping[str, Chart]


def contents_of(
    evidence: Evidence,
    *,
    metrics: Mapping[str, tuple[str, Interval]],
    verdicts: Sequence[Verdict],
    breaks: Sequence[Break],
    points: Sequence[OperatingPoint],
    has_probability: bool,
    draws: int = 2000,
) -> AuditContents:
    """Return the tables and figures.

    Args:
        evidence: what was measured.
        metrics: metric -> its label and value on unchanged images.
        verdicts: on the requirements.
        breaks: of each shift and attack the level to show.
        points: what thresholds of the image score achieve.
        has_probability: whether calibration and uncertainty mean anything.
        draws: bootstrap draws of every interval.
    """
    trust = _points(points, evidence.policy)
    own = [_verdicts(verdicts), _metrics(metrics), _breaks(breaks), trust, _repeats(evidence)]
    tables = {table.key: table for table in own if table.rows}
    charts: dict[str, Chart] = {}
    has_masks = bool(evidence.clean.records["mask_px"].is_not_null().any())
    if has_masks:
        wanted = (_CLEAN_TABLES, _CLEAN_CHARTS) if has_probability else (("subgroups",), ())
        _add(evidence.clean, wanted[0], wanted[1], tables, charts, draws)
    if evidence.changed is not None:
        _add(evidence.changed, _CHANGED_TABLES, _CHANGED_CHARTS, tables, charts, draws)
    return AuditContents(tables, charts)


def _add(
    results: Results,
    wanted_tables: Sequence[str],
    wanted_charts: Sequence[str],
    tables: dict[str, Table],
    charts: dict[str, Chart],
    draws: int,
) -> None:
    """Add what a report on these results has under the wanted keys; without the columns that tell variants apart."""
    found = build_contents(collect(results, draws=draws), draws=draws)
    for key in wanted_tables:
        if key in found.tables:
            table = found.tables[key]
            kept = tuple(column for column in table.columns if column.key not in ("variant", "trust"))
            tables[key] = replace(table, columns=kept)
    charts |= {key: found.charts[key] for key in wanted_charts if key in found.charts}


def _verdicts(verdicts: Sequence[Verdict]) -> Table:
    columns = (
        Column("requirement", "Requirement"),
        Column("outcome", "Verdict"),
        Column("found", "Found"),
        Column("condition", "Decided by"),
        Column("images", "Images"),
        Column("patients", "Patients"),
        Column("reason", "Remark"),
    )
    rows: list[Row] = [
        {
            "requirement": describe(each.requirement),
            "outcome": each.outcome,
            "found": each.interval,
            "condition": each.condition,
            "images": each.interval.count,
            "patients": each.interval.patients,
            "reason": each.reason,
        }
        for each in verdicts
    ]
    return Table("verdicts", "Requirements", columns, tuple(rows))


def _metrics(metrics: Mapping[str, tuple[str, Interval]]) -> Table:
    columns = (
        *(Column("metric", "Metric"), Column("value", "Value and 95 % interval over patients")),
        *(Column("images", "Images"), Column("patients", "Patients")),
    )
    rows: list[Row] = [
        {"metric": label, "value": value, "images": value.count, "patients": value.patients}
        for label, value in metrics.values()
    ]
    return Table("metrics", "Unchanged images", columns, tuple(rows))


def _breaks(breaks: Sequence[Break]) -> Table:
    columns = (
        *(Column("change", "Shift or attack"), Column("level", "Mildest level that breaks it")),
        *(Column("dice", "Dice there"), Column("drop", "Mean fall of Dice")),
    )
    rows: list[Row] = [
        {
            "change": words(each.family) if each.kind == "shift" else each.words.rpartition(" ")[0],
            "level": _level(each) if each.breaks else f"none tested (shown: {_level(each)})",
            "dice": each.dice,
            "drop": each.drop,
        }
        for each in sorted(breaks, key=lambda each: (each.kind, not each.breaks, each.level, -each.drop.value))
    ]
    return Table("breaks", "What breaks the model: a fall of the mean Dice by 0.1 or more", columns, tuple(rows))


def _level(found: Break) -> str:
    return f"severity {round(5 * found.level)}" if found.kind == "shift" else found.words.rpartition(" ")[2]


def _points(points: Sequence[OperatingPoint], policy: Policy | None) -> Table:
    bound = "" if policy is None else f" (expected: at most {100 * policy.at_most:g} %)"
    columns = (
        *(Column("aimed", "Aimed at"), Column("threshold", "Score above"), Column("review_rate", "To a human")),
        *(Column("residual_risk", "1 - Dice of the kept"), Column("undetected_failures", "Kept and failed")),
    )
    rows: list[Row] = [
        {
            "aimed": f"policy{bound}" if math.isnan(point.aimed) else f"{100 * point.aimed:g} % of the fitting half",
            "threshold": f"{point.threshold:.4g}" if math.isfinite(point.threshold) else _ENDS[point.threshold > 0],
            **{name: point.scores[name] for name in ("review_rate", "residual_risk", "undetected_failures")},
        }
        for point in points
    ]
    return Table("trust", "What a threshold achieves on patients that it was not chosen on", columns, tuple(rows))


def _repeats(evidence: Evidence) -> Table:
    columns = (Column("way", "Run in another way"), Column("share", "Largest share of pixels that change sides", 6))
    rows: list[Row] = [{"way": way, "share": max(shares.values())} for way, shares in (evidence.repeats or {}).items()]
    return Table("repeats", "Does the model decide alike each time?", columns, tuple(rows))
