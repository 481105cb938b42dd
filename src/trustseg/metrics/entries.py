"""The metrics by their names in configurations, records and reports, each with what a report needs to know of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from trustseg.entries import Entry
from trustseg.metrics.counts import (
    auroc_from_counts,
    average_precision_from_counts,
    calibration_error_from_counts,
    dice_terms,
    fpr_at_tpr_from_counts,
    iou_terms,
)
from trustseg.metrics.lesions import lesion_f1
from trustseg.metrics.overlap import area_error, dice, iou, precision, sensitivity
from trustseg.metrics.ranking import augrc_from_counts, aurc_from_counts, ause_from_counts, nause_from_counts
from trustseg.metrics.robustness import undetected_harm
from trustseg.metrics.surface import hausdorff_95, surface_dice

__all__ = ["METRICS", "Kind", "MetricFacts", "metrics_of"]

Kind = Literal["image", "pooled", "pixel_ranking", "image_ranking", "calibration", "detection", "decision"]
Shown = Literal["table", "summary", "compared"]  # each in the places of the former, too


@dataclass(frozen=True, slots=True)
class MetricFacts:
    """Facts about a metric for tables, figures, hypotheses and verdicts.

    Attributes:
        better: ``"higher"``, ``"lower"``, or ``"zero"`` where a value may err to both sides.
        unit: ``"share"``, or ``"px"`` of the square that images are resized to.
        bounds: between which its values lie, and so the interval of their mean.
        kind: what the function takes. ``"image"``: hard masks and references, one value per image. ``"pooled"``:
            pixels of intersection, prediction and reference, to a numerator and a denominator that are summed over
            images. ``"pixel_ranking"``, ``"image_ranking"``: counts and errors of blocks, the surest first.
            ``"calibration"``: pixels, sum p and sum y of each bin. ``"detection"``: counts and positives of blocks of
            rising scores. ``"decision"``: what a deferral policy decided.
        error: of a ranking of pixels: ``"wrong"`` or ``"brier"``, as in the streaming metrics.
        shown: ``"table"``: in the tables of its kind alone. ``"summary"``: on the first screen of a report, too.
            ``"compared"``: in the differences between variants and their verdicts as well.
        takes_bool: of images: whether references may be bool, which need no check; otherwise they are float32.
    """

    better: Literal["higher", "lower", "zero"] = "higher"
    unit: Literal["share", "px"] = "share"
    bounds: tuple[float, float] = (0.0, 1.0)
    kind: Kind = "image"
    error: Literal["wrong", "brier"] = "wrong"
    shown: Shown = "table"
    takes_bool: bool = False


_GIVEN: Final = frozenset({"spacing"})
_ORACLE: Final = frozenset({"oracle"})
_RULES: Final = frozenset({"threshold", "drop", "false_alarm"})

METRICS: Final[Mapping[str, Entry[Any, MetricFacts]]] = {
    "dice": Entry(dice, "Dice", MetricFacts(shown="compared", takes_bool=True)),
    "pooled_dice": Entry(dice_terms, "pooled Dice", MetricFacts(kind="pooled", shown="summary")),
    "iou": Entry(iou, "IoU", MetricFacts(shown="summary", takes_bool=True)),
    "pooled_iou": Entry(iou_terms, "pooled IoU", MetricFacts(kind="pooled")),
    "sensitivity": Entry(sensitivity, "sensitivity", MetricFacts(takes_bool=True)),
    "precision": Entry(precision, "precision", MetricFacts(takes_bool=True)),
    "hausdorff_95": Entry(hausdorff_95, "HD95", MetricFacts("lower", "px", (0.0, math.inf), takes_bool=True), _GIVEN),
    "surface_dice": Entry(surface_dice, "surface Dice", MetricFacts(takes_bool=True), _GIVEN),
    "lesion_f1": Entry(lesion_f1, "lesion F1", MetricFacts(takes_bool=True)),
    "area_error": Entry(area_error, "area error", MetricFacts("zero", bounds=(-1.0, math.inf), takes_bool=True)),
    "ause": Entry(ause_from_counts, "AUSE", MetricFacts("lower", kind="pixel_ranking", shown="summary"), _ORACLE),
    "ause_brier": Entry(
        ause_from_counts, "AUSE, Brier", MetricFacts("lower", kind="pixel_ranking", error="brier"), _ORACLE
    ),
    "nause": Entry(nause_from_counts, "nAUSE", MetricFacts("lower", kind="pixel_ranking", shown="compared"), _ORACLE),
    "aurc": Entry(aurc_from_counts, "AURC", MetricFacts("lower", kind="image_ranking", shown="compared")),
    "augrc": Entry(augrc_from_counts, "AUGRC", MetricFacts("lower", kind="image_ranking")),
    "ece": Entry(calibration_error_from_counts, "ECE", MetricFacts("lower", kind="calibration", shown="compared")),
    "auroc": Entry(auroc_from_counts, "AUROC", MetricFacts(kind="detection")),
    "aupr": Entry(average_precision_from_counts, "AUPR", MetricFacts(kind="detection")),
    "fpr95": Entry(fpr_at_tpr_from_counts, "FPR95", MetricFacts("lower", kind="detection"), frozenset({"tpr"})),
    "undetected_harm": Entry(
        undetected_harm, "share of undetected harm", MetricFacts("lower", kind="decision"), _RULES
    ),
}
"""Metrics in the order of their columns; undefined is NaN. ``kind`` says what each function takes."""


def metrics_of(*kinds: Kind, least: Shown = "table") -> dict[str, Entry[Any, MetricFacts]]:
    """Return the metrics of some kinds, or of all, that are shown in such a place at least, in order.

    Example:
        >>> [*metrics_of("image_ranking")], [*metrics_of(least="compared")]
        (['aurc', 'augrc'], ['dice', 'nause', 'aurc', 'ece'])
    """
    places = get_args(Shown)[get_args(Shown).index(least) :]
    found = {name: entry for name, entry in METRICS.items() if not kinds or entry.facts.kind in kinds}
    return {name: entry for name, entry in found.items() if entry.facts.shown in places}
