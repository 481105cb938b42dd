"""The one-minute summary: where models and policies fail, and what they are intended for."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import polars as pl

from trustseg.reporting.deferral import Deferrals, aim, headline_conditions, kept_promise
from trustseg.reporting.labels import CLEAN, ConditionKey, describe_condition
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.results import is_generated
from trustseg.statistics import Interval

__all__ = ["strongest_facts", "use_and_population"]

_FAILS: Final = "The deferral policy fails"
_UNSTATED: Final = "Not stated (report.intended_use). Research use: no decision on a patient may rest on these models."


def strongest_facts(data: ReportData, deferrals: Deferrals) -> list[str]:
    """Return the facts that a reader must not miss, a sentence each, failures of the policy first.

    With deferral policies: under which shift and which attack most failures are kept, and whether the promise on
    unchanged images was kept. Without: which shift and which attack costs most Dice.
    """
    groups = {"shift": _shifts(data), "attack": headline_conditions(data)[1:]}
    if deferrals.policies:
        kept = {place: scores["undetected_failures"] for place, scores in deferrals.scores.items()}
        return [
            *sorted(_worst_kept(groups, kept), key=lambda text: not text.startswith(_FAILS)),
            *_promises(data, deferrals),
        ]
    return list(_largest_falls(data, groups))


def _shifts(data: ReportData) -> list[ConditionKey]:
    rows = data.results.records.filter(pl.col("kind") == "shift")
    return [(str(name), 0.0) for name in rows["condition"].unique(maintain_order=True)]


def _worst_kept(
    groups: Mapping[str, Sequence[ConditionKey]], kept: Mapping[tuple[str, ConditionKey], Interval]
) -> Iterator[str]:
    for kind, conditions in groups.items():
        found = {place: value for place, value in kept.items() if place[1] in conditions}
        if not found:
            yield f"No {kind} was measured: what the deferral policy lets pass under one is not known."
            continue
        variant, condition = worst = max(found, key=lambda place: found[place].value)
        clean = kept[variant, CLEAN]
        others = [value.value for (_, other), value in found.items() if other == condition]
        share = f"{_percent(found[worst])} of the images fail and no human is asked"
        if found[worst].low > clean.high:
            yield (
                f"{_FAILS} under {describe_condition(condition)}: {share}, against {_percent(clean)} "
                f"of the unchanged images ({variant}{_range(others)})."
            )
        else:
            yield (
                f"No {kind} measured clearly lets more failures through than unchanged images do. The largest share is "
                f"under {describe_condition(condition)}: {share}, against {_percent(clean)} ({variant})."
            )


def _range(shares: Sequence[float]) -> str:
    return f"; {100 * min(shares):.0f} to {100 * max(shares):.0f} % over the variants" if len(shares) > 1 else ""


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
    low, high = 100 * share.low, 100 * share.high
    return f"{100 * share.value:.0f} % [{low:.0f}, {high:.0f}]"


def use_and_population(data: ReportData, limits: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return what the models are meant for, whose images were tested, and which limits apply."""
    results, wording = data.results, data.results.wording
    images, patients = (results.records[name].n_unique() for name in ("image", "patient"))
    positive = results.records.filter(pl.col("mask_px") > 0)["image"].n_unique()
    source = wording.population or (
        "Generated images, of no patient." if is_generated(results) else "Source not stated (report.population)."
    )
    counted = f"{images} test images of {patients} patients, {positive} of them with {results.target}."
    return [
        ("Intended use", [wording.intended_use or _UNSTATED]),
        ("Population", [f"{source} {counted}"]),
        ("Limits", list(limits)),
    ]
