"""What the uncertainty of a study is good for: deferral, unknown images, bad segmentations, calibration by region."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import polars as pl

from trustseg.reporting.choices import words
from trustseg.reporting.deferral import Deferrals, aim, deferral_tables, describe_place, headline_places, read_deferrals
from trustseg.reporting.deferral_charts import deferral_charts
from trustseg.reporting.failures import finder_table, read_finders, same_orders
from trustseg.reporting.image_scores import ConditionKey
from trustseg.reporting.populations import population_tables, read_populations
from trustseg.reporting.regions import region_table
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.series import Chart
from trustseg.reporting.tables import Table
from trustseg.statistics import FEW_PATIENTS

__all__ = ["Trust", "weigh_trust"]

_TAU: Final = 0.5


@dataclass(frozen=True, slots=True)
class Trust:
    """What a report says of the use of uncertainty.

    Attributes:
        tables: by key, those that hold a row.
        charts: by key; only those with something to show.
        aims: what the deferral policies bound, in words.
        tau: a segmentation with a Dice below it has failed.
        findings: what deferral does clean and in its worst condition, a sentence for each variant.
        same_orders: scores that are one score, in words.
        limits: which limits apply to this study, a sentence each, for the first screen.
        populations: other populations that were evaluated.
    """

    tables: dict[str, Table]
    charts: dict[str, Chart]
    aims: tuple[str, ...]
    tau: float
    findings: tuple[str, ...]
    same_orders: tuple[str, ...]
    limits: tuple[str, ...]
    populations: tuple[str, ...]


def weigh_trust(evidence: ReportData, *, draws: int = 2000) -> Trust:
    """Return what a report says of the use of uncertainty.

    Args:
        evidence: the numbers of the study.
        draws: bootstrap draws over patients, >= 1.
    """
    deferrals = read_deferrals(evidence, draws=draws)
    elsewhere = read_populations(evidence, draws=draws)
    tau = next((policy.tau for policy in deferrals.all_policies()), _TAU)
    tables = (
        *deferral_tables(evidence, deferrals),
        *population_tables(evidence, elsewhere),
        finder_table(read_finders(evidence, tau=tau, draws=draws), tau=tau),
        region_table(evidence, draws=draws),
    )
    charts = deferral_charts(evidence, deferrals) if deferrals.policies else ()
    return Trust(
        tables={table.key: table for table in tables if table.rows},
        charts={chart.key: chart for chart in charts if any(panel.lines for panel in chart.panels)},
        aims=tuple(aim(*target) for target in deferrals.targets),
        tau=tau,
        findings=tuple(_findings(evidence, deferrals)),
        same_orders=tuple(same_orders(evidence)),
        limits=tuple(_limits(evidence, deferrals, tuple(elsewhere.images))),
        populations=tuple(words(name) for name in elsewhere.images),
    )


def _findings(evidence: ReportData, deferrals: Deferrals) -> Iterator[str]:
    """Yield, for each variant, what the policy lets pass clean and under the attack that gets most past it."""
    attacked = headline_places(evidence)[1:]
    for variant in deferrals.policies:
        held = [place for place in attacked if (variant, place) in deferrals.scores]
        clean = _passed(deferrals, variant, ("clean", 0.0))
        if held:
            worst = max(held, key=lambda place: deferrals.score(variant, place, "undetected_failures").value)
            yield f"{variant}: clean, {clean}; under {describe_place(worst)}, {_passed(deferrals, variant, worst)}."
        else:
            yield f"{variant}: clean, {clean}."


def _passed(deferrals: Deferrals, variant: str, place: ConditionKey) -> str:
    reviewed, failed = (deferrals.score(variant, place, name).value for name in ("review_rate", "undetected_failures"))
    return f"{100 * reviewed:.0f} % sent to a human, {100 * failed:.0f} % kept and failed"


def _limits(evidence: ReportData, deferrals: Deferrals, populations: tuple[str, ...]) -> Iterator[str]:
    results = evidence.results
    policies = list(deferrals.all_policies())
    if policies:
        yield (
            "Deferral promises something for clean images of patients like those it was fitted on, and for those "
            "alone: under attack, shift or for another population the promise is void, and what is reported is what "
            "happened."
        )
        if (fewest := min(policy.patients for policy in policies)) < FEW_PATIENTS:
            yield f"A deferral policy was fitted on {fewest} patients only; its threshold may be far off."
        if any(policy.threshold == float("inf") for policy in policies):
            yield "A deferral policy could not be fitted and reviews nothing: see what it promises below."
        if any(policy.threshold == -float("inf") for policy in policies):
            yield "A deferral policy could not be fitted and sends every image to a human: see what it promises below."
    else:
        yield "No deferral policy was fitted: how many cases a human would have to look at is not known."
    if any(cell.head == "beta" for cell in results.cells):
        yield (
            "Vacuity and mutual information of these models follow ambiguity and the weight of the KL term as much as "
            "lack of data; they are no measure of what the model has not seen."
        )
    absent = [] if (results.records["kind"] == "shift").any() else ["natural shifts"]
    absent += [] if populations else ["images of other populations"]
    absent += [] if (results.records.select((pl.col("mask_px") == 0).any()).item()) else ["images without foreground"]
    if absent:
        yield f"Not tested here: {' and '.join((', '.join(absent[:-1]), absent[-1]) if absent[1:] else absent)}."
