"""The tables and figures of an audit: those of a report on a study, for one model."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import polars as pl

from trustseg.audit.breaking import Break
from trustseg.audit.evidence import Evidence
from trustseg.audit.findings import Findings, OperatingPoint
from trustseg.audit.verdicts import Verdict
from trustseg.deferral import Policy
from trustseg.reporting.contents import build_contents
from trustseg.reporting.deferral import deferral_tables, read_deferrals
from trustseg.reporting.labels import words
from trustseg.reporting.report_data import collect
from trustseg.reporting.series import Chart
from trustseg.reporting.tables import Column, Row, Table
from trustseg.statistics import Interval

__all__ = ["contents_of"]

_CLEAN_TABLES = ("calibration_regions", "aggregations", "subgroups")
_CLEAN_CHARTS = ("reliability", "risk_coverage")
_CHANGED_TABLES = ("shifts", "robustness", "survival", "checks")
_CHANGED_CHARTS = ("shifts", "robustness_dice", "worst_case", "survival")
_ENDS = ("all go", "none goes")  # to a human, at a threshold of minus infinity or infinity


def contents_of(
    evidence: Evidence, findings: Findings, *, has_probability: bool, draws: int = 2000
) -> tuple[dict[str, Table], dict[str, Chart]]:
    """Return the tables and figures that have something to show, by key.

    Without ``has_probability`` calibration and uncertainty mean nothing; ``draws`` of the bootstrap are for every
    interval.
    """
    own = [
        *(_verdicts(findings.verdicts), _metrics(findings.metrics), _breaks(findings.breaks)),
        *(_points(findings.points, evidence.policy), _repeats(evidence)),
    ]
    tables = {table.key: table for table in own if table.rows}
    charts: dict[str, Chart] = {}
    parts = [(evidence.changed, _CHANGED_TABLES, _CHANGED_CHARTS)]
    if evidence.clean.records["mask_px"].is_not_null().any():
        clean = (_CLEAN_TABLES, _CLEAN_CHARTS) if has_probability else (("subgroups",), ())
        parts.insert(0, (evidence.clean, *clean))
    for results, wanted_tables, wanted_charts in parts:
        if results is not None:
            contents = build_contents(collect(replace(results, draws=draws)))
            tables |= {key: _without_variant(contents.tables[key]) for key in wanted_tables if key in contents.tables}
            charts |= {key: contents.charts[key] for key in wanted_charts if key in contents.charts}
    return tables | _deferral(evidence, draws=draws), charts


def _deferral(evidence: Evidence, *, draws: int) -> dict[str, Table]:
    """Return the table of what the policy does under each condition to patients that it was not fitted on, if any."""
    if evidence.changed is None or evidence.policy is None:
        return {}
    others = evidence.changed.records.filter(~pl.col("patient").is_in(list(evidence.fitted_on)))
    if others.is_empty():
        return {}
    data = collect(replace(evidence.changed, records=others, draws=draws))
    found = {table.key: table for table in deferral_tables(data, read_deferrals(data))}
    return {key: _without_variant(found[key]) for key in ("deferral_all",) if found[key].rows}


def _without_variant(table: Table) -> Table:
    filled = {key for row in table.rows for key, value in row.items() if value is not None} - {"variant", "trust"}
    kept = tuple(column for column in table.columns if column.key in filled)
    return replace(table, columns=kept)


def _columns(**titles: str) -> tuple[Column, ...]:
    return tuple(Column(key, title) for key, title in titles.items())


def _verdicts(verdicts: Sequence[Verdict]) -> Table:
    columns = _columns(
        requirement="Requirement",
        outcome="Verdict",
        found="Found",
        condition="Decided by",
        images="Images",
        patients="Patients",
        reason="Remark",
    )
    rows: list[Row] = [
        {
            "requirement": each.text,
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
    value = "Value and 95 % interval over patients"
    columns = _columns(metric="Metric", value=value, images="Images", patients="Patients")
    rows: list[Row] = [
        {"metric": label, "value": value, "images": value.count, "patients": value.patients}
        for label, value in metrics.values()
    ]
    return Table("metrics", "Unchanged images", columns, tuple(rows))


def _breaks(breaks: Sequence[Break]) -> Table:
    level = "Mildest level that breaks it"
    columns = _columns(change="Shift or attack", level=level, dice="Dice there", drop="Mean fall of Dice")
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
    shares = {
        "review_rate": "To a human",
        "residual_risk": "1 - Dice of the kept",
        "undetected_failures": "Kept and failed",
    }
    rows: list[Row] = [
        {
            "aimed": f"policy{bound}" if math.isnan(point.aimed) else f"{100 * point.aimed:g} % of the fitting half",
            "threshold": f"{point.threshold:.4g}" if math.isfinite(point.threshold) else _ENDS[point.threshold > 0],
            **{name: point.scores[name] for name in shares},
        }
        for point in points
    ]
    columns = _columns(aimed="Aimed at", threshold="Score above", **shares)
    return Table("trust", "What a threshold achieves on patients that it was not chosen on", columns, tuple(rows))


def _repeats(evidence: Evidence) -> Table:
    columns = (Column("way", "Run in another way"), Column("share", "Largest share of pixels that change sides", 6))
    rows: list[Row] = [{"way": way, "share": max(shares.values())} for way, shares in (evidence.repeats or {}).items()]
    return Table("repeats", "Does the model decide alike each time?", columns, tuple(rows))
