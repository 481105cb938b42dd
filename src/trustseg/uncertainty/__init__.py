"""Uncertainty: belief to map (``MEASURES``), map to image score (``AGGREGATIONS``).

A measure takes a belief and returns its map (B, 1, H, W), higher = less sure. The docstrings give the range; entropies
and mutual information are in nats. A measure that this kind of belief cannot give raises a BeliefError that lists those
it can, and so does anything that is not a belief.

An aggregation takes a map and a probability and returns one score per image, in the unit of the map unless its
docstring says otherwise; higher = less sure where ``facts.ranks``. Where its region is empty (nothing is predicted, a
band covers everything) the score is the maximum of the map: an empty prediction on a sick patient is the dangerous case
and must be able to rank high.

Args:
    uncertainty: of an aggregation: maps (B, 1, H, W), any real number.
    probability: of an aggregation: foreground probability (B, 1, H, W) in [0, 1]. The prediction is p > 1/2.

Returns:
    (B, 1, H, W) of a measure, (B,) of an aggregation.

Raises:
    BeliefError: if the belief cannot give the measure.
    ShapeError: if uncertainty and probability differ in shape or are not (B, 1, H, W).
    ConfigError: if an option is out of range.

Reference:
    *ValUES* is Kahl et al., "ValUES: A Framework for Systematic Validation of Uncertainty Estimation in Semantic
    Segmentation", ICLR 2024, arXiv:2401.08501. *QuickNAT* is Roy et al., "Bayesian QuickNAT: Model Uncertainty in Deep
    Whole-Brain Segmentation for Structure-wise Quality Control", NeuroImage 2019, arXiv:1811.09800. *Zenk* is Zenk et
    al., "Comparative Benchmarking of Failure Detection Methods in Medical Image Segmentation", arXiv:2406.03323.
"""

from trustseg.uncertainty.aggregation import AGGREGATIONS, AggregationFacts, pairwise_disagreement
from trustseg.uncertainty.pixel import MEASURES, MeasureFacts, require_given

__all__ = ["AGGREGATIONS", "MEASURES", "AggregationFacts", "MeasureFacts", "pairwise_disagreement", "require_given"]
