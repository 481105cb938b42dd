"""Deferral in a report: images sent to a human, and failures and harm that are not, under every condition."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Final

import polars as pl

from trustseg.deferral import HOLDS, Policy, load_policy
from trustseg.errors import DataError
from trustseg.reporting.cell_tables import at
from trustseg.reporting.decisions import SCORE, has_policy, with_decisions
from trustseg.reporting.image_rankings import detection_auroc, rank_correlation, read_scores
from trustseg.reporting.image_scores import UNDEFINED
from trustseg.reporting.labels import CLEAN, ConditionKey, describe_condition, words
from trustseg.reporting.report_data import ReportData, as_table
from trustseg.reporting.robustness import attacks_at_one_budget
from trustseg.reporting.tables import Row, Table
from trustseg.reporting.value_tables import means_of, values_under
from trustseg.statistics import FEW_PATIENTS, Interval, bootstrap_mean
from trustseg.study.deferral import intervals_of

__all__ = [
    "Deferrals",
    "deferral_tables",
    "describe_aim",
    "describe_deferral",
    "describe_observed",
    "headline_conditions",
    "kept_failures",
    "observed_share",
    "policy_limits",
    "read_deferrals",
    "undetected_harm_table",
]

_SCORES: Final = ("review_rate", "residual_risk", "undetected_failures", "missed_lesions", "false_alarms")
_AIMS: Final = {
    "review_rate": (
        "of a new patient's images at most {at_most:g} % are expected to be sent to a human (mean over patients)"
    ),
    "risk": "of the patients with a kept image at most {at_most:g} % have one that failed",
    "missed_lesions": "of the patients with {target} at most {at_most:g} % are kept and missed",
}


@dataclass(frozen=True, slots=True)
class Deferrals:
    """The policies of a study and what they achieve.

    Attributes:
        policies: variant -> the policy of each of its runs, by the name of the run.
        decided: variant -> the records of these runs with what they decide, see ``with_decisions``.
        scores: (variant, condition) -> score -> interval; all decisions of a variant's runs count alike.
        observed: (variant, condition) -> the share that the policy bounds, see ``observed_share``.
    """

    policies: Mapping[str, Mapping[str, Policy]]
    decided: Mapping[str, pl.DataFrame]
    scores: Mapping[tuple[str, ConditionKey], Mapping[str, Interval]]
    observed: Mapping[tuple[str, ConditionKey], Interval]

    def applies(self, variant: str, condition: ConditionKey) -> bool:
        """Return whether a policy promises anything for the images of a condition."""
        return self.decided[variant].filter(at(condition), pl.col("guarantee") != HOLDS).is_empty()

    @property
    def targets(self) -> list[tuple[str, float]]:
        """What the policies bound, and by how much; more than one if they differ."""
        return list(dict.fromkeys((policy.target, policy.at_most) for policy in self.all_policies()))

    def all_policies(self) -> list[Policy]:
        """Return every policy."""
        return [policy for found in self.policies.values() for policy in found.values()]

    def first_policy(self, variant: str) -> Policy:
        """Return the policy of a variant's first run; those of the others differ in the threshold alone."""
        return next(iter(self.policies[variant].values()))

    def score(self, variant: str, condition: ConditionKey, name: str) -> Interval:
        """Return one of ``scores``, undefined where there is none."""
        return self.scores.get((variant, condition), {}).get(name, UNDEFINED)


def read_deferrals(data: ReportData) -> Deferrals:
    """Return the policies in the cells of a study and what they achieve; runs without one are left out."""
    policies: dict[str, dict[str, Policy]] = {}
    parts: dict[str, list[pl.DataFrame]] = {}
    scores, observed = {}, {}
    for cell in filter(has_policy, data.results.cells):
        file, records = cell.folder / "policy.json", data.results.records.filter(pl.col("cell") == cell.id)
        policy = policies.setdefault(cell.variant, {})[cell.id] = load_policy(file)
        try:
            parts.setdefault(cell.variant, []).append(with_decisions(records, policy))
        except DataError as error:
            raise DataError(f"'{file}' does not fit the records of its run: {error}") from error
    decided = {variant: pl.concat(frames) for variant, frames in parts.items()}
    for variant, frame in decided.items():
        policy = next(iter(policies[variant].values()))
        for (condition, eps), rows in frame.group_by("condition", "eps", maintain_order=True):
            key = (str(condition), float(str(eps)))
            scores[variant, key] = intervals_of(rows, tau=policy.tau, draws=data.draws)
            observed[variant, key] = observed_share(policy, rows, draws=data.draws)
    return Deferrals(policies, decided, scores, observed)


def headline_conditions(data: ReportData) -> list[ConditionKey]:
    """Return clean, and every attack at its budget nearest to the one of the headline."""
    attacks = data.attacks.items()
    return [CLEAN, *((name, min(rungs, key=lambda eps: abs(eps - data.eps))) for name, rungs in attacks)]


def describe_aim(target: str, at_most: float, *, name: str = "foreground") -> str:
    """Return what a policy bounds, in words; the name is that of what the masks mark.

    Example:
        >>> describe_aim("review_rate", 0.2)
        "of a new patient's images at most 20 % are expected to be sent to a human (mean over patients)"
    """
    return _AIMS[target].format(target=name, at_most=100 * at_most)


