"""What is written down of each image under each condition."""

from itertools import product
from typing import Final

import numpy as np
import polars as pl
import torch
from torch import Tensor

from trustseg.beliefs import Belief, Beta
from trustseg.config import EvaluationConfig
from trustseg.errors import BeliefError
from trustseg.evaluation.conditions import Condition, perturbation_size
from trustseg.losses import LOSSES
from trustseg.metrics import boundary_band, calibration_counts, dice, iou, overlap_counts
from trustseg.metrics.histograms import BINS, uncertainty_keys
from trustseg.metrics.overlap import harm
from trustseg.uncertainty import AGGREGATIONS, MEASURES

__all__ = ["TABLES", "Tables", "tables_of_batch"]

Tables = dict[str, pl.DataFrame]
TABLES: Final = ("records", "histograms", "calibration")
REGIONS: Final = ("whole", "boundary", "foreground")
REFERENCED: Final = ("mask_px", "intersection_px", "dice", "iou", "harm", "brier", "nll")
"""Columns that need a reference mask."""


def tables_of_batch(
    belief: Belief,
    images: Tensor,
    attacked: Tensor,
    masks: Tensor,
    cases: pl.DataFrame,
    *,
    condition: Condition,
    config: EvaluationConfig,
) -> Tables:
    """Return the three tables of one batch.

    Args:
        belief: what the model believes of ``attacked``.
        images: the clean images (B, C, H, W).
        attacked: what the model saw (B, C, H, W).
        masks: reference masks (B, 1, H, W) in {0, 1}.
        cases: name and patient of each image, B rows.
        condition: under which condition.
        config: measures (those the belief cannot give are left out), aggregations, and the score of the deferral.

    Returns:
        ``records``: a row an image, with the kind and severity of the condition, overlap (counts in pixels, Dice, IoU,
        harm), Brier score and cross-entropy (means over pixels), the measured size of the perturbation, median and
        99th percentile of alpha + beta (null where there is none) and ``u_<measure>_<aggregation>`` columns. Of another
        population nothing is known that needs a reference: these columns are null.
        ``histograms``: patient, measure, coarse bin of the uncertainty, pixels, wrong pixels, sum of squared errors.
        ``calibration``: region, patient, bin of p, pixels, sum of p, sum of the reference. The regions: all pixels,
        those within 5 px of the border of the reference mask, those of the mask.

    Raises:
        BeliefError: if the belief can give none of the measures.
    """
    maps = {name: MEASURES[name](belief) for name in config.measures if name in belief.measures}
    if not maps:
        raise BeliefError(
            f"a {type(belief).__name__} belief has none of {', '.join(config.measures) or 'no measures'}, at least one "
            f"was expected; add one of {', '.join(belief.measures)} to evaluation.measures"
        )
    squared = (belief.probability - masks).double() ** 2
    records = cases.select(pl.col("name").alias("image"), "patient", *_where(condition)).with_columns(
        pl.lit(condition.kind).alias("kind"),
        pl.lit(condition.severity, dtype=pl.Int32).alias("severity"),
        *_columns(belief, attacked - images, masks, squared),
        *_strengths(belief),
        *_scores(belief, config),
    )
    tables = {
        "records": records,
        "histograms": _histograms(maps, belief, masks, squared, cases["patient"].to_list(), condition),
        "calibration": _calibration(belief, masks, cases["patient"].to_list(), condition),
    }
    if condition.kind == "population":
        unknown = [pl.lit(None).cast(records.schema[name]).alias(name) for name in REFERENCED]
        tables = {table: frame.clear() for table, frame in tables.items()} | {"records": records.with_columns(unknown)}
    return tables


def _where(condition: Condition) -> tuple[pl.Expr, pl.Expr]:
    return pl.lit(condition.name).alias("condition"), pl.lit(condition.eps).alias("eps")


def _scores(belief: Belief, config: EvaluationConfig) -> list[pl.Series | pl.Expr]:
    """Return the image scores of every measure and aggregation, null where the belief lacks the measure."""
    deferral = config.deferral
    wanted = [*product(config.measures, config.aggregations)]
    wanted += [(measure, deferral.aggregation) for measure in (deferral.measure.bernoulli, deferral.measure.beta)]
    return [
        pl.Series(
            f"u_{measure}_{name}",
            AGGREGATIONS[name](belief.uncertainty(measure), belief.probability).double().cpu().numpy(),
        )
        if measure in belief.measures
        else pl.lit(None, dtype=pl.Float64).alias(f"u_{measure}_{name}")
        for measure, name in dict.fromkeys(wanted)
    ]


