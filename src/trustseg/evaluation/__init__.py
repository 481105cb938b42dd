"""Measuring a segmenter under many conditions; everything ends in tables that need no model to be read."""

from trustseg.evaluation.any_model import SizedModel, as_belief_model
from trustseg.evaluation.conditions import CLEAN, Condition, conditions_of
from trustseg.evaluation.evaluate import evaluate, population_of
from trustseg.evaluation.gallery import write_gallery
from trustseg.evaluation.inspection import Surrogate, write_masking_checks
from trustseg.evaluation.loading import hash_of_model, load_model, measure_of, suffix_of
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
