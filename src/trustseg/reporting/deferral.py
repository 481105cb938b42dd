"""What the deferral policies of a study send to a human, and what they let pass, under every condition."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from trustseg.deferral import HOLDS, Policy, apply_policy, load_policy
from trustseg.errors import DataError
from trustseg.reporting.choices import describe_condition, words
from trustseg.reporting.image_scores import UNDEFINED, ConditionKey
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.results import at
from trustseg.reporting.tables import Column, Table, Value
from trustseg.statistics import Interval
from trustseg.study.deferral import score_decisions

__all__ = ["Deferrals", "aim", "deferral_tables", "describe_place", "headline_places", "read_deferrals"]

SCORE_NAMES: Final[Mapping[str, str]] = {
    "review_rate": "Sent to a human",
    "residual_risk": "Mean 1 - Dice of the kept ↓",
    "undetected_failures": "Kept and failed ↓",
    "missed_lesions": "With foreground, kept and missed ↓",
    "false_alarms": "Sent without need ↓",
}
_AIMS: Final = {
    "review_rate": "share of patients sent to a human",
    "risk": "share of failures among the kept",
    "missed_lesions": "share of patients with foreground kept and missed",
}


@dataclass(frozen=True, slots=True)
class Deferrals:
    """The policies of a study and what they achieve.

    Attributes:
        policies: variant -> the policy of each of its runs, by the name of the run.
        decided: variant -> the records of these runs with the column ``review``.
        scores: (variant, condition with eps) -> score -> interval; all decisions of a variant's runs count alike.
    """

    policies: Mapping[str, Mapping[str, Policy]]
    decided: Mapping[str, pl.DataFrame]
    scores: Mapping[tuple[str, ConditionKey], Mapping[str, Interval]]

    @property
    def targets(self) -> list[tuple[str, float]]:
        """What the policies bound, and by how much; more than one if they differ."""
        return list(dict.fromkeys((policy.target, policy.at_most) for policy in self.all_policies()))

    def all_policies(self) -> Iterator[Policy]:
        """Yield every policy."""
        for found in self.policies.values():
            yield from found.values()

    def score(self, variant: str, place: ConditionKey, name: str) -> Interval:
        """Return one of ``scores``, undefined where there is none."""
        return self.scores.get((variant, place), {}).get(name, UNDEFINED)


def read_deferrals(evidence: ReportData, *, draws: int = 2000) -> Deferrals:
    """Return the policies that lie beside the records of a study and what they achieve; runs without one are left out.

    Args:
        evidence: the numbers of the study.
        draws: bootstrap draws over patients, >= 1.

    Raises:
        DataError: if a policy cannot be read, or scores by what the records do not hold.
    """
    results = evidence.results
    policies: dict[str, dict[str, Policy]] = {}
    decided, scores = {}, {}
    for variant in results.variants:
        files = {cell.id: cell.folder / "policy.json" for cell in results.cells_of(variant)}
        held = {name: load_policy(file) for name, file in files.items() if file.is_file()}
        if not held:
            continue
        policies[variant] = held
        decided[variant] = pl.concat(
            _decided(policy, results.records.filter(pl.col("cell") == name), files[name])
            for name, policy in held.items()
        )
        policy = next(iter(held.values()))
        found = score_decisions(decided[variant], column=policy.column, tau=policy.tau, draws=draws)
        for (condition, eps), rows in found.group_by("condition", "eps", maintain_order=True):
            scores[variant, (str(condition), float(str(eps)))] = {
                row["score"]: _interval(row) for row in rows.to_dicts()
            }
    return Deferrals(policies, decided, scores)


def _decided(policy: Policy, records: pl.DataFrame, file: Path) -> pl.DataFrame:
    try:
        return apply_policy(policy, records)
    except DataError as error:
        raise DataError(f"'{file}' does not fit the records beside it: {error}") from error


def deferral_tables(evidence: ReportData, deferrals: Deferrals) -> tuple[Table, ...]:
    """Return the policies, what they achieve at the headline budget, and what they achieve everywhere."""
    return (_policies(deferrals), _headline(evidence, deferrals), _everywhere(deferrals))


def headline_places(evidence: ReportData) -> list[ConditionKey]:
    """Return clean, and every attack at its budget nearest to the one of the headline."""
    attacks = evidence.choices.attacks.items()
    return [
        ("clean", 0.0),
        *((name, min(rungs, key=lambda e: abs(e - evidence.choices.eps))) for name, rungs in attacks),
    ]


def describe_place(place: ConditionKey) -> str:
    """Return a condition in words, natural shifts among them.

    Example:
        >>> describe_place(("gaussian_noise_3", 0.0)), describe_place(("pgd", 4 / 255))
        ('gaussian noise, severity 3', 'PGD 4/255')
    """
    condition, eps = place
    if eps > 0 or condition == "clean":
        return describe_condition(condition, eps)
    name, _, severity = condition.rpartition("_")
    return f"{words(name)}, severity {severity}"


def aim(target: str, at_most: float) -> str:
    """Return what a policy bounds, in words.

    Example:
        >>> aim("review_rate", 0.2)
        'share of patients sent to a human at most 20 %'
    """
    return f"{_AIMS[target]} at most {100 * at_most:g} %"


def _interval(row: Mapping[str, float]) -> Interval:
    count = int(row["images"] - row["undefined"])
    return Interval(row["value"], row["low"], row["high"], count, int(row["patients"]), int(row["undefined"]))


def _policies(deferrals: Deferrals) -> Table:
    columns = (
        Column("variant", "Variant"),
        Column("score", "Uncertainty of an image"),
        Column("threshold", "Threshold", digits=5),
        Column("patients", "Fitted on patients"),
        Column("statement", "What it promises, for clean images of such patients alone"),
    )
    rows: list[dict[str, Value]] = [
        {
            "variant": variant,
            "score": words(policy.column.removeprefix("u_")),
            "threshold": policy.threshold,
            "patients": policy.patients,
            "statement": policy.statement,
        }
        for variant, found in deferrals.policies.items()
        for policy in found.values()
    ]
    return Table("deferral_policies", "The policies, one for each run", columns, tuple(rows))


def _headline(evidence: ReportData, deferrals: Deferrals) -> Table:
    columns = (
        Column("variant", "Variant"),
        Column("condition", "Condition"),
        Column("promise", "Promise"),
        *(Column(name, title) for name, title in SCORE_NAMES.items()),
    )
    rows = [
        _row(deferrals, variant, place)
        for variant in deferrals.policies
        for place in headline_places(evidence)
        if (variant, place) in deferrals.scores
    ]
    title = "What the policies achieve: shares of the test images, 95 % intervals over patients"
    return Table("deferral", title, columns, tuple(rows))


def _everywhere(deferrals: Deferrals) -> Table:
    columns = (
        Column("variant", "Variant"),
        Column("condition", "Condition"),
        Column("promise", "Promise"),
        *(Column(name, title) for name, title in SCORE_NAMES.items()),
    )
    rows = tuple(_row(deferrals, *key) for key in deferrals.scores)
    return Table("deferral_all", "What the policies achieve under every condition", columns, rows)


def _row(deferrals: Deferrals, variant: str, place: ConditionKey) -> dict[str, Value]:
    rows = deferrals.decided[variant].filter(at(*place), pl.col("guarantee") != HOLDS)
    row: dict[str, Value] = {"variant": variant, "condition": describe_place(place)}
    row |= {"promise": "void" if len(rows) else "holds"}
    return row | {name: deferrals.score(variant, place, name) for name in SCORE_NAMES}
