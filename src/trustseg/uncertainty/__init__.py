"""Uncertainty: belief to map (``MEASURES``), map to image score (``AGGREGATIONS``)."""

from trustseg.uncertainty.aggregation import AGGREGATIONS, Aggregation, AggregationFacts
from trustseg.uncertainty.agreement import pairwise_disagreement
from trustseg.uncertainty.pixel import MEASURES, Measure, MeasureFacts

__all__ = [
    "AGGREGATIONS",
    "MEASURES",
    "Aggregation",
    "AggregationFacts",
    "Measure",
    "MeasureFacts",
    "pairwise_disagreement",
]
