"""The one-minute summary: where models and policies fail, and what they are intended for."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import polars as pl

from trustseg.reporting.cell_tables import at
from trustseg.reporting.deferral import Deferrals, aim, headline_conditions, kept_promise
from trustseg.reporting.labels import CLEAN, ConditionKey, describe_condition
from trustseg.reporting.overview import covered
from trustseg.reporting.paired_scores import compare_values
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.results import is_generated
from trustseg.statistics import Comparison, Interval

__all__ = ["strongest_facts", "use_and_population"]

_FAILS: Final = "The deferral policy fails"
_UNSTATED: Final = "Not stated (report.intended_use). Research use: no decision on a patient may rest on these models."


def strongest_facts(data: ReportData, deferrals: Deferrals, *, draws: int = 2000) -> list[str]:
    """Return the facts that a reader must not miss, a sentence each, failures of the policy first.

    With deferral policies: under which shift and which attack most failures are kept, and whether the promise on
    unchanged images was kept. Without: which shift and which attack costs most Dice.
    """
    groups = {"shift": _shifts(data), "attack": headline_conditions(data)[1:]}
    if deferrals.policies:
        return [
            *sorted(_worst_kept(groups, deferrals, draws), key=lambda text: not text.startswith(_FAILS)),
            *_promises(data, deferrals),
        ]
    return list(_largest_falls(data, groups))


def _shifts(data: ReportData) -> list[ConditionKey]:
    rows = data.results.records.filter(pl.col("kind") == "shift")
    return [(str(name), 0.0) for name in rows["condition"].unique(maintain_order=True)]


def _worst_kept(groups: Mapping[str, Sequence[ConditionKey]], deferrals: Deferrals, draws: int) -> Iterator[str]:
    """Yield, for the shifts and the attacks, where most failures are kept, and whether more than on the unchanged."""
    kept = {place: scores["undetected_failures"] for place, scores in deferrals.scores.items()}
    for kind, conditions in groups.items():
        found = {place: value for place, value in kept.items() if place[1] in conditions}
        if not found:
            yield f"No {kind} was measured: what the deferral policy lets pass under one is not known."
            continue
        added = {place: _added_failures(deferrals, *place, draws) for place in found}
        clearly = [place for place in found if added[place].interval.low > 0]
        variant, condition = worst = max(clearly or found, key=lambda place: found[place].value)
        clean = kept[variant, CLEAN]
        others = [value.value for (_, other), value in found.items() if other == condition]
        share = f"{_percent(found[worst])} of the images fail and no human is asked"
        difference = f"on the same images {_more(added[worst])}"
        if clearly:
            yield (
                f"{_FAILS} under {describe_condition(condition)}: {share}, against {_percent(clean)} "
                f"of the unchanged images; {difference} ({variant}{_range(others)})."
            )
        else:
            yield (
                f"No {kind} measured clearly lets more failures through than unchanged images do. The largest share is "
                f"under {describe_condition(condition)}: {share}, against {_percent(clean)}; {difference} ({variant})."
            )


def _added_failures(deferrals: Deferrals, variant: str, condition: ConditionKey, draws: int) -> Comparison:
    """Return the share of images that fail unseen under a condition minus that of the same images unchanged."""
    decided = deferrals.decided[variant]
    tau = next(iter(deferrals.policies[variant].values())).tau
    failed = ((pl.col("dice") < tau).fill_null(False) & ~pl.col("review")).cast(pl.Float64)  # NaN is not below
    changed, clean = (decided.filter(at(place)).with_columns(value=failed) for place in (condition, CLEAN))
    return compare_values(changed, clean, draws=draws)


def _more(added: Comparison) -> str:
    """Return a difference of shares in points, and what its interval covers if that is not patients alone."""
    covers = f", over patients and {added.trainings} trainings" if added.trainings > 1 else ""
    return f"{_percent(added.interval).replace(' %', ' points')} more{covers}"


def _range(shares: Sequence[float]) -> str:
    low, high = (f"{100 * share:.0f}" for share in (min(shares), max(shares)))
    return f"; {low} to {high} % over the variants" if low != high else ""


def _promises(data: ReportData, deferrals: Deferrals) -> Iterator[str]:
    """Yield, for each aim, what came out on unchanged images where it applies: the variant furthest above it."""
    found: dict[str, dict[str, Interval]] = {}
    bounds: dict[str, float] = {}
    for variant, policies in deferrals.policies.items():
        policy = next(iter(policies.values()))
        if (variant, CLEAN) in deferrals.observed and deferrals.applies(variant, CLEAN):
            words = aim(policy.target, policy.at_most, name=data.results.target)
            found.setdefault(words, {})[variant] = deferrals.observed[variant, CLEAN]
            bounds[words] = policy.at_most
    for words, observed in found.items():
        variant = max(observed, key=lambda name: observed[name].value)
        above = sum(value.low > bounds[words] for value in observed.values())
        several = f"; clearly above it for {above} of {len(observed)} variants" if len(observed) > 1 else ""
        yield (
            f"Promised for unchanged images: {words}. Observed: {'up to ' if several else ''}"
            f"{_percent(observed[variant])} ({variant}), {kept_promise(bounds[words], observed[variant])}{several}."
        )


def _largest_falls(data: ReportData, groups: Mapping[str, Sequence[ConditionKey]]) -> Iterator[str]:
    records = data.results.records.filter(pl.col("mask_px") > 0)
    means = records.group_by("variant", "condition", pl.col("eps").round(7)).agg(pl.col("dice").fill_nan(None).mean())
    dice = {(variant, (name, eps)): value for variant, name, eps, value in means.iter_rows() if value is not None}
    for kind, conditions in groups.items():
        falls = {
            (variant, condition): dice[variant, CLEAN] - value
            for (variant, condition), value in dice.items()
            if condition in conditions and (variant, CLEAN) in dice
        }
        if falls:
            variant, condition = max(falls, key=lambda place: falls[place])
            yield (
                f"The {kind} that costs most is {describe_condition(condition)}: mean Dice falls from "
                f"{dice[variant, CLEAN]:.2f} to {dice[variant, condition]:.2f} ({variant})."
            )
        else:
            yield f"No {kind} was measured: how the models stand one is not known."


def _percent(share: Interval) -> str:
    ends = "no interval" if math.isnan(share.low) else f"{100 * share.low:.0f}, {100 * share.high:.0f}"
    return f"{100 * share.value:.0f} % [{ends}]"


def use_and_population(data: ReportData, limits: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return what the models are meant for, whose images were tested, and which limits apply."""
    results, wording = data.results, data.results.wording
    images, patients = (results.records[name].n_unique() for name in ("image", "patient"))
    positive = results.records.filter(pl.col("mask_px") > 0)["image"].n_unique()
    source = wording.population or (
        "Generated images, of no real patient." if is_generated(results) else "Source not stated (report.population)."
    )
    whose = "invented patients" if is_generated(results) else "patients"
    counted = f"{images} test images of {patients} {whose}, {positive} of them with {results.target}."
    return [
        ("Intended use", [wording.intended_use or _UNSTATED]),
        ("Population", [f"{source} {counted}"]),
        ("Limits", [covered(data), *limits]),
    ]
