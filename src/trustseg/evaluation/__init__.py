"""Measuring a segmenter under many conditions; everything ends in tables that need no model to be read."""

from trustseg.evaluation.conditions import CLEAN, Condition, conditions_of
from trustseg.evaluation.evaluate import evaluate, rows_of_split
from trustseg.evaluation.gallery import write_gallery
from trustseg.evaluation.inspection import write_suspicions
from trustseg.evaluation.loading import load_model, suffix_of

__all__ = [
    "CLEAN",
    "Condition",
    "conditions_of",
    "evaluate",
    "load_model",
    "rows_of_split",
    "suffix_of",
    "write_gallery",
    "write_suspicions",
]
