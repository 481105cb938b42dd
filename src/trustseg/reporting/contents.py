"""Every table and figure of a report, and the sentences that come from the same computations."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from trustseg.reporting import charts, hypotheses, robustness, score_tables, shifted
from trustseg.reporting.deferral import Deferrals, deferral_tables, policy_limits, read_deferrals, undetected_harm_table
from trustseg.reporting.deferral_charts import deferral_charts
from trustseg.reporting.detection import TAU, failure_detection_table, population_tables, populations_of
from trustseg.reporting.overview import summary
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.series import Chart
from trustseg.reporting.subgroups import subgroups
from trustseg.reporting.survival import read_brackets, survival, survival_chart
from trustseg.reporting.tables import Table

__all__ = ["STEPS", "Contents", "build_contents", "limits"]

STEPS = 4

_TABLES: Final[tuple[Callable[[ReportData], Table], ...]] = (
    summary,
    *score_tables.TABLES,
    robustness.area_table,
    robustness.worst_case_table,
    robustness.trade_off_table,
    shifted.corruption,
    shifted.shifts,
)
_DRAWN_TABLES: Final[Mapping[str, Callable[[ReportData, Table], Chart]]] = {
    "trade_off": robustness.trade_off_chart,
    "corruption": shifted.corruption_chart,
    "shifts": shifted.shift_chart,
    "dose_response": hypotheses.dose_chart,
}


@dataclass(frozen=True, slots=True)
class Contents:
    """What a report shows: tables that have a row and figures that have a point, by key, and what they came from."""

    tables: dict[str, Table]
    charts: dict[str, Chart]
    outcomes: list[hypotheses.Outcome]
    deferrals: Deferrals
    tau: float


def build_contents(
    data: ReportData, *, names: bool = True, report: Callable[[int], None] = lambda done: None
) -> Contents:
    """Return the tables and figures of a study.

    Args:
        data: its numbers.
        names: whether points that are images are named; else they are numbered.
        report: called with the number of steps done, ``STEPS`` in the end.
    """
    tables = [build(data) for build in _TABLES]
    report(1)
    drawn = [
        charts.uncertainty_change_chart(data, names=names),
        *(build(data) for build in (*charts.CHARTS, robustness.worst_case_chart)),
    ]
    report(2)
    deferrals, brackets = read_deferrals(data), read_brackets(data.results)
    tables += [*deferral_tables(data, deferrals), undetected_harm_table(data, deferrals), subgroups(data, deferrals)]
    drawn += [*deferral_charts(data, deferrals), survival_chart(data, brackets)]
    report(3)
    outcomes = hypotheses.answer_hypotheses(data)
    tau = next((policy.tau for policy in deferrals.all_policies()), TAU)
    tables += [*population_tables(data), failure_detection_table(data, tau=tau), survival(data, brackets)]
    tables += [hypotheses.hypotheses(data, outcomes), hypotheses.dose_response(data)]
    shown = {table.key: table for table in tables if table.rows}
    drawn += [draw(data, shown[key]) for key, draw in _DRAWN_TABLES.items() if key in shown]
    report(STEPS)
    figures = {chart.key: chart for chart in drawn if any(panel.lines for panel in chart.panels)}
    return Contents(shown, figures, outcomes, deferrals, tau)


def limits(data: ReportData, deferrals: Deferrals) -> list[str]:
    """Return which limits apply to this study, a sentence each, for the first screen."""
    results = data.results
    sentences = list(policy_limits(deferrals))
    if "beta" in results.heads:
        sentences.append(
            "Vacuity and mutual information of these models follow ambiguity and the weight of the KL term as much as "
            "lack of data; they are no measure of what the model has not seen."
        )
    tested = {
        "natural shifts": (results.records["kind"] == "shift").any(),
        "images of other populations": populations_of(results),
        f"images without {results.target}": (results.records["mask_px"] == 0).any(),
    }
    untested = [what for what, is_tested in tested.items() if not is_tested]
    if untested:
        sentences.append(f"Not tested here: {' and '.join(filter(None, (', '.join(untested[:-1]), untested[-1])))}.")
    return sentences