def deferral_tables(data: ReportData, deferrals: Deferrals) -> tuple[Table, ...]:
    """Return the policies, what they achieve at the headline budget, and what they achieve everywhere."""
    policies: list[Row] = [
        {
            "variant": variant,
            "score": words(policy.column),
            "threshold": policy.threshold,
            "patients": policy.patients,
            "statement": policy.statement,
        }
        for variant, found in deferrals.policies.items()
        for policy in found.values()
    ]
    achieved: dict[tuple[str, ConditionKey], Row] = {
        (variant, condition): {
            "variant": variant,
            "condition": describe_condition(condition),
            "promise": "applies" if deferrals.applies(variant, condition) else "void",
            "observed": deferrals.observed[variant, condition],
            **{name: found[name] for name in _SCORES},
        }
        for (variant, condition), found in deferrals.scores.items()
    }
    headline = [key for key in product(deferrals.policies, headline_conditions(data)) if key in achieved]
    return (
        data.table("deferral_policies", policies),
        data.table("deferral", [achieved[key] for key in headline]),
        data.table("deferral_all", achieved.values()),
    )


def observed_share(policy: Policy, decided: pl.DataFrame, *, draws: int) -> Interval:
    """Return the share that a policy bounds, as it came out on the records of one condition, over patients.

    The unit is a patient of a run, as in ``fit_policy``: the mean share of their images that are sent to a human; or,
    of the patients with a kept image (of foreground, for ``missed_lesions``), the share with a kept one that failed.
    """
    counted = {"missed_lesions": pl.col("mask_px") > 0, "risk": ~pl.col("review")}
    rows = decided.filter(counted.get(policy.target, pl.lit(True)))
    share = pl.col("review").mean() if policy.target == "review_rate" else kept_failures(policy.tau).any()
    of_patients = rows.group_by("cell", "patient", maintain_order=True).agg(share=share.cast(pl.Float64))
    if of_patients.is_empty():
        return UNDEFINED
    return bootstrap_mean(of_patients["share"].to_numpy(), of_patients["patient"].to_numpy(), draws=draws)


def kept_failures(tau: float) -> pl.Expr:
    """Return which decided images are kept with a Dice below tau; one that is not known is not below."""
    return (pl.col("dice") < tau).fill_null(False) & ~pl.col("review")


def describe_observed(at_most: float, observed: Interval) -> str:
    """Return in words whether the observed share keeps what was promised."""
    if math.isnan(observed.value):
        return "not observed"
    if observed.value <= at_most:
        return "within the promise"
    return "above the promise" if observed.low > at_most else "above the promise, which the interval includes"


@as_table
def undetected_harm_table(data: ReportData, deferrals: Deferrals) -> Iterator[Row]:
    """Yield undetected harm, deferral rate, rank correlation and detection under every attack at one budget."""
    for variant, decided in deferrals.decided.items():
        conditions = [CLEAN, *data.evaluated_conditions(variant, attacks_at_one_budget(data))]
        results = replace(data.results, records=decided)
        harm, reviewed, scores = (
            values_under(decided, variant, conditions, pl.col(name)) for name in ("undetected_harm", "review", SCORE)
        )
        harms, rates = (means_of(table, draws=data.draws) for table in (harm, reviewed))
        for column, condition in enumerate(conditions if len(conditions) > 1 else ()):
            before, after = scores.values[:, 0], scores.values[:, column]
            yield {
                "variant": variant,
                "condition": describe_condition(condition),
                "undetected": harms[column] if column else None,
                "deferral": rates[column],
                "correlation": rank_correlation(read_scores(results, variant, condition, SCORE), draws=data.draws),
                "detection": detection_auroc(before, after, scores.patients, draws=data.draws) if column else None,
                "trust": data.trust(variant, condition),
            }


def describe_deferral(data: ReportData, deferrals: Deferrals) -> list[str]:
    """Return, for each variant, what the policy lets pass clean and under the attack that gets most past it."""

    def passed(variant: str, condition: ConditionKey) -> str:
        shares = (deferrals.score(variant, condition, name).value for name in ("review_rate", "undetected_failures"))
        return "{:.0f} % sent to a human, {:.0f} % kept and failed".format(*(100 * share for share in shares))

    sentences = []
    for variant in deferrals.policies:
        attacks = [condition for condition in headline_conditions(data)[1:] if (variant, condition) in deferrals.scores]
        failed = {condition: deferrals.score(variant, condition, "undetected_failures").value for condition in attacks}
        text = f"{variant}: clean, {passed(variant, CLEAN)}"
        if worst := max(failed, key=lambda condition: failed[condition], default=None):
            text += f"; under {describe_condition(worst)}, {passed(variant, worst)}"
        sentences.append(f"{text}.")
    return sentences


def policy_limits(deferrals: Deferrals) -> Iterator[str]:
    """Yield which limits apply to the policies of a study, a sentence each."""
    policies = deferrals.all_policies()
    if not policies:
        yield "No deferral policy was fitted: how many cases a human would have to look at is not known."
        return
    yield (
        "Deferral promises something only for clean images of patients like those it was fitted on. Under attack, "
        "under shift or for another population the promise is void; the report shows what was measured there."
    )
    if (fewest := min(policy.patients for policy in policies)) < FEW_PATIENTS:
        yield f"A deferral policy was fitted on {fewest} patients only; its threshold may be far off."
    for threshold, effect in ((float("inf"), "reviews nothing"), (-float("inf"), "sends every image to a human")):
        if any(policy.threshold == threshold for policy in policies):
            yield f"A deferral policy could not be fitted and {effect}: see what it promises below."
