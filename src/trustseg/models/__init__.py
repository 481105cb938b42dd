"""Segmenters: normalisation, network and head in one module that turns images into beliefs; alone or in mixtures."""

from trustseg.models.architectures import ARCHITECTURES
from trustseg.models.contract import BeliefModel
from trustseg.models.devices import device_of
from trustseg.models.mixtures import DeepEnsemble, MCDropout, with_dropout
from trustseg.models.segmenter import HEADS, Segmenter, build_segmenter
from trustseg.models.weights import fetch_encoder_weights, load_encoder_weights, read_encoder_weights

__all__ = [
    "ARCHITECTURES",
    "HEADS",
    "BeliefModel",
    "DeepEnsemble",
    "MCDropout",
    "Segmenter",
    "build_segmenter",
    "device_of",
    "fetch_encoder_weights",
    "load_encoder_weights",
    "read_encoder_weights",
    "with_dropout",
]
