"""Everything a report says of attacks and shifts beyond its headline, gathered for the page."""

from dataclasses import dataclass

from trustseg.reporting import checks
from trustseg.reporting.checks import Check
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.robustness import area_table, ensemble_check, worst_case_chart, worst_case_table
from trustseg.reporting.series import Chart
from trustseg.reporting.shifted import (
    corruption_chart,
    corruption_table,
    severities_of,
    shift_chart,
    shift_table,
    table_version,
)
from trustseg.reporting.survival import read_brackets, survival_chart, survival_table
from trustseg.reporting.tables import Table
from trustseg.reporting.trade_off import trade_off_chart, trade_off_table
from trustseg.reporting.unnoticed import unnoticed_table

__all__ = ["Stress", "put_under_stress"]


@dataclass(frozen=True, slots=True)
class Stress:
    """What attacks and shifts do to the models of a study.

    Attributes:
        tables: by key, those that hold a row.
        charts: by key, those that hold a point.
        ensemble: whether the worst case is one, in a sentence; empty where it was not run.
        doubts: variant -> why its robustness numbers are not trustworthy.
        unchecked: variant -> which checks were not run, and why.
        variants: variants that were checked.
        checks: name, threshold and meaning of each check, and its worst finding for each of these variants.
        shift_table: version of the table of severities.
    """

    tables: dict[str, Table]
    charts: dict[str, Chart]
    ensemble: str
    doubts: dict[str, str]
    unchecked: dict[str, str]
    variants: list[str]
    checks: list[tuple[str, str, str, list[Check | None]]]
    shift_table: str


def put_under_stress(evidence: ReportData, *, draws: int = 2000) -> Stress:
    """Return tables, charts and sentences on attacks and shifts.

    Args:
        evidence: the numbers of the study.
        draws: bootstrap draws over patients, >= 1.

    Raises:
        DataError: if a policy, or what evaluation wrote of itself, cannot be read.
    """
    tables, charts = [checks.check_table(evidence.checks)], []
    if evidence.choices.attacks:
        tables += [area_table(evidence, draws=draws), worst_case_table(evidence, draws=draws)]
        tables += [unnoticed_table(evidence, draws=draws), trade_off_table(evidence)]
        charts += [worst_case_chart(evidence), trade_off_chart(evidence)]
    if brackets := read_brackets(evidence.results):
        tables.append(survival_table(evidence, brackets, draws=draws))
        charts.append(survival_chart(evidence, brackets, draws=draws))
    if severities_of(evidence.results):
        tables += [corruption_table(evidence, draws=draws), shift_table(evidence, draws=draws)]
        charts += [corruption_chart(evidence, draws=draws), shift_chart(evidence)]
    variants, found = checks.check_matrix(evidence.checks)
    return Stress(
        tables={table.key: table for table in tables if table.rows},
        charts={chart.key: chart for chart in charts if any(panel.lines for panel in chart.panels)},
        ensemble=ensemble_check(evidence),
        doubts={variant: checks.reason(failed) for variant, failed in checks.doubts(evidence.checks).items()},
        unchecked=checks.unchecked(evidence.checks),
        variants=variants,
        checks=found,
        shift_table=table_version(evidence.results),
    )
