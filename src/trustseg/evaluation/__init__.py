"""Measuring a segmenter under many conditions; everything ends in tables that need no model to be read.

Args:
    model: a segmenter, a calibrated one, a mixture, or, in ``evaluate``, ``write_minimal`` and
        ``write_masking_checks``, any other callable from images to a belief that has a size, channels and a name
        (``SizedModel``); measured in eval mode and float32.
    pack: the images.
    rows: which of them, e.g. the test split.
    config: conditions, measures, aggregations and batch size.
    folder: where the results go.
    images: (B, C, H, W) float32 in [0, 1].
    masks: reference masks (B, 1, H, W) float32 in {0, 1}, NaN where ignored.
    areas: where each image lies in its square; None if all fill it.
    measure: pixel measure of uncertainty, a name in ``MEASURES``.
    aggregation: map to image score, a name in ``AGGREGATIONS``, with options if need be.
    seed: seed of random starts and fields.
    device: where the model computes.
    report: called after each step, with the number done and, where it takes two numbers, with the number in all.

Raises:
    BeliefError: if the model can give none of the measures, or what it gives is no belief.
    AttackError: if an attack does not keep its promises.
"""

from trustseg.evaluation.conditions import CLEAN, Condition, conditions_of
from trustseg.evaluation.evaluate import evaluate, population_of
from trustseg.evaluation.gallery import write_gallery
from trustseg.evaluation.inspection import Surrogate, write_masking_checks
from trustseg.evaluation.loading import SizedModel, as_belief_model, hash_of_model, load_model, measure_of, suffix_of
from trustseg.evaluation.minimal import write_minimal
from trustseg.evaluation.predictions import evaluate_predictions
from trustseg.evaluation.rows import is_other_data, rows_of_split, splits_of

__all__ = [
    "CLEAN",
    "Condition",
    "SizedModel",
    "Surrogate",
    "as_belief_model",
    "conditions_of",
    "evaluate",
    "evaluate_predictions",
    "hash_of_model",
    "is_other_data",
    "load_model",
    "measure_of",
    "population_of",
    "rows_of_split",
    "splits_of",
    "suffix_of",
    "write_gallery",
    "write_masking_checks",
    "write_minimal",
]
