"""What a report refers to (attack, budgets, measures), chosen once, and its numbers, each computed once."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, update_wrapper
from typing import Concatenate, Final, ParamSpec

import polars as pl

from trustseg.deferral.ranking import by_blocks
from trustseg.records import score_column
from trustseg.reporting.checks import Check, load_checks, trust
from trustseg.reporting.differences import Difference, differences_of
from trustseg.reporting.image_rankings import ranking_of, read_scores
from trustseg.reporting.image_scores import UNDEFINED, mean_of, per_image, pooled_of
from trustseg.reporting.labels import CLEAN, ConditionKey, attack_key, describe_condition, is_l2, metric_of
from trustseg.reporting.pixel_scores import estimate, pixel_table
from trustseg.reporting.results import Results
from trustseg.reporting.series import Style, styles
from trustseg.reporting.tables import Row, Table, make_table
from trustseg.statistics import Interval

__all__ = ["ReportData", "as_table", "collect"]

P = ParamSpec("P")

# The order in which measures are preferred: evidence first, as entropy and variance rank pixels identically.
_FIRST_MEASURES: Final = ("mutual_information", "epistemic_variance", "vacuity", "differential_entropy", "entropy")
_AGGREGATIONS: Final = ("soft_dice_confidence", "quantile_mean", "mean")
_USUAL_EPS: Final = 4 / 255


@dataclass(frozen=True)
class ReportData:
    """Numbers of a study, and what they refer to.

    Attributes:
        attacks: attacks with their budgets, ascending, without 0.
        attack: that of the headline, at the budget ``eps``.
        measures: variant -> uncertainty measure it is judged by.
        all_columns: variant -> every measure its records hold -> record column with its image score.
        measured: the variants and conditions of the records.
        checks: the checks of gradient masking of every model that was checked.
        scores: what ``score`` has returned, by its arguments.
    """

    results: Results
    attacks: Mapping[str, tuple[float, ...]]
    attack: str
    eps: float
    measures: Mapping[str, str]
    all_columns: Mapping[str, Mapping[str, str]]
    measured: frozenset[tuple[str, ConditionKey]]
    checks: tuple[Check, ...]
    differences: tuple[Difference, ...] = ()
    scores: dict[tuple[str, ConditionKey, str, str], Interval] = field(default_factory=dict)

    @property
    def draws(self) -> int:
        """Bootstrap draws of every interval."""
        return self.results.draws

    @cached_property
    def styles(self) -> dict[str, Style]:
        """How each variant is drawn in every figure."""
        return styles(self.results)

    @property
    def columns(self) -> dict[str, str]:
        """The record column with the image score that each variant is judged by."""
        return {variant: self.all_columns[variant][measure] for variant, measure in self.measures.items()}

    @property
    def conditions(self) -> list[ConditionKey]:
        """Clean, the headline budget and the largest one of that attack, without repetition."""
        attacked = [(self.attack, eps) for eps in (self.eps, self.attacks[self.attack][-1])] if self.attacks else []
        return list(dict.fromkeys([CLEAN, *attacked]))

    @property
    def clean_and_attacked(self) -> list[ConditionKey]:
        """Clean and the headline budget."""
        return self.conditions[:2]

    def curve(self, attack: str) -> list[ConditionKey]:
        """Return clean and every budget of an attack."""
        return [CLEAN, *((attack, eps) for eps in self.attacks[attack])]

    def evaluated_conditions(self, variant: str, conditions: Iterable[ConditionKey]) -> list[ConditionKey]:
        """Return the conditions under which a variant was evaluated."""
        return [condition for condition in conditions if (variant, condition) in self.measured]

    @property
    def attacked_variants(self) -> list[str]:
        """The variants whose image uncertainty was measured under the headline attack."""
        return [variant for variant in self.measures if self.evaluated_conditions(variant, self.clean_and_attacked[1:])]

    def score(self, variant: str, condition: ConditionKey, metric: str, measure: str = "") -> Interval:
        """Return a score of a variant under a condition, undefined where there is none.

        Uncertainty is that of the measure; by default of the one that the variant is judged by.
        """
        key = (variant, condition, metric, measure or self.measures.get(variant, ""))
        if key not in self.scores:
            self.scores[key] = self._score(*key) if (variant, condition) in self.measured else UNDEFINED
        return self.scores[key]

    def _score(self, variant: str, condition: ConditionKey, metric: str, measure: str) -> Interval:
        place, column = (self.results, variant, condition), self.all_columns.get(variant, {}).get(measure)
        _, entry = metric_of(metric) or ("", None)
        if entry is None or entry.facts.kind == "image":
            return mean_of(*place, metric)
        match entry.facts.kind:
            case "pooled":
                known = per_image(*place).drop_nulls("mask_px")  # the others have no reference
                return pooled_of(known, entry, draws=self.draws)
            case "image_ranking" if column is not None:
                return ranking_of(read_scores(*place, column), by_blocks(entry), draws=self.draws)
            case "calibration":
                return estimate(pixel_table(*place, entry), draws=self.draws)
            case "pixel_ranking" if column is not None:
                return estimate(pixel_table(*place, entry, measure=measure), draws=self.draws)
        return UNDEFINED

    def trust(self, variant: str, condition: ConditionKey | None = None) -> str | None:
        """Return what the checks of gradient masking take from a number under attack, for a table."""
        return None if condition == CLEAN else trust(self.checks, variant)

    def table(self, key: str, rows: Iterable[Row], titles: Mapping[str, str] | None = None, **words: object) -> Table:
        """Return a table in whose words the target has its name, and clean and attacked the headline's conditions."""
        conditions = map(describe_condition, self.clean_and_attacked)
        words = {**dict(zip(("clean", "attacked"), conditions, strict=False)), "target": self.results.target, **words}
        return make_table(key, list(rows), titles, **words)


