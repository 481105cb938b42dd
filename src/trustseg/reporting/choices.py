"""The choices of a report, made once: attack, budgets, measures and pairs of variants."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import polars as pl

from trustseg.records import score_column
from trustseg.reporting.cells import FinishedCell
from trustseg.reporting.labels import CLEAN, ConditionKey, is_l2
from trustseg.reporting.results import Results
from trustseg.study.grid import REPETITIONS

__all__ = ["Choices", "choose", "pairs"]

# The order in which measures are preferred: evidence first, as entropy and variance rank pixels identically.
_FIRST_MEASURES: Final = ("mutual_information", "epistemic_variance", "vacuity", "differential_entropy", "entropy")
_AGGREGATIONS: Final = ("soft_dice_confidence", "quantile_mean", "mean")
_USUAL_EPS: Final = 4 / 255


@dataclass(frozen=True, slots=True)
class Choices:
    """What the headline numbers refer to.

    Attributes:
        attacks: attacks with their budgets, ascending, without 0.
        attack: that of the headline, at the budget ``eps``.
        largest_eps: largest budget of that attack.
        measures: variant -> uncertainty measure it is judged by.
        columns: variant -> record column with that measure's image score.
        all_columns: variant -> every measure its records hold -> record column, aggregated as in ``columns``.
    """

    attacks: Mapping[str, tuple[float, ...]]
    attack: str
    eps: float
    largest_eps: float
    measures: Mapping[str, str]
    columns: Mapping[str, str]
    all_columns: Mapping[str, Mapping[str, str]]

    @property
    def attacks_with_curves(self) -> list[str]:
        """Attacks that were run at several budgets; all attacks where none was."""
        return [attack for attack, rungs in self.attacks.items() if len(rungs) > 1] or list(self.attacks)

    @property
    def conditions(self) -> list[ConditionKey]:
        """Clean, the headline budget and the largest one, without repetition."""
        attacked = [(self.attack, self.eps), (self.attack, self.largest_eps)] if self.attacks else []
        return list(dict.fromkeys([CLEAN, *attacked]))

    @property
    def compared(self) -> list[ConditionKey]:
        """Clean and the headline budget."""
        return self.conditions[:2]

    def curve(self, attack: str) -> list[ConditionKey]:
        """Return clean and every budget of an attack."""
        return [CLEAN, *((attack, eps) for eps in self.attacks[attack])]


def choose(results: Results) -> Choices:
    """Return what the headline numbers of a study refer to.

    The attack is PGD where it was run. The budget is the one the study trains with, taken to the nearest rung that was
    evaluated. All variants are judged by one measure where the records of all hold one, entropy first, so that heads
    can be compared; else each by its own. The aggregation is the one the study selects images by.
    """
    rows = results.records.filter(pl.col("kind") == "attack")
    rungs = rows.select("condition", "eps").unique().sort("condition", "eps").group_by("condition", maintain_order=True)
    attacks = {str(name[0]): tuple(frame["eps"].to_list()) for name, frame in rungs}
    attack = min(attacks, key=lambda name: (is_l2(name), not name.startswith("pgd"), name), default="")
    ladder = attacks.get(attack, (0.0,))
    eps = results.section("adversarial").get("eps")
    wanted = float(eps) if isinstance(eps, int | float) else _USUAL_EPS
    all_columns = {variant: _measures(results, variant) for variant in results.variants}
    every = dict.fromkeys(measure for found in all_columns.values() for measure in found)
    shared = [name for name in ("entropy", *every) if all(name in found for found in all_columns.values())]
    judged = {variant: shared[0] if shared else next(iter(found)) for variant, found in all_columns.items() if found}
    return Choices(
        attacks=attacks,
        attack=attack,
        eps=min(ladder, key=lambda eps: abs(eps - wanted)),
        largest_eps=ladder[-1],
        measures=judged,
        columns={variant: all_columns[variant][measure] for variant, measure in judged.items()},
        all_columns=all_columns,
    )


def pairs(results: Results) -> dict[tuple[str, str], int]:
    """Return the variants to compare, each with its baseline: (variant, baseline) -> rank of the baseline.

    The study's ``report.baselines`` are settings; every variant is compared with the one that has them and
    agrees in all others. Of a baseline without attacks, how the others are attacked does not matter. Mixtures
    are left out: what training changed is told by single models.
    """
    cells = [results.cells_of(variant)[0] for variant in results.variants if not results.is_mixture(variant)]
    baselines = results.wording.baselines
    found: dict[tuple[str, str], int] = {}
    for (cell, other), (rank, settings) in product(product(cells, cells), enumerate(baselines)):
        ignored = (*settings, *(["adversarial."] if settings.get("adversarial.selection") == "none" else []))
        is_baseline = any(_has(cell, same) for same in baselines[rank:])
        comparable = cell.head == other.head or "model.head" in settings
        if comparable and _has(other, settings) and not is_baseline and _same(cell, other, ignored):
            found.setdefault((cell.variant, other.variant), rank)
    return found


def _has(cell: FinishedCell, settings: Mapping[str, Any]) -> bool:
    values = {**cell.values, "model.head": cell.head, "adversarial.selection": cell.selection}
    return all(values.get(key) == value for key, value in settings.items())


def _same(cell: FinishedCell, other: FinishedCell, ignored: tuple[str, ...]) -> bool:
    first, second = (
        {key: value for key, value in each.values.items() if key not in REPETITIONS and not key.startswith(ignored)}
        for each in (cell, other)
    )
    return first == second


def _measures(results: Results, variant: str) -> dict[str, str]:
    """Return the measures that a variant's records hold, the one it is judged by first, each with its column."""
    adversarial = results.section("adversarial")
    by_head = adversarial.get("measure")
    asked = by_head.get(results.head_of(variant)) if isinstance(by_head, dict) else None
    held = sorted(results.score_columns(variant))
    columns: dict[str, str] = {}
    for measure in dict.fromkeys((str(asked), *_FIRST_MEASURES, *results.measures)):
        wanted = [score_column(measure, name) for name in (str(adversarial.get("aggregation")), *_AGGREGATIONS)]
        wanted += [name for name in held if name.startswith(f"u_{measure}_")]
        if found := [name for name in wanted if name in held]:
            columns[measure] = found[0]
    return columns
