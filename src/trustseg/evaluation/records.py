"""Records: one row per image and condition."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Final

import polars as pl
import torch
from torch import Tensor

from trustseg.beliefs import Belief, Beta
from trustseg.config import EvaluationConfig
from trustseg.data.pack import GROUP
from trustseg.data.resizing import Area
from trustseg.entries import read
from trustseg.errors import BeliefError
from trustseg.evaluation.conditions import Condition, perturbation_size
from trustseg.evaluation.frames import areas_in, by_area, image_scores, native_dice, region_of
from trustseg.evaluation.pixels import PixelSums
from trustseg.losses import LOSSES
from trustseg.masks import compact
from trustseg.metrics import brier, metrics_of, overlap_counts
from trustseg.metrics.overlap import harm
from trustseg.records import metric_column, score_column
from trustseg.uncertainty import MEASURES

__all__ = ["REFERENCE", "TABLES", "TABLES_VERSION", "Recorder", "Tables"]

Tables = dict[str, pl.DataFrame]
TABLES: Final = ("records", "histograms", "calibration")
TABLES_VERSION: Final = 4
"""To be raised when a table gets another form or another meaning: tables of another version are measured again."""
REFERENCED: Final = ("mask_px", "intersection_px", "harm", "brier", "nll")
"""Columns that need a reference mask, as metrics do; metrics are undefined for a control, which has no foreground."""
REFERENCE: Final = (
    pl.when(pl.col("has_mask"))
    .then(pl.lit("mask"))
    .when(pl.col("split") == "control")
    .then(pl.lit("control"))
    .otherwise(pl.lit("none"))
)
"""What an image of a pack is compared with: its mask, as a declared control an empty one, or nothing at all."""


_KEPT: Final = 16  # batches whose rows are kept apart: a small frame takes a megabyte


class Recorder:
    """The three tables of one condition, written down batch after batch.

    Args:
        condition: under which the images are measured.
        config: measures (those the belief cannot give are left out), aggregations, and the score of the deferral.
        groups: groups of patients by which pixels are summed, each once.
        device: where the beliefs are.
    """

    def __init__(
        self, condition: Condition, config: EvaluationConfig, *, groups: Sequence[str], device: torch.device
    ) -> None:
        self._condition = condition
        self._config = config
        self._metrics = {metric_column(name): _metric(name) for name in ("dice", "iou", *config.metrics)}
        self._numbers = {group: number for number, group in enumerate(groups)}
        self._records: list[pl.DataFrame] = []
        self._pixels = PixelSums(groups, device)

    def add(
        self,
        belief: Belief,
        images: Tensor,
        masks: Tensor,
        cases: pl.DataFrame,
        *,
        changed: Tensor,
        covered: Tensor | None = None,
        native: Sequence[Tensor | None] | None = None,
    ) -> None:
        """Write a batch down.

        Args:
            belief: what the model believes of ``changed``.
            images: the clean images.
            cases: name, patient, group and reference of each image, B rows; with the columns of ``frame_columns``.
            changed: what the model saw (B, C, H, W).
            covered: of a shift, the share (B,) of each foreground that it hides.
            native: reference masks (H, W) at the size of the images themselves, NaN where ignored.
        """
        measures = self._config.measures
        maps = {name: MEASURES[name](belief) for name in measures if isinstance(belief, MEASURES[name].facts.given_by)}
        if not maps:
            raise BeliefError(
                f"a {type(belief).__name__} belief has none of {', '.join(measures) or 'no measures'}; add "
                f"one of {', '.join(belief.measures)} to evaluation.measures"
            )
        population, masks = self._condition.kind == "population", compact(masks)
        references, areas = cases["reference"].to_list(), areas_in(cases)
        known = [not population and each != "none" for each in references]
        columns = {
            **_compared(belief, changed - images, masks, known, region_of(areas, images), self._metrics),
            "dice_native": _native_dices(belief, native, areas),
            **_strengths(belief, areas),
            **_scores(belief, maps, self._config, areas),
            **({} if covered is None else {"covered": covered}),
        }
        records = cases.select(pl.col("name").alias("image"), "patient", pl.col(f"^{GROUP}.+$")).with_columns(
            pl.lit(self._condition.name).alias("condition"),
            pl.lit(self._condition.eps).alias("eps"),
            pl.lit(self._condition.kind).alias("kind"),
            pl.lit(self._condition.severity, dtype=pl.Int32).alias("severity"),
            cases["reference"],
            *_series(columns),
        )
        unknown = pl.lit(True) if population else pl.col("reference") == "none"
        undefined = unknown | (pl.col("reference") == "control")
        records = records.with_columns(
            *(pl.when(unknown).then(None).otherwise(name).alias(name) for name in REFERENCED),
            *(pl.when(undefined).then(None).otherwise(name).alias(name) for name in ("dice_native", *self._metrics)),
        )
        if not population:
            members = torch.tensor([self._numbers[group] for group in cases["group"]], device=masks.device)
            self._pixels.add(belief, maps, masks, members)
        self._records.append(records)
        if len(self._records) == _KEPT:
            self._records = [pl.concat(self._records, rechunk=True)]

    def tables(self) -> Tables:
        """Return the tables of all batches.

        ``records``: a row per image, with its subgroups (``group_NAME`` of the pack), the kind and severity of the
        condition, its ``reference`` (mask, control or none), the ``size`` in pixels of the square it was measured at,
        counts of pixels, ``dice``, ``iou``, ``harm``, a ``metric_<name>`` column for every other metric, Brier score
        and cross-entropy (means over pixels), the measured size of the perturbation, of clean images the Dice at their
        own size, median and 99th percentile of alpha + beta (null where there is none) and
        ``u_<measure>_<aggregation>`` columns. Ignored pixels do not count in what compares with a reference, padding
        nowhere. Metrics of a control are null: it has no foreground. Without a reference, and of another population,
        whatever needs one is null, and no pixel enters the other tables.
        ``histograms``: measure, group of patients, coarse bin of the uncertainty, pixels, wrong pixels, sum of squared
        errors. ``calibration``: region, group of patients, bin of p, pixels, sum of p, sum of the reference. The
        regions: all pixels, those within 5 px of the border of the reference mask, those of the mask.
        """
        known = self._condition.kind != "population"
        calibration = self._pixels.calibration(self._condition)
        return {
            "records": pl.concat(self._records),
            "histograms": self._pixels.histograms(self._condition),
            "calibration": calibration if known else calibration.clear(),
        }


def _metric(text: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the metric that a text names; unless it takes bool, it is given references as numbers."""
    entry, options = read(metrics_of("image"), text, kind="metric")
    metric = partial(entry, **options)
    return metric if entry.facts.takes_bool else lambda prediction, masks: metric(prediction, masks.float())


