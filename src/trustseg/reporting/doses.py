"""Dose-response: the first score of a hypothesis at each value of the key that it names as its dose."""

import math
from collections.abc import Iterator

from trustseg.records import metric_column
from trustseg.reporting.hypotheses import condition_of, configs_of, hypotheses_of, score_name
from trustseg.reporting.image_scores import mean_of
from trustseg.reporting.labels import ConditionKey, describe_condition
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.series import Chart, Panel, chart, curve, looks
from trustseg.reporting.tables import Row, Table
from trustseg.statistics import Interval
from trustseg.study.hypotheses import RANKINGS, Hypothesis, setting, settings_match

__all__ = ["dose_chart", "dose_table"]


def dose_table(data: ReportData, *, draws: int = 2000) -> Table:
    """Return the first score of each hypothesis with a dose at each value of it; no rows where one value was run."""
    rows: list[Row] = []
    for hypothesis, condition, variants in _dosed(data):
        for variant, dose in variants.items():
            value = mean_of(data.results, variant, condition, metric_column(hypothesis.measures[0]), draws=draws)
            rows.append({"name": hypothesis.name, "variant": variant, "dose": dose, "value": value})
    return data.table("dose_response", rows)


def dose_chart(data: ReportData, table: Table) -> Chart:
    """Return the table as curves, one panel for each hypothesis whose doses are numbers; none where there is none."""
    chosen, panels = looks(data.results), []
    for hypothesis, condition, variants in _dosed(data):
        doses = {variant: _number(dose) for variant, dose in variants.items()}
        values = {str(row["variant"]): row["value"] for row in table.rows if row["name"] == hypothesis.name}
        curves: dict[str, dict[str, Interval]] = {}
        for variant in sorted(variants, key=lambda variant: doses[variant]):
            value = values[variant]
            if isinstance(value, Interval) and math.isfinite(doses[variant]):
                curves.setdefault(_without(variant, str(hypothesis.dose)), {})[variant] = value
        lines = [
            curve(name, [doses[variant] for variant in found], [*found.values()], chosen[next(iter(found))])
            for name, found in curves.items()
        ]
        if any(len(line.x) > 1 for line in lines):
            score = f"{score_name(hypothesis.measures[0])}, {describe_condition(condition)}"
            panels.append(Panel(hypothesis.name, str(hypothesis.dose), score, tuple(lines)))
    return chart("dose_response", panels, max(1, len(panels)))


def _dosed(data: ReportData) -> Iterator[tuple[Hypothesis, ConditionKey, dict[str, str]]]:
    """Yield each hypothesis whose dose was run at two values at least: where it is read, and variant -> dose."""
    for hypothesis in hypotheses_of(data.results):
        condition, key = condition_of(hypothesis, data.results, data.choices), hypothesis.dose
        if key is None or isinstance(condition, str) or hypothesis.measures[0] in RANKINGS:
            continue
        sides = [
            {name: value for name, value in side.items() if name != key}
            for side in (hypothesis.first, hypothesis.second)
        ]
        doses = {
            variant: str(setting(config, key))
            for variant, config in configs_of(data.results).items()
            if any(settings_match(config, side) for side in sides)
        }
        if len(set(doses.values())) > 1:
            yield hypothesis, condition, doses


def _without(variant: str, key: str) -> str:
    """Return the name of a variant without the dose in it.

    Example:
        >>> _without("beta, random, fraction=0.25", "adversarial.fraction")
        'beta, random'
    """
    dose = f"{key.rpartition('.')[2]}="
    return ", ".join(part for part in variant.split(", ") if not part.startswith(dose)) or variant


def _number(dose: str) -> float:
    """Return a dose as a number, NaN if it is a word."""
    try:
        return float(dose)
    except ValueError:
        return math.nan
