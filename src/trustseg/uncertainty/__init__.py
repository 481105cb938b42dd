"""Uncertainty: belief to map (``MEASURES``), map to image score (``AGGREGATIONS``)."""

from trustseg.uncertainty.aggregation import AGGREGATIONS, Aggregation
from trustseg.uncertainty.agreement import pairwise_disagreement
from trustseg.uncertainty.pixel import MEASURES, UPPER_BOUNDS, Measure

__all__ = ["AGGREGATIONS", "MEASURES", "UPPER_BOUNDS", "Aggregation", "Measure", "pairwise_disagreement"]
