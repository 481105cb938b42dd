"""The metrics that compare a predicted mask with its reference, image by image, by their names in configurations."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from torch import Tensor

from trustseg.entries import Entry
from trustseg.metrics.lesions import lesion_f1
from trustseg.metrics.overlap import area_error, dice, iou, precision, sensitivity
from trustseg.metrics.surface import hausdorff_95, surface_dice

__all__ = ["METRICS", "MetricFacts"]


@dataclass(frozen=True, slots=True)
class MetricFacts:
    """Facts about a metric for tables and figures.

    Attributes:
        better: ``"higher"``, ``"lower"``, or ``"zero"`` where a value may err to both sides.
        unit: ``"share"``, or ``"px"`` of the square that images are resized to.
        bounds: between which its values lie, and so the interval of their mean.
    """

    better: Literal["higher", "lower", "zero"] = "higher"
    unit: Literal["share", "px"] = "share"
    bounds: tuple[float, float] = (0.0, 1.0)


_GIVEN: Final = frozenset({"spacing"})

METRICS: Final[Mapping[str, Entry[Tensor, MetricFacts]]] = {
    "dice": Entry(dice, "Dice", MetricFacts()),
    "iou": Entry(iou, "IoU", MetricFacts()),
    "sensitivity": Entry(sensitivity, "sensitivity", MetricFacts()),
    "precision": Entry(precision, "precision", MetricFacts()),
    "hausdorff_95": Entry(hausdorff_95, "HD95", MetricFacts("lower", "px", (0.0, math.inf)), _GIVEN),
    "surface_dice": Entry(surface_dice, "surface Dice", MetricFacts(), _GIVEN),
    "lesion_f1": Entry(lesion_f1, "lesion F1", MetricFacts()),
    "area_error": Entry(area_error, "area error", MetricFacts("zero", bounds=(-1.0, math.inf))),
}
"""Functions of hard masks (B, 1, H, W) and references, NaN where ignored, that return (B,), NaN where undefined."""