def _series(columns: Mapping[str, Tensor | None]) -> list[pl.Series]:
    """Return columns (B,) as they are kept, null where there is none; they leave the device together."""
    known = {name: values for name, values in columns.items() if values is not None}
    numbers = torch.stack([values.double() for values in known.values()]).cpu()  # a double holds any count of pixels
    copied = {
        name: (row if values.is_floating_point() else row.long()).numpy()
        for (name, values), row in zip(known.items(), numbers, strict=True)
    }
    nothing = [None] * numbers.shape[1]
    return [
        pl.Series(name, copied[name]) if name in copied else pl.Series(name, nothing, dtype=pl.Float64)
        for name in columns
    ]


def _compared(
    belief: Belief,
    change: Tensor,
    masks: Tensor,
    known: Sequence[bool],
    region: Tensor | None,
    metrics: Mapping[str, Callable[[Tensor, Tensor], Tensor]],
) -> dict[str, Tensor | None]:
    """Return what compares a prediction with its reference, and the size of the perturbation.

    Where the reference is not ``known`` (B,), all pixels of the image are counted, those of its region.
    """
    prediction = belief.log_odds > 0
    if not all(known):
        nothing = torch.zeros_like(masks) if region is None else torch.where(region, 0.0, torch.nan)
        masks = compact(torch.where(torch.tensor(known, device=masks.device).view(-1, 1, 1, 1), masks, nothing))
    nll = LOSSES["binary_cross_entropy"](belief, masks)
    counts = overlap_counts(prediction, masks)
    return {
        "size": torch.full_like(counts.pixels, masks.shape[-1]),
        "pixels": counts.pixels,
        "mask_px": counts.reference,
        "predicted_px": counts.predicted,
        "intersection_px": counts.intersection,
        **{column: metric(prediction, masks) for column, metric in metrics.items()},
        "harm": harm(prediction, masks),
        "brier": brier(belief.probability, masks),
        "nll": torch.where(counts.pixels > 0, nll, torch.nan),
        "linf": perturbation_size(change, norm="linf"),
        "l2": perturbation_size(change, norm="l2"),
    }


def _native_dices(
    belief: Belief, native: Sequence[Tensor | None] | None, areas: Sequence[Area] | None
) -> Tensor | None:
    """Return the Dice (B,) at the size of each image itself, NaN without a mask of that size."""
    if native is None:
        return None
    found = [
        math.nan if mask is None else native_dice(p[None], mask, None if areas is None else areas[row])
        for row, (p, mask) in enumerate(zip(belief.probability, native, strict=True))
    ]
    return torch.tensor(found, dtype=torch.float64, device=belief.log_odds.device)


def _strengths(belief: Belief, areas: Sequence[Area] | None) -> dict[str, Tensor | None]:
    """Return median and 99th percentile of alpha + beta over the pixels of each image: values that a pixel has.

    A model that holds out under attack with a far larger strength than others may only hide its gradients.
    """
    names = {"strength_median": 50, "strength_p99": 99}
    if not isinstance(belief, Beta):
        return dict.fromkeys(names)
    strength = belief.strength
    return {
        name: by_area(partial(_percentile, percent=percent), strength, areas=areas) for name, percent in names.items()
    }


def _percentile(maps: Tensor, *, percent: int) -> Tensor:
    """Return a percentile of the pixels of each image, (B,), a value that one of them has."""
    values = maps.flatten(1)
    return values.kthvalue(-(-percent * values.shape[1] // 100), dim=1).values  # rounded up


def _scores(
    belief: Belief, maps: dict[str, Tensor], config: EvaluationConfig, areas: Sequence[Area] | None
) -> dict[str, Tensor | None]:
    """Return the image scores of every measure and aggregation, none where the belief lacks the measure."""
    deferral, probability = config.deferral, belief.probability
    wanted = [*product(config.measures, config.aggregations)]
    wanted += [(measure, deferral.aggregation) for measure in (deferral.measure.bernoulli, deferral.measure.beta)]
    missing = {name for name, _ in wanted if isinstance(belief, MEASURES[name].facts.given_by)} - maps.keys()
    scored = maps | {name: MEASURES[name](belief) for name in missing}
    return {
        score_column(measure, name): image_scores(name, scored[measure], probability, areas)
        if measure in scored
        else None
        for measure, name in dict.fromkeys(wanted)
    }
