"""Cautions of a careful reader, stated on the first screen of a report."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Final

import polars as pl

from trustseg.entries import name_in
from trustseg.reporting.cells import FinishedCell
from trustseg.reporting.checks import MARK, failures
from trustseg.reporting.labels import (
    CLEAN,
    attack_entries,
    describe_attack,
    describe_condition,
    describe_eps,
    is_l2,
)
from trustseg.reporting.report_data import FEW_TRAININGS, ReportData
from trustseg.statistics import FEW_PATIENTS

__all__ = ["find_caveats"]

# A rise of mean Dice under a stronger attack that noise of the attack does not explain (robustness checks S2 and S4).
_RISE: Final = 0.005
# Dice under FGSM minus Dice under PGD beyond which one-step training has learnt to beat one step only (catastrophic
# overfitting: Wong et al., "Fast is better than free", ICLR 2020, arXiv:2001.03994; the number is ours).
_COLLAPSE: Final = 0.15


def find_caveats(data: ReportData) -> list[str]:
    """Return one sentence for each thing that weakens the numbers of a report; an empty list when nothing was found."""
    checks = (_masking, _missing, _few, _image_sets, _data, _rises, _one_step, _overfitted, _budget)
    return [*(sentence for check in checks for sentence in check(data)), *data.results.notes]


def _masking(data: ReportData) -> Iterator[str]:
    for variant, reason in failures(data.checks).items():
        yield f"{variant}: every robustness number is {MARK}; checks that failed: {reason}."


def _missing(data: ReportData) -> Iterator[str]:
    results = data.results
    if results.missing:
        total = len(results.missing) + len(results.cells)
        yield f"{len(results.missing)} of {total} runs are missing; the numbers rest on the finished ones only."


def _few(data: ReportData) -> Iterator[str]:
    results = data.results
    patients = results.records["patient"].n_unique()
    if patients < FEW_PATIENTS:
        yield f"Only {patients} patients were tested; with fewer than {FEW_PATIENTS} the intervals are too narrow."
    elif doubtful := [
        variant
        for variant in results.variants
        if any(found.warning for found in data.robustness.get((variant, CLEAN), {}).values())
    ]:
        yield f"A few patients decide the Dice of {', '.join(doubtful)}; its intervals may cover less than 95 %."
    single = [variant for variant in results.variants if not results.is_mixture(variant)]
    seeds = {variant: len({cell.seed for cell in results.cells_of(variant)}) for variant in single}
    if few := [variant for variant, count in seeds.items() if count < FEW_TRAININGS]:
        who = "every variant" if len(few) == len(seeds) else ", ".join(few)
        yield f"Fewer than {FEW_TRAININGS} seeds for {who}: how much trainings differ is hardly known, or not at all."


def _image_sets(data: ReportData) -> Iterator[str]:
    images = data.results.records.group_by("variant").agg(pl.col("image").unique().sort())["image"]
    if len({tuple(names) for names in images}) > 1:
        yield "The variants were not tested on the same images; compare them by the paired differences only."


def _data(data: ReportData) -> Iterator[str]:
    cells = data.results.cells
    if len({cell.provenance.data.digest for cell in cells}) > 1:
        yield "The runs saw different data (their data digests differ); they should not be compared."
    if len({cell.provenance.commit for cell in cells}) > 1:
        yield "The runs come from different commits of the code."
    if any(cell.provenance.dirty for cell in cells):
        yield "Some runs used code with changes that were not committed; they cannot be repeated from the commit alone."


def _rises(data: ReportData) -> Iterator[str]:
    for variant in data.results.variants:
        for attack in data.choices.attacks:
            for smaller, larger in pairwise(data.evaluated(variant, data.choices.curve(attack))):
                before, after = (data.robustness[variant, condition]["dice"].value for condition in (smaller, larger))
                if after > before + _RISE:
                    yield (
                        f"{variant}: Dice rises from {before:.3f} ({describe_condition(smaller)}) to {after:.3f} "
                        f"({describe_condition(larger)}); the attack may have failed."
                    )


def _one_step(data: ReportData) -> Iterator[str]:
    """Compare FGSM with PGD, which shows masked gradients and catastrophic overfitting."""
    for variant in data.results.variants:
        gaps = {}
        for eps in data.choices.attacks.get("pgd", ()):
            fgsm, pgd = (data.robustness.get((variant, (name, eps))) for name in ("fgsm", "pgd"))
            if not fgsm or not pgd:
                continue
            single, iterated = fgsm["dice"].value, pgd["dice"].value
            gaps[eps] = single - iterated
            if iterated > single + _RISE:
                yield (
                    f"{variant}: PGD is weaker than one-step FGSM at {describe_eps(('pgd', eps))} "
                    f"({iterated:.3f} against {single:.3f}); a sign of masked gradients."
                )
        attack = _single_step_attack(data.results.cells_of(variant)[0])
        eps = max(gaps, key=lambda eps: gaps[eps], default=0.0)
        if attack and gaps.get(eps, 0.0) > _COLLAPSE:
            yield (
                f"{variant}: trained with one-step {describe_attack(attack)}, Dice under FGSM is {gaps[eps]:.3f} above "
                f"Dice under PGD at {describe_eps(('pgd', eps))}; a sign of catastrophic overfitting."
            )


def _single_step_attack(cell: FinishedCell) -> str:
    """Return the single-step attack a cell was trained with, empty if there was none."""
    section = cell.settings.get("adversarial")
    attack = name_in(str(section.get("attack", ""))) if isinstance(section, Mapping) else ""
    entry = attack_entries().get(attack)
    return attack if cell.selection != "none" and entry is not None and entry.facts.single_step else ""


def _overfitted(data: ReportData) -> Iterator[str]:
    for variant in data.results.variants:
        cells = data.results.cells_of(variant)
        if found := [cell for cell in cells if cell.done.catastrophic_overfitting]:
            epochs = ", ".join(map(str, found[0].done.catastrophic_overfitting))
            yield (
                f"{variant}: catastrophic overfitting was seen in {len(found)} of {len(cells)} trainings, on "
                f"validation images under one and two steps of the attack; first in {found[0].id}, in epochs {epochs}."
            )


def _budget(data: ReportData) -> Iterator[str]:
    records = data.results.records
    if "linf" not in records.columns:
        return
    beyond = records.filter(pl.col("kind") == "attack", pl.col("linf") > pl.col("eps") + 1e-6)
    for (attack,), rows in beyond.group_by("condition", maintain_order=True):
        if not is_l2(str(attack)):
            name = describe_attack(str(attack))
            yield f"{name} left its L-infinity budget on {len(rows)} images; its numbers are void."
