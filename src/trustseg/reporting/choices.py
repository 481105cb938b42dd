"""Which attack, budgets, measures and pairs of variants a report speaks about, decided once."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import polars as pl

from trustseg.records import score_column
from trustseg.reporting.results import FinishedCell, Results
from trustseg.study.grid import REPETITIONS

__all__ = ["Choices", "choose", "describe_attack", "describe_condition", "describe_eps", "is_l2", "pairs", "words"]

# Measures that use evidence first: in the binary case entropy and variance rank pixels identically.
_MEASURES: Final = (
    "mutual_information",
    "epistemic_variance",
    "vacuity",
    "differential_entropy",
    "entropy",
    "variance",
    "expected_entropy",
    "aleatoric_variance",
    "dissonance",
)
_AGGREGATIONS: Final = ("quantile_mean", "mean")
_USUAL_EPS: Final = 4 / 255
_SPELLINGS: Final = {
    "r_fgsm": "R+FGSM",
    "rs_fgsm": "RS-FGSM",
    "mi_fgsm": "MI-FGSM",
    "segpgd": "SegPGD",
    "cospgd": "CosPGD",
    "apgd": "Auto-PGD",
    "staged": "staged",
    "square": "Square",
    "ensemble": "ensemble",
    "overconfidence": "over-confidence",
    "underconfidence": "under-confidence",
    "rank_swap": "rank swap",
    "deferral_aware": "deferral-aware",
}


@dataclass(frozen=True, slots=True)
class Choices:
    """What the headline numbers refer to.

    Attributes:
        attacks: attacks with their budgets, ascending, in pixel units of [0, 1] (or L2 norms), without 0.
        attack: the attack of the headline.
        eps: budget of the headline, pixel units of [0, 1].
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
    def ladders(self) -> list[str]:
        """Attacks that were run at several budgets; all attacks where none was."""
        return [attack for attack, rungs in self.attacks.items() if len(rungs) > 1] or list(self.attacks)

    @property
    def conditions(self) -> list[tuple[str, float]]:
        """Clean, the headline budget and the largest one, without repetition."""
        attacked = [(self.attack, self.eps), (self.attack, self.largest_eps)] if self.attacks else []
        return list(dict.fromkeys([("clean", 0.0), *attacked]))

    @property
    def compared(self) -> list[tuple[str, float]]:
        """Clean and the headline budget."""
        return self.conditions[:2]


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
    eps = _section(results, "adversarial").get("eps")
    wanted = float(eps) if isinstance(eps, int | float) else _USUAL_EPS
    all_columns = {variant: _measures(results, variant) for variant in results.variants}
    shared = [name for name in ("entropy", *_MEASURES) if all(name in found for found in all_columns.values())]
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


def pairs(results: Results) -> list[tuple[str, str]]:
    """Return the variants to compare, each with its baseline: (variant, baseline).

    Every variant is held against regime "none" of the same settings outside adversarial training, and regime
    "uncertain" against "random" of the same settings but for the selection. Mixtures are left out: what training
    changed is told by single models.
    """
    cells = [results.cells_of(variant)[0] for variant in results.variants if not results.is_mixture(variant)]
    found = []
    for cell, other in product(cells, cells):
        if cell.head != other.head or cell.variant == other.variant:
            continue
        undefended = other.regime == "none" and cell.regime != "none" and _same(cell, other, ignoring="adversarial.")
        by_luck = (cell.regime, other.regime) == ("uncertain", "random") and _same(
            cell, other, ignoring="adversarial.selection"
        )
        if undefended or by_luck:
            found.append((cell.variant, other.variant))
    return found


def is_l2(attack: str) -> bool:
    """Return whether the budgets of an attack are L2 norms; otherwise they are the largest change of a pixel."""
    return "l2" in attack.split("_")


def describe_condition(condition: str, eps: float) -> str:
    """Return a condition in words, e.g. ``"PGD 4/255"``.

    Example:
        >>> describe_condition("pgd", 4 / 255), describe_condition("pgd_l2", 0.5), describe_condition("clean", 0.0)
        ('PGD 4/255', 'PGD l2 0.5', 'clean')
    """
    return condition if condition == "clean" else f"{describe_attack(condition)} {describe_eps(condition, eps)}"


def describe_attack(condition: str) -> str:
    """Return an attack's usual spelling, its steps, and the options that are not the usual ones.

    Example:
        >>> describe_attack("r_fgsm"), describe_attack("pgd100_margin"), describe_attack("deferral_aware4")
        ('R+FGSM', 'PGD-100 margin', 'deferral-aware-4')
    """
    for key, name in _SPELLINGS.items():
        if found := re.fullmatch(rf"{key}(\d*)((?:_.*)?)", condition):
            steps, options = found.groups()
            return " ".join([name + (f"-{steps}" if steps else ""), *options.split("_")[1:]])
    name, *details = condition.split("_")
    return " ".join([re.sub(r"(\d+)$", r"-\1", name.upper()), *details])


def describe_eps(condition: str, eps: float) -> str:
    """Return a budget in words: grey levels of 255, or the L2 norm in units of [0, 1]."""
    return f"{eps:g}" if is_l2(condition) else f"{round(eps * 255, 3):g}/255"


def words(measure: str) -> str:
    """Return the name of a measure or aggregation in words."""
    return measure.replace("_", " ")


def _same(cell: FinishedCell, other: FinishedCell, *, ignoring: str) -> bool:
    def kept(values: Mapping[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in values.items() if k not in REPETITIONS and not k.startswith(ignoring)}

    return kept(cell.values) == kept(other.values)


def _section(results: Results, name: str) -> Mapping[str, Any]:
    """Return a section of the study's configuration, empty where there is none."""
    section = results.study.get(name)
    return section if isinstance(section, dict) else {}


def _measures(results: Results, variant: str) -> dict[str, str]:
    """Return the measures that a variant's records hold, the one it is judged by first, each with its column."""
    adversarial = _section(results, "adversarial")
    by_head = adversarial.get("measure")
    asked = by_head.get(results.cells_of(variant)[0].head) if isinstance(by_head, dict) else None
    rows = results.records.filter(pl.col("variant") == variant)
    held = sorted(name for name in rows.columns if name.startswith("u_") and rows[name].null_count() < len(rows))
    columns: dict[str, str] = {}
    for measure in dict.fromkeys((str(asked), *_MEASURES)):
        wanted = [score_column(measure, name) for name in (str(adversarial.get("aggregation")), *_AGGREGATIONS)]
        wanted += [name for name in held if name.startswith(f"u_{measure}_")]
        if found := [name for name in wanted if name in held]:
            columns[str(measure)] = found[0]
    return columns
