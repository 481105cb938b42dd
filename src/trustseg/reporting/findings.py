"""What a careful reader must not miss: where models fail, what weakens the numbers, and what is intended."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

import polars as pl

from trustseg.entries import name_in
from trustseg.reporting.cell_tables import at
from trustseg.reporting.cells import FinishedCell, section
from trustseg.reporting.checks import MARK, failed_checks
from trustseg.reporting.deferral import Deferrals, describe_aim, describe_observed, headline_conditions, kept_failures
from trustseg.reporting.differences import compare_values
from trustseg.reporting.labels import (
    CLEAN,
    ConditionKey,
    attack_entries,
    describe_attack,
    describe_condition,
    describe_eps,
    is_l2,
)
from trustseg.reporting.overview import interval_scope
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.results import is_generated
from trustseg.statistics import FEW_PATIENTS, Interval

__all__ = ["find_caveats", "strongest_facts", "use_and_population"]

FEW_TRAININGS: Final = 3  # fewer seeds than this say next to nothing of how much trainings differ
_FAILS: Final = "The deferral policy fails"
_UNSTATED: Final = "Not stated (report.intended_use). Research use: no decision on a patient may rest on these models."
# A rise of mean Dice under a stronger attack that noise of the attack does not explain (robustness checks S2 and S4).
_RISE: Final = 0.005
# Dice under FGSM minus Dice under PGD, beyond that of models without adversarial training, from which one-step training
# has learnt to beat one step only (catastrophic overfitting: Wong et al., "Fast is better than free", ICLR 2020,
# arXiv:2001.03994; the number is ours).
_COLLAPSE: Final = 0.15


def find_caveats(data: ReportData) -> list[str]:
    """Return one sentence for each thing that weakens the numbers of a report; an empty list when nothing was found."""
    checks = (
        _missing_runs,
        _identical,
        _small_samples,
        _other_sources,
        _rising_dice,
        _weak_pgd,
        _overfitting,
        _budgets,
    )
    return [*(sentence for check in checks for sentence in check(data)), *data.results.notes]


def _missing_runs(data: ReportData) -> Iterator[str]:
    for variant, reason in failed_checks(data.checks).items():
        yield f"{variant}: every robustness number is {MARK}; checks that failed: {reason}."
    if missing := len(data.results.missing):
        total = missing + len(data.results.cells)
        yield f"{missing} of {total} runs are missing; the numbers rest on the finished ones only."


def _identical(data: ReportData) -> Iterator[str]:
    """Name variants that do not differ, as where training ends before the first adversarial example."""
    for item in data.differences:
        if item.condition == CLEAN and item.metric == "dice" and item.verdict == "identical":
            yield (
                f"{item.variant} and {item.baseline} have the same Dice in every image: what should tell them apart "
                "had no effect, for example if adversarial.warmup_epochs is not below training.epochs."
            )


def _small_samples(data: ReportData) -> Iterator[str]:
    results = data.results
    patients = results.records["patient"].n_unique()
    if patients < FEW_PATIENTS:
        yield f"Only {patients} patients were tested; with fewer than {FEW_PATIENTS} the intervals are too narrow."
    elif doubtful := [
        variant
        for variant in results.variants
        if any(data.score(variant, CLEAN, metric).warning for metric in ("dice", "iou"))
    ]:
        yield f"A few patients decide the Dice of {', '.join(doubtful)}; its intervals may cover less than 95 %."
    single = [variant for variant in results.variants if not results.is_mixture(variant)]
    seeds = {variant: len({cell.seed for cell in results.cells_of(variant)}) for variant in single}
    if few := [variant for variant, count in seeds.items() if count < FEW_TRAININGS]:
        who = "every variant" if len(few) == len(seeds) else ", ".join(few)
        yield f"Fewer than {FEW_TRAININGS} seeds for {who}: how much trainings differ is hardly known, or not at all."


def _other_sources(data: ReportData) -> Iterator[str]:
    images = data.results.records.group_by("variant").agg(pl.col("image").unique().sort())["image"]
    if len({tuple(names) for names in images}) > 1:
        yield "The variants were not tested on the same images; compare them by the paired differences only."
    cells = data.results.cells
    if len({cell.provenance.data.digest for cell in cells}) > 1:
        yield "The runs saw different data (their data digests differ); they should not be compared."
    if len({cell.provenance.commit for cell in cells}) > 1:
        yield "The runs come from different commits of the code."
    if any(cell.provenance.dirty for cell in cells):
        yield "Some runs used code with changes that were not committed; they cannot be repeated from the commit alone."


def _rising_dice(data: ReportData) -> Iterator[str]:
    for variant in data.results.variants:
        for attack in data.attacks:
            for smaller, larger in pairwise(data.evaluated_conditions(variant, data.curve(attack))):
                before, after = (data.score(variant, condition, "dice").value for condition in (smaller, larger))
                if after > before + _RISE:
                    yield (
                        f"{variant}: Dice rises from {before:.3f} ({describe_condition(smaller)}) to {after:.3f} "
                        f"({describe_condition(larger)}); the attack may have failed."
                    )


def _weak_pgd(data: ReportData) -> Iterator[str]:
    """Compare FGSM with PGD, which shows masked gradients and catastrophic overfitting."""
    usual: dict[tuple[str, float], float] = {}  # head and budget -> gap without adversarial training
    pairs = {variant: _fgsm_and_pgd(data, variant) for variant in data.results.variants}
    cells = {variant: data.results.cells_of(variant)[0] for variant in pairs}
    for variant, cell in cells.items():
        if cell.selection == "none":
            for eps, (single, iterated) in pairs[variant].items():
                usual[cell.head, eps] = max(usual.get((cell.head, eps), 0.0), single - iterated)
    for variant, cell in cells.items():
        attack, collapsed = _single_step_attack(cell), []
        for eps, (single, iterated) in pairs[variant].items():
            if iterated > single + _RISE:
                yield (
                    f"{variant}: PGD is weaker than one-step FGSM at {describe_eps(('pgd', eps))} "
                    f"({iterated:.3f} against {single:.3f}); a sign of masked gradients."
                )
            if attack and single - iterated > usual.get((cell.head, eps), 0.0) + _COLLAPSE:
                collapsed.append((single - iterated, eps))
        if collapsed:
            gap, eps = max(collapsed)
            yield (
                f"{variant}: trained with one-step {describe_attack(attack)}, Dice under FGSM is {gap:.3f} above "
                f"Dice under PGD at {describe_eps(('pgd', eps))}; a sign of catastrophic overfitting."
            )


def _fgsm_and_pgd(data: ReportData, variant: str) -> dict[float, tuple[float, float]]:
    found = {}
    for eps in data.attacks.get("pgd", ()):
        conditions = data.evaluated_conditions(variant, [("fgsm", eps), ("pgd", eps)])
        if len(conditions) == 2:
            single, iterated = (data.score(variant, condition, "dice").value for condition in conditions)
            found[eps] = (single, iterated)
    return found


def _single_step_attack(cell: FinishedCell) -> str:
    attack = name_in(str(section(cell.settings, "adversarial").get("attack", "")))
    entry = attack_entries().get(attack)
    return attack if cell.selection != "none" and entry is not None and entry.facts.single_step else ""


def _overfitting(data: ReportData) -> Iterator[str]:
    for variant in data.results.variants:
        cells = data.results.cells_of(variant)
        if found := [cell for cell in cells if cell.done.catastrophic_overfitting]:
            epochs = ", ".join(str(epoch + 1) for epoch in found[0].done.catastrophic_overfitting)
            yield (
                f"{variant}: catastrophic overfitting was seen in {len(found)} of {len(cells)} trainings, on "
                f"validation images under one and two steps of the attack; first in {found[0].id}, in epochs {epochs}."
            )


def _budgets(data: ReportData) -> Iterator[str]:
    records = data.results.records
    if "linf" not in records.columns:
        return
    beyond = records.filter(pl.col("kind") == "attack", pl.col("linf") > pl.col("eps") + 1e-6)
    for (attack,), rows in beyond.group_by("condition", maintain_order=True):
        if not is_l2(str(attack)):
            name = describe_attack(str(attack))
            yield f"{name} left its L-infinity budget on {len(rows)} images; its numbers are void."


def strongest_facts(data: ReportData, deferrals: Deferrals) -> list[str]:
    """Return the facts that a reader must not miss, a sentence each, failures of the policy first.

    With deferral policies: under which shift and which attack most failures are kept, and whether the promise on
    unchanged images was kept. Without: which shift and which attack costs most Dice.
    """
    shifts = data.results.records.filter(pl.col("kind") == "shift")["condition"].unique(maintain_order=True)
    groups = {"shift": [(str(name), 0.0) for name in shifts], "attack": headline_conditions(data)[1:]}
    if not deferrals.policies:
        return list(_largest_falls(data, groups))
    kept = sorted(_kept_failures(groups, deferrals, data.draws), key=lambda text: not text.startswith(_FAILS))
    return [*kept, *_policy_promises(data, deferrals)]


def _kept_failures(groups: Mapping[str, Sequence[ConditionKey]], deferrals: Deferrals, draws: int) -> Iterator[str]:
    """Yield, for the shifts and the attacks, where most failures are kept, and whether more than on the unchanged."""
    kept = {place: scores["undetected_failures"] for place, scores in deferrals.scores.items()}
    for kind, conditions in groups.items():
        found = {place: value for place, value in kept.items() if place[1] in conditions}
        if not found:
            yield f"No {kind} was measured: how many failures the deferral policy would miss is not known."
            continue
        added = {}
        for variant, condition in found:
            decided = deferrals.decided[variant]
            failed = kept_failures(deferrals.first_policy(variant).tau).cast(pl.Float64)
            changed, unchanged = (decided.filter(at(place)).with_columns(value=failed) for place in (condition, CLEAN))
            added[variant, condition] = compare_values(changed, unchanged, draws=draws)
        clearly = [place for place in found if added[place].interval.low > 0]
        variant, condition = worst = max(clearly or found, key=lambda place: found[place].value)
        clean = kept[variant, CLEAN]
        shares = [f"{100 * value.value:.0f}" for (_, other), value in found.items() if other == condition]
        low, high = min(shares, key=float), max(shares, key=float)
        span = f"; {low} to {high} % over the variants" if low != high else ""
        share = f"{_percent(found[worst])} of the images fail and no human is asked"
        trainings = added[worst].trainings
        covers = f", over patients and {trainings} trainings" if trainings > 1 else ""
        points = _percent(added[worst].interval).replace(" %", " points")
        difference = f"on the same images {points} more{covers}"
        if clearly:
            yield (
                f"{_FAILS} under {describe_condition(condition)}: {share}, against {_percent(clean)} "
                f"of the unchanged images; {difference} ({variant}{span})."
            )
        else:
            yield (
                f"Under no measured {kind} does the policy clearly miss more failures than on unchanged images. "
                f"The largest share is under {describe_condition(condition)}: {share}, against {_percent(clean)}; "
                f"{difference} ({variant})."
            )


def _policy_promises(data: ReportData, deferrals: Deferrals) -> Iterator[str]:
    """Yield, for each aim, what came out on unchanged images where it applies: the variant furthest above it."""
    found: dict[str, dict[str, Interval]] = {}
    bounds: dict[str, float] = {}
    for variant in deferrals.policies:
        policy = deferrals.first_policy(variant)
        if (variant, CLEAN) in deferrals.observed and deferrals.applies(variant, CLEAN):
            words = describe_aim(policy.target, policy.at_most, name=data.results.target)
            found.setdefault(words, {})[variant] = deferrals.observed[variant, CLEAN]
            bounds[words] = policy.at_most
    for words, observed in found.items():
        variant = max(observed, key=lambda name: observed[name].value)
        above = sum(value.low > bounds[words] for value in observed.values())
        several = f"; clearly above it for {above} of {len(observed)} variants" if len(observed) > 1 else ""
        outcome = describe_observed(bounds[words], observed[variant])
        yield (
            f"Promised for unchanged images: {words}. Observed: {'up to ' if several else ''}"
            f"{_percent(observed[variant])} ({variant}), {outcome}{several}."
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
    results, report_settings = data.results, data.results.report_settings
    images, patients = (results.records[name].n_unique() for name in ("image", "patient"))
    positive = results.records.filter(pl.col("mask_px") > 0)["image"].n_unique()
    source = report_settings.population or (
        "Generated images, of no real patient." if is_generated(results) else "Source not stated (report.population)."
    )
    whose = "invented patients" if is_generated(results) else "patients"
    counted = f"{images} test images of {patients} {whose}, {positive} of them with {results.target}."
    return [
        ("Intended use", [report_settings.intended_use or _UNSTATED]),
        ("Population", [f"{source} {counted}"]),
        ("Limits", [interval_scope(data), *limits]),
    ]