def as_table(rows: Callable[Concatenate[ReportData, P], Iterable[Row]]) -> Callable[Concatenate[ReportData, P], Table]:
    """Make a function that yields rows return the table in ``tables.yaml`` of its name, less ``_table``."""

    def build(data: ReportData, /, *args: P.args, **options: P.kwargs) -> Table:
        return data.table(rows.__name__.removesuffix("_table"), rows(data, *args, **options))

    update_wrapper(build, rows)
    return build


def collect(results: Results) -> ReportData:
    """Return the numbers of the finished part of a study, and what they refer to.

    The attack is PGD where it was run. The budget is the one the study trains with, taken to the nearest rung that was
    evaluated. All variants are judged by one measure where the records of all hold one, entropy first, so that heads
    can be compared; else each by its own. The aggregation is the one the study selects images by.
    """
    rows = results.records.select("variant", "condition", pl.col("eps").round(7)).unique().iter_rows()
    attacked = results.records.filter(pl.col("kind") == "attack").select("condition", "eps").unique()
    attacks: dict[str, tuple[float, ...]] = {}
    for name, rung in attacked.sort("condition", "eps").iter_rows():
        attacks[str(name)] = (*attacks.get(str(name), ()), rung)
    attack = min(attacks, key=lambda name: (is_l2(name), attack_key(name) != "pgd", name), default="")
    eps = results.section("adversarial").get("eps")
    wanted_eps = float(eps) if isinstance(eps, int | float) else _USUAL_EPS
    all_columns = {variant: _measures(results, variant) for variant in results.variants}
    every = dict.fromkeys(measure for found in all_columns.values() for measure in found)
    shared = [name for name in ("entropy", *every) if all(name in found for found in all_columns.values())]
    measures = {variant: shared[0] if shared else next(iter(found)) for variant, found in all_columns.items() if found}
    data = ReportData(
        results,
        attacks,
        attack,
        eps=min(attacks.get(attack, (0.0,)), key=lambda eps: abs(eps - wanted_eps)),
        measures=measures,
        all_columns=all_columns,
        measured=frozenset((str(variant), (str(name), float(eps))) for variant, name, eps in rows),
        checks=load_checks(results),
    )
    return replace(data, differences=tuple(differences_of(data)))


def _measures(results: Results, variant: str) -> dict[str, str]:
    """Return the measures that a variant's records hold, the one it is judged by first, each with its column."""
    adversarial = results.section("adversarial")
    by_head = adversarial.get("measure")
    configured = by_head.get(results.head_of(variant)) if isinstance(by_head, dict) else None
    available = sorted(results.score_columns(variant))
    columns: dict[str, str] = {}
    for measure in dict.fromkeys((str(configured), *_FIRST_MEASURES, *results.measures)):
        wanted = [score_column(measure, name) for name in (str(adversarial.get("aggregation")), *_AGGREGATIONS)]
        wanted += [name for name in available if name.startswith(f"u_{measure}_")]
        if found := [name for name in wanted if name in available]:
            columns[measure] = found[0]
    return columns