def _histograms(
    maps: dict[str, Tensor],
    belief: Belief,
    masks: Tensor,
    squared: Tensor,
    patients: list[str],
    condition: Condition,
) -> pl.DataFrame:
    wrong = (belief.log_odds > 0) != (masks > 0.5)
    return pl.concat(
        [
            _histogram(maps[measure][number], wrong[number], squared[number]).select(
                *_where(condition), pl.lit(measure).alias("measure"), pl.lit(patient).alias("patient"), pl.all()
            )
            for measure in maps
            for number, patient in enumerate(patients)
        ]
    )


def _calibration(belief: Belief, masks: Tensor, patients: list[str], condition: Condition) -> pl.DataFrame:
    regions = (None, boundary_band(masks), masks > 0.5)
    found = []
    for name, region in zip(REGIONS, regions, strict=True):
        counts = calibration_counts(belief.probability, masks, region=region).cpu()
        images, bins, _ = counts.shape
        columns = {
            "bin": np.tile(np.arange(bins, dtype=np.int32), images),
            "count": counts[..., 0].long().flatten().numpy(),
            "sum_probability": counts[..., 1].flatten().numpy(),
            "sum_reference": counts[..., 2].flatten().numpy(),
        }
        of_whom = pl.Series("patient", np.repeat(np.array(patients, dtype=object), bins), dtype=pl.String)
        found.append(pl.DataFrame(columns).select(*_where(condition), pl.lit(name).alias("region"), of_whom, pl.all()))
    return pl.concat(found)


def _columns(belief: Belief, change: Tensor, masks: Tensor, squared: Tensor) -> list[pl.Series]:
    prediction = belief.log_odds > 0
    counts = overlap_counts(prediction, masks)
    columns = {
        "pixels": torch.full((len(masks),), masks[0].numel()),
        "mask_px": counts.reference,
        "predicted_px": counts.predicted,
        "intersection_px": counts.intersection,
        "dice": dice(prediction, masks),
        "iou": iou(prediction, masks),
        "harm": harm(prediction, masks),
        "brier": squared.flatten(1).mean(1),
        "nll": LOSSES["binary_cross_entropy"](belief, masks),
        "linf": perturbation_size(change, norm="linf"),
        "l2": perturbation_size(change, norm="l2"),
    }
    return [
        pl.Series(name, (values.double() if values.is_floating_point() else values.long()).cpu().numpy())
        for name, values in columns.items()
    ]


def _strengths(belief: Belief) -> list[pl.Series]:
    """Return median and 99th percentile of alpha + beta over the pixels of each image: values that a pixel has.

    A model that holds out under attack with a far larger strength than others may only hide its gradients.
    """
    names = ("strength_median", "strength_p99")
    if not isinstance(belief, Beta):
        return [pl.Series(name, [None] * len(belief.probability), dtype=pl.Float64) for name in names]
    strength = belief.strength.flatten(1).double().cpu().numpy()
    values = np.quantile(strength, (0.5, 0.99), axis=1, method="inverted_cdf")
    return [pl.Series(name, column) for name, column in zip(names, values, strict=True)]


def _histogram(uncertainty: Tensor, wrong: Tensor, squared: Tensor) -> pl.DataFrame:
    """Return the filled bins of one image: pixels, wrong pixels and squared errors by coarse uncertainty bin."""
    keys = uncertainty_keys(uncertainty, resolution="coarse").flatten().long().cpu()
    count = torch.bincount(keys, minlength=BINS["coarse"])
    mistakes = torch.bincount(keys, weights=wrong.flatten().double().cpu(), minlength=BINS["coarse"])
    errors = torch.bincount(keys, weights=squared.flatten().cpu(), minlength=BINS["coarse"])
    filled = count.nonzero().flatten()
    return pl.DataFrame(
        {
            "bin": filled.int().numpy(),
            "count": count[filled].numpy(),
            "wrong": mistakes[filled].long().numpy(),
            "brier": errors[filled].numpy(),
        }
    )
