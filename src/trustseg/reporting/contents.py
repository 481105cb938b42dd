"""Every table and figure of a report, and the sentences that come from the same computations."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl

from trustseg.reporting import checks, robustness, score_tables, shifted, survival
from trustseg.reporting.charts import score_charts
from trustseg.reporting.costs import costs
from trustseg.reporting.deferral import Deferrals, deferral_tables, policy_limits, read_deferrals
from trustseg.reporting.deferral_charts import deferral_charts
from trustseg.reporting.doses import dose_chart, dose_table
from trustseg.reporting.failures import TAU, finder_table, read_finders
from trustseg.reporting.hypotheses import Outcome, answer_hypotheses, hypothesis_table
from trustseg.reporting.overview import summary
from trustseg.reporting.populations import Populations, population_tables, read_populations
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.robustness import trade_off_chart, trade_off_table
from trustseg.reporting.series import Chart
from trustseg.reporting.subgroups import subgroup_table
from trustseg.reporting.tables import Table
from trustseg.reporting.unnoticed import unnoticed_table

__all__ = ["STEPS", "Contents", "build_contents", "limits"]

STEPS = 4


@dataclass(frozen=True, slots=True)
class Contents:
    """What a report shows: tables that have a row and figures that have a point, by key, and what they came from."""

    tables: dict[str, Table]
    charts: dict[str, Chart]
    outcomes: list[Outcome]
    deferrals: Deferrals
    populations: Populations

    @property
    def tau(self) -> float:
        """The Dice below which a segmentation has failed."""
        return next((policy.tau for policy in self.deferrals.all_policies()), TAU)


def build_contents(
    data: ReportData, *, draws: int = 2000, names: bool = True, report: Callable[[int], None] = lambda done: None
) -> Contents:
    """Return the tables and figures of a study.

    Args:
        data: its numbers.
        draws: bootstrap draws of every interval.
        names: whether points that are images are named; else they are numbered.
        report: called with the number of steps done, ``STEPS`` in the end.
    """
    tables, charts = [*_scores(data, draws)], score_charts(data, names=names)
    report(1)
    for found_tables, found_charts in _attacks_and_shifts(data, draws):
        tables += found_tables
        charts += found_charts
    report(2)
    deferrals, populations = read_deferrals(data, draws=draws), read_populations(data, draws=draws)
    outcomes = answer_hypotheses(data, draws=draws)
    report(3)
    contents = Contents({}, {}, outcomes, deferrals, populations)
    finders = read_finders(data, tau=contents.tau, draws=draws)
    doses = dose_table(data, draws=draws)
    tables += [*deferral_tables(data, deferrals), *population_tables(data, populations)]
    tables += [finder_table(data, finders, tau=contents.tau), hypothesis_table(outcomes), doses]
    charts += [*(deferral_charts(data, deferrals) if deferrals.policies else ()), dose_chart(data, doses)]
    contents.tables.update((table.key, table) for table in tables if table.rows)
    contents.charts.update((chart.key, chart) for chart in charts if any(panel.lines for panel in chart.panels))
    report(STEPS)
    return contents


def _scores(data: ReportData, draws: int) -> Iterator[Table]:
    for build in (
        summary,
        score_tables.differences,
        score_tables.robustness,
        score_tables.false_positives,
        score_tables.ranking,
        score_tables.measures,
        score_tables.calibration,
        score_tables.shift,
        score_tables.repetitions,
        costs,
    ):
        yield build(data)
    yield score_tables.calibration_regions(data, draws=draws)
    yield score_tables.mask_metrics(data, draws=draws)
    yield subgroup_table(data, draws=draws)


def _attacks_and_shifts(data: ReportData, draws: int) -> Iterator[tuple[list[Table], list[Chart]]]:
    yield [checks.check_table(data.checks)], []
    if data.choices.attacks:
        areas, worst = (build(data, draws=draws) for build in (robustness.area_table, robustness.worst_case_table))
        unnoticed = unnoticed_table(data, draws=draws)
        figures = [robustness.worst_case_chart(data), trade_off_chart(data)]
        yield [areas, worst, unnoticed, trade_off_table(data)], figures
    if brackets := survival.read_brackets(data.results):
        figure = survival.survival_chart(data, brackets, draws=draws)
        yield [survival.survival_table(data, brackets, draws=draws)], [figure]
    if shifted.severities_of(data.results):
        figures = [shifted.corruption_chart(data, draws=draws), shifted.shift_chart(data)]
        yield [shifted.corruption_table(data, draws=draws), shifted.shift_table(data, draws=draws)], figures


def limits(data: ReportData, contents: Contents) -> list[str]:
    """Return which limits apply to this study, a sentence each, for the first screen."""
    results = data.results
    found = list(policy_limits(contents.deferrals))
    if any(cell.head == "beta" for cell in results.cells):
        found.append(
            "Vacuity and mutual information of these models follow ambiguity and the weight of the KL term as much as "
            "lack of data; they are no measure of what the model has not seen."
        )
    absent = [] if (results.records["kind"] == "shift").any() else ["natural shifts"]
    absent += [] if contents.populations.images else ["images of other populations"]
    absent += (
        [] if results.records.select((pl.col("mask_px") == 0).any()).item() else [f"images without {results.target}"]
    )
    if absent:
        found.append(
            f"Not tested here: {' and '.join((', '.join(absent[:-1]), absent[-1]) if absent[1:] else absent)}."
        )
    return found
