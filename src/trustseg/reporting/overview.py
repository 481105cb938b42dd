"""The table of the first screen, its small form for a README, and the words on what their numbers rest on."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

import polars as pl

from trustseg.reporting.checks import trust
from trustseg.reporting.choices import describe_condition, words
from trustseg.reporting.image_scores import UNDEFINED
from trustseg.reporting.report_data import Metric, ReportData
from trustseg.reporting.tables import Column, Table, Value

__all__ = ["basis", "compact", "first_screen", "summary"]

_EVIDENCE: Final = ("mutual_information", "vacuity", "epistemic_variance")
_CLEAN: Final = ("clean", 0.0)
_METRICS: Final[tuple[Metric, ...]] = ("dice", "pooled_dice", "iou", "ause", "nause", "aurc", "ece")
_ATTACKED: Final = ("robust_dice", "worst_dice")


def summary(evidence: ReportData) -> Table:
    """Return one row per variant: Dice clean and attacked; ranking, selective risk, calibration clean.

    All variants are ranked by one measure; those whose records hold a measure of evidence get its nAUSE beside it.
    """
    attacked = dict(zip(_ATTACKED, evidence.choices.conditions[1:], strict=False))
    informed = _evidence_measures(evidence)
    native = any("dice_native" in found for found in evidence.scores.values())
    columns = (
        Column("variant", "Variant"),
        Column("images", "Images with foreground"),
        Column("dice", "Dice per image"),
        *([Column("dice_native", "Dice at native size")] if native else []),
        Column("pooled_dice", "Dice pooled"),
        Column("iou", "IoU per image"),
        *(Column(key, f"Dice, {describe_condition(*place)}") for key, place in attacked.items()),
        *([Column("trust", "Numbers under attack")] if evidence.checks else []),
        Column("ause", "pixel AUSE ↓"),
        Column("nause", "pixel nAUSE ↓"),
        *(Column(f"nause_{name}", f"pixel nAUSE ({words(name)}) ↓") for name in dict.fromkeys(informed.values())),
        Column("aurc", "image AURC ↓"),
        Column("ece", "ECE ↓"),
    )
    rows: list[dict[str, Value]] = []
    for variant in evidence.results.variants:
        row: dict[str, Value] = {"variant": variant, "images": evidence.score(variant, _CLEAN, "dice").count}
        row |= {metric: evidence.score(variant, _CLEAN, metric) for metric in _METRICS}
        row["dice_native"] = evidence.score(variant, _CLEAN, "dice_native")
        row |= {key: evidence.score(variant, place, "dice") for key, place in attacked.items()}
        row["trust"] = trust(evidence.checks, variant)
        row |= {f"nause_{name}": None for name in informed.values()}
        if name := informed.get(variant):
            row[f"nause_{name}"] = evidence.measures.get((variant, _CLEAN, name), {}).get("nause", UNDEFINED)
        rows.append(row)
    under = {f"{key}_under": describe_condition(*place) for key, place in attacked.items()}
    return Table("summary", f"Means. {basis(evidence)}", columns, tuple(rows), under)


def first_screen(evidence: ReportData) -> tuple[Table, Table]:
    """Return the summary as two tables that fit a page: the masks, and what the uncertainty is worth."""
    whole = summary(evidence)
    masks = {"variant", "dice", "dice_native", "pooled_dice", "iou", "trust", *_ATTACKED}
    trust = {column.key for column in whole.columns if column.key == "variant" or column.key not in {*masks, "images"}}
    return (
        whole.only(*masks, title=f"Segmentation. Means. {basis(evidence)}"),
        whole.only(*trust, title="Uncertainty, on unchanged images. Means, with the same intervals."),
    )


def compact(evidence: ReportData) -> Table:
    """Return the summary in few columns, for a README."""
    attacked = zip(_ATTACKED, evidence.choices.conditions[1:], strict=False)
    measures = {words(measure) for measure in evidence.choices.measures.values()}
    columns = (
        Column("variant", "Variant"),
        Column("dice", "Dice clean (per image)"),
        Column("pooled_dice", "Dice pooled"),
        *(Column(key, f"Dice {describe_condition(*place)}") for key, place in attacked),
        *([Column("trust", "Numbers under attack")] if evidence.checks else []),
        Column("nause", f"nAUSE ({' or '.join(sorted(measures))}) ↓" if measures else "nAUSE ↓"),
        Column("ece", "ECE ↓"),
    )
    return replace(summary(evidence), title=basis(evidence), columns=columns)


def basis(evidence: ReportData) -> str:
    """Return in words what the numbers rest on and what the brackets hold, for a caption."""
    results = evidence.results
    positive = results.records.filter(pl.col("mask_px") > 0)["image"].n_unique()
    images, patients = (results.records[name].n_unique() for name in ("image", "patient"))
    cells = [results.cells_of(variant) for variant in results.variants]
    folds = span_text(len({cell.fold for cell in found}) for found in cells)
    seeds = span_text(len({cell.seed for cell in found}) for found in cells)
    models = span_text(len(results.trainings_of(variant)) for variant in results.variants)
    scope = ", for these trained models" if any(item.tentative for item in evidence.differences) else ""
    sizes = results.records["size"].drop_nulls().unique().sort().to_list() if "size" in results.records.columns else []
    measured = f" Measured at {' and '.join(f'{size} x {size}' for size in sizes)} px." if sizes else ""
    return (
        f"{images} images of {patients} patients; per-image scores over the {positive} images with foreground. Folds: "
        f"{folds}, seeds: {seeds}, trained models behind each variant: {models}. In brackets: 95 % bootstrap interval "
        f"over patients{scope}; it does not cover how much trainings differ.{measured}"
    )


def span_text(counts: Iterable[int]) -> str:
    """Return the range of some counts.

    Example:
        >>> span_text([4, 4]), span_text([4, 3])
        ('4', '3 to 4')
    """
    found = sorted(set(counts))
    return " to ".join(str(count) for count in dict.fromkeys((found[0], found[-1])))


def _evidence_measures(evidence: ReportData) -> dict[str, str]:
    """Return the measure of evidence of each variant that has one."""
    held = {
        variant: [name for name in _EVIDENCE if name in found]
        for variant, found in evidence.choices.all_columns.items()
    }
    return {variant: names[0] for variant, names in held.items() if names}
