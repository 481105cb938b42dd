"""Dose and response: the score of a hypothesis at every value of the key that it calls its dose."""

import math
from collections.abc import Iterator, Mapping, Sequence

from trustseg.reporting.choices import describe_condition
from trustseg.reporting.hypotheses import SCORE_NAMES, configs_of, hypotheses_of, place_of
from trustseg.reporting.image_scores import ConditionKey, mean_of
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.series import Chart, Line, Look, Panel, looks
from trustseg.reporting.tables import Column, Table, Value
from trustseg.statistics import Interval
from trustseg.study.hypotheses import Hypothesis, setting, settings_match

__all__ = ["dose_charts", "dose_table"]


def dose_table(evidence: ReportData, *, draws: int = 2000) -> Table:
    """Return the first score of each hypothesis with a dose at each value of it; no rows where one value was run."""
    rows: list[Mapping[str, Value]] = []
    for hypothesis, place, variants in _dosed(evidence):
        for variant, dose in variants.items():
            value = mean_of(evidence.results, variant, place, hypothesis.measures[0], draws=draws)
            rows.append({"name": hypothesis.name, "variant": variant, "dose": dose, "value": value})
    columns = (
        Column("name", "Hypothesis"),
        Column("variant", "Variant"),
        Column("dose", "Dose"),
        Column("value", "Score"),
    )
    return Table("dose_response", "Dose and response, for hypotheses that name a dose", columns, tuple(rows))


def dose_charts(evidence: ReportData, table: Table) -> dict[str, Chart]:
    """Return the table as curves, one panel for each hypothesis whose doses are numbers; none where there is none."""
    chosen, panels = looks(evidence.results), []
    for hypothesis, place, variants in _dosed(evidence):
        key = str(hypothesis.dose)
        doses = {variant: _number(dose) for variant, dose in variants.items()}
        values = {str(row["variant"]): row["value"] for row in table.rows if row["name"] == hypothesis.name}
        curves: dict[str, list[tuple[float, Interval]]] = {}
        drawn: dict[str, Look] = {}
        for variant in sorted(variants, key=lambda variant: doses[variant]):
            value, curve = values[variant], _without(variant, key)
            if isinstance(value, Interval) and math.isfinite(doses[variant]):
                curves.setdefault(curve, []).append((doses[variant], value))
                drawn.setdefault(curve, chosen[variant])
        lines = [_line(name, points, drawn[name]) for name, points in curves.items()]
        if any(len(line.x) > 1 for line in lines):
            score = f"{SCORE_NAMES[hypothesis.measures[0]]}, {describe_condition(*place)}"
            panels.append(Panel(hypothesis.name, key, score, tuple(lines)))
    if not panels:
        return {}
    reading = (
        "Each point is the mean of one variant, shaded is its 95 % interval. Two curves that lie on each other say "
        "that the dose decides and not how it was given; a curve further to the left reaches the same with less."
    )
    return {"dose_response": Chart("dose_response", "Dose and response", reading, tuple(panels), len(panels))}


def _dosed(evidence: ReportData) -> Iterator[tuple[Hypothesis, ConditionKey, dict[str, str]]]:
    """Yield each hypothesis whose dose was run at two values at least: where it is read, and variant -> dose."""
    for hypothesis in hypotheses_of(evidence.results):
        place, key = place_of(hypothesis, evidence.results, evidence.choices), hypothesis.dose
        if key is None or isinstance(place, str) or hypothesis.measures[0] not in ("dice", "iou"):
            continue
        sides = [
            {name: value for name, value in side.items() if name != key}
            for side in (hypothesis.first, hypothesis.second)
        ]
        doses = {
            variant: str(setting(config, key))
            for variant, config in configs_of(evidence.results).items()
            if any(settings_match(config, side) for side in sides)
        }
        if len(set(doses.values())) > 1:
            yield hypothesis, place, doses


def _line(name: str, points: Sequence[tuple[float, Interval]], look: Look) -> Line:
    return Line(
        name,
        [dose for dose, _ in points],
        [value.value for _, value in points],
        look,
        [value.low for _, value in points],
        [value.high for _, value in points],
        mode="lines+markers",
    )


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
